//! Every code of a finding is in a test.

use std::fs;
use std::path::Path;

use ckpt::Code;

/// Returns the text of all tests: the integration tests, and the test modules of the library.
fn test_text() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    let mut todo = vec![root.join("src"), root.join("tests/it")];
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let whole = fs::read_to_string(&path).unwrap();
            let in_folder =
                path.strip_prefix(root).unwrap_or(&path).components().any(|part| part.as_os_str() == "tests");
            let is_test = in_folder || path.ends_with("tests.rs");
            let from = if is_test { Some(0) } else { whole.find("\nmod tests {") };
            text.push_str(from.map_or("", |from| &whole[from..]));
        }
    }
    text
}

#[test]
fn every_code_is_in_a_test() {
    let text = test_text();
    let in_a_test = |code: &&Code| {
        let name = format!("Code::{code:?}");
        text.match_indices(&name)
            .any(|(at, _)| !text[at + name.len()..].starts_with(|next: char| next.is_ascii_alphanumeric()))
    };
    let without: Vec<_> = Code::ALL.iter().filter(|code| !in_a_test(code)).collect();
    assert!(without.is_empty(), "no test names {without:?}");
}
