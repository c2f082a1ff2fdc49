//! What must not be, and where alone a thing may be.

use proc_macro2::{Span, TokenStream, TokenTree};

use super::source::{File, Source, Target};
use super::{FACES, Violation, assert_none, found};

/// The files that may hold `unsafe`; each such block says on what it relies.
const UNSAFE: [&str; 4] = ["src/io/buffer.rs", "src/io/map.rs", "src/io/stream.rs", "src/tch/ffi.rs"];

/// Where alone something is renamed, so that the directory is synced with it.
const RENAMES: [&str; 2] = ["io", "commit"];

/// The one file below the faces that prints: the failures of a process's last saves, which nobody asked for.
const LAST_WORDS: &str = "src/manager/background/last_words.rs";

/// What only a face of the project may use: what prints, what reads the environment.
const FOR_FACES: [&[&str]; 11] = [
    &["std", "env"],
    &["std", "io", "stdout"],
    &["std", "io", "stderr"],
    &["clap"],
    &["clap_complete"],
    &["clap_mangen"],
    &["anstream"],
    &["anstyle"],
    &["indicatif"],
    &["quick_junit"],
    // The standard library as a whole, under another name, would hide the rest.
    &["std"],
];

const PRINTING: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];

#[test]
fn only_faces_print_or_read_the_environment() {
    assert_none(&printing(&Source::read()));
}

#[test]
fn only_torch_knows_pickle() {
    assert_none(&pickle(&Source::read()));
}

#[test]
fn only_commit_renames() {
    assert_none(&renames(&Source::read()));
}

#[test]
fn unsafe_is_only_where_it_is_listed() {
    assert_none(&unsafe_code(&Source::read()));
}

#[test]
fn every_module_is_the_file_of_its_name() {
    assert_none(&other_files(&Source::read()));
}

/// Finds printing, environment variables and the command's crates below the faces.
fn printing(source: &Source) -> Vec<Violation> {
    let below = source
        .files
        .iter()
        .filter(|file| !file.place.first().is_some_and(|room| FACES.contains(&room.as_str())))
        .filter(|file| file.path != LAST_WORDS);
    below.flat_map(printing_in).collect()
}

fn printing_in(file: &File) -> Vec<Violation> {
    let mut violations = Vec::new();
    for mention in &file.mentions {
        let Target::Outside(path) = &mention.target else { continue };
        let forbidden = FOR_FACES.iter().any(|face| {
            // `std` alone is the only entry that other entries begin with.
            if *face == ["std"] { path == face } else { path.iter().take(face.len()).eq(face.iter()) }
        });
        if forbidden {
            violations.push(Violation { file: file.path.clone(), line: mention.line, what: path.join("::") });
        }
    }
    let words = words(file);
    let macros = words.iter().filter(|word| word.is_macro && PRINTING.contains(&word.text.as_str()));
    violations.extend(macros.map(|word| word.violation(file, format!("{}!", word.text))));
    violations
}

/// Finds modules named `pickle` mentioned outside `format::torch`.
fn pickle(source: &Source) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in source.files.iter().filter(|file| !file.place.starts_with(&["format".into(), "torch".into()]))
    {
        for mention in &file.mentions {
            if let Target::Inside(path) = &mention.target
                && path.iter().any(|name| name == "pickle")
            {
                violations.push(Violation {
                    file: file.path.clone(),
                    line: mention.line,
                    what: path.join("::"),
                });
            }
        }
    }
    violations
}

/// Finds calls and imports of anything named `rename…` outside `io::commit`.
fn renames(source: &Source) -> Vec<Violation> {
    let elsewhere =
        source.files.iter().filter(|file| !file.place.iter().map(String::as_str).take(2).eq(RENAMES));
    elsewhere
        .flat_map(|file| {
            let words = words(file).into_iter();
            let renames =
                words.filter(|word| matches!(word.text.as_str(), "rename" | "renameat" | "renameat_with"));
            renames.map(|word| word.violation(file, format!("`{}`", word.text))).collect::<Vec<_>>()
        })
        .collect()
}

/// Finds `unsafe` outside the listed files, and listed files that no longer hold any.
fn unsafe_code(source: &Source) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in &source.files {
        let words = words(file);
        let mut uses = words.iter().filter(|word| word.text == "unsafe").peekable();
        if UNSAFE.contains(&file.path.as_str()) {
            let none = uses.peek().is_none();
            let what = "is listed as holding `unsafe`, and holds none".to_owned();
            violations.extend(none.then(|| Violation { file: file.path.clone(), line: 1, what }));
        } else {
            violations.extend(uses.map(|word| word.violation(file, "`unsafe`".into())));
        }
    }
    violations
}

/// Finds what would put source where this test doesn't look: `#[path]` and `include!`.
fn other_files(source: &Source) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in &source.files {
        let words = words(file);
        let includes = words.iter().filter(|word| word.is_macro && word.text == "include");
        violations.extend(includes.map(|word| word.violation(file, "`include!`".into())));
        let moved = words.iter().filter(|word| word.is_attribute && word.text == "path");
        violations.extend(moved.map(|word| word.violation(file, "`#[path]`".into())));
    }
    violations
}

/// A word of the code, comments and strings left out.
struct Word {
    text: String,
    line: usize,
    /// Whether `!` follows.
    is_macro: bool,
    /// Whether it is the name of an attribute.
    is_attribute: bool,
}

impl Word {
    fn violation(&self, file: &File, what: String) -> Violation {
        Violation { file: file.path.clone(), line: self.line, what }
    }
}

