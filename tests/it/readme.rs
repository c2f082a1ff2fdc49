//! The README says what the command does.

use std::path::Path;
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Replaces how long it took, which is never the same twice.
fn without_time(text: &str) -> String {
    let mut words: Vec<&str> = text.split_inclusive(' ').collect();
    if let Some(unit) = words.iter().rposition(|word| word.starts_with("ms:") || word.starts_with("s:")) {
        words[unit - 1] = "TIME ";
    }
    words.concat()
}

#[test]
fn the_output_on_the_samples_is_what_the_readme_shows() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (_, block) = readme.split_once("```text\n").expect("the README shows the output");
    let (shown, _) = block.split_once("\n```").unwrap();

    let output = Command::new(env!("CARGO_BIN_EXE_ckpt"))
        .current_dir(root())
        .args(["verify", "samples"])
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(without_time(printed.trim_end()), without_time(shown));
    assert_eq!(output.status.code(), Some(1));
}

/// What the README shows of the example is in it, line by line and in its order.
#[test]
fn the_training_loop_is_the_examples() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let (readme, example) = (read("README.md"), read("examples/train_tch.rs"));
    let (_, section) =
        readme.split_once("## In a training loop\n").expect("the README shows a training loop");
    let (section, _) = section.split_once("\n## ").unwrap();
    let mut shown = 0;
    for block in section.split("```rust,ignore\n").skip(1) {
        let (block, _) = block.split_once("```").unwrap();
        let mut rest = example.lines();
        for line in block.lines().map(str::trim) {
            assert!(rest.any(|other| other.trim() == line), "not in the example, or not there: {line}");
            shown += 1;
        }
    }
    assert!(shown > 30, "{shown}");
}