/// Returns all words of a file outside of tests; of attributes, their names alone.
fn words(file: &File) -> Vec<Word> {
    let tokens = file.text.parse().unwrap();
    let mut words = Vec::new();
    read_words(tokens, &mut words);
    let in_test = |line| file.test_lines.iter().any(|(first, last)| (*first..=*last).contains(&line));
    words.retain(|word| !in_test(word.line));
    words
}

fn read_words(tokens: TokenStream, words: &mut Vec<Word>) {
    let mut tokens = tokens.into_iter().peekable();
    let mut after_hash = false;
    while let Some(token) = tokens.next() {
        let is_hash = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '#');
        let is_bang = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '!');
        match token {
            TokenTree::Ident(ident) => {
                let is_macro = matches!(tokens.peek(), Some(TokenTree::Punct(next)) if next.as_char() == '!');
                words.push(word(&ident.to_string(), ident.span(), is_macro));
            }
            TokenTree::Group(group) if after_hash => {
                let name = group.stream().into_iter().next().map(|name| name.to_string()).unwrap_or_default();
                words.push(Word { is_attribute: true, ..word(&name, group.span(), false) });
            }
            TokenTree::Group(group) => read_words(group.stream(), words),
            _ => {}
        }
        after_hash = is_hash || (after_hash && is_bang);
    }
}

fn word(text: &str, span: Span, is_macro: bool) -> Word {
    Word { text: text.into(), line: span.start().line, is_macro, is_attribute: false }
}

/// What `check` says of one file, beside an empty root.
fn found_in(check: impl Fn(&Source) -> Vec<Violation>, path: &str, text: &str) -> Vec<String> {
    found(
        check,
        &[
            ("src/lib.rs", "mod cli; mod format; mod io; mod manager; mod record; mod validate;"),
            (path, text),
        ],
    )
}

#[test]
fn printing_is_found_below_the_faces() {
    for (text, what) in [
        ("fn f() { println!(); }", "println!"),
        ("fn f() { vec![{ eprintln!() }] }", "eprintln!"),
        ("fn f() { std::env::var(\"A\"); }", "std::env::var"),
        ("use std::{env, fs};", "std::env"),
        ("fn f() { m!(std::env::var(\"A\")) }", "std::env::var"),
        ("use std::io::{self, stderr};", "std::io::stderr"),
        ("use std as s;", "std"),
        ("#[derive(clap::Parser)] struct A;", "clap::Parser"),
        ("use clap;", "clap"),
    ] {
        assert_eq!(found_in(printing, "src/record.rs", text), [what], "{text}");
        assert!(found_in(printing, "src/cli/args.rs", text).is_empty(), "{text}");
    }
}

#[test]
fn printing_is_found_beside_the_last_words() {
    let text = "fn f() { std::io::stderr(); }";
    assert!(found_in(printing, LAST_WORDS, text).is_empty());
    let beside = "src/manager/background/worker.rs";
    assert_eq!(found_in(printing, beside, text), ["std::io::stderr"]);
}

#[test]
fn text_about_printing_passes() {
    let text = "//! `println!`\nuse std::fmt; const A: &str = \"println!()\"; fn println() {}\n#[cfg(test)]\nmod t { fn f() { println!() } }";
    assert!(found_in(printing, "src/record.rs", text).is_empty());
}

#[test]
fn pickle_is_found_outside_torch() {
    let text = "use crate::format::torch::pickle::Value;";
    assert_eq!(found_in(pickle, "src/validate.rs", text), ["format::torch::pickle::Value"]);
    assert_eq!(found_in(pickle, "src/format/mod.rs", "use self::torch::pickle;"), ["format::torch::pickle"]);
    assert!(found_in(pickle, "src/format/torch/zip.rs", text).is_empty());
}

#[test]
fn renaming_is_found_outside_commit() {
    for text in
        ["fn f() { std::fs::rename(a, b); }", "use std::fs::{rename as r};", "fn f() { disk.rename(a, b); }"]
    {
        assert_eq!(found_in(renames, "src/io/reader.rs", text), ["`rename`"], "{text}");
        assert!(found_in(renames, "src/io/commit.rs", text).is_empty(), "{text}");
    }
    assert!(
        found_in(renames, "src/record.rs", "#[serde(rename = \"a\", rename_all = \"b\")] struct A;")
            .is_empty()
    );
}

#[test]
fn unsafe_is_found_outside_its_files() {
    for text in [
        "fn f() { unsafe { g() } }",
        "unsafe impl Send for A {}",
        "unsafe fn f() {}",
        "fn f() { m!(unsafe { g() }) }",
    ] {
        assert_eq!(found_in(unsafe_code, "src/record.rs", text), ["`unsafe`"], "{text}");
        assert!(found_in(unsafe_code, "src/io/buffer.rs", text).is_empty(), "{text}");
    }
    let stale = ["is listed as holding `unsafe`, and holds none"];
    assert_eq!(found_in(unsafe_code, "src/io/buffer.rs", "fn f() {}"), stale);
}

#[test]
fn source_in_other_files_is_found() {
    assert_eq!(found_in(other_files, "src/record.rs", "#[path = \"x.rs\"] mod y;"), ["`#[path]`"]);
    assert_eq!(found_in(other_files, "src/record.rs", "include!(\"x.rs\");"), ["`include!`"]);
    assert!(found_in(other_files, "src/record.rs", "const A: &str = include_str!(\"x\");").is_empty());
}
