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

/// The script of the pipeline is run as it stands there, with small commands.
#[cfg(unix)]
#[test]
fn the_script_of_the_pipeline_is_resumable() {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, section) = readme.split_once("## Pipelines\n").expect("the README shows a pipeline");
    let (section, _) = section.split_once("\n## ").unwrap();
    let mut blocks = section.split("```sh\n").skip(1).map(|block| block.split_once("```").unwrap().0);
    let (script, commands) = (blocks.next().unwrap(), blocks.next().unwrap());
    assert_eq!(script.lines().count(), 5);

    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("work")).unwrap();
    fs::write(place.path().join("genes.fa"), "ACGT\n").unwrap();
    for command in ["extract", "merge", "predict"] {
        let path = place.path().join(command);
        fs::write(&path, "#!/bin/sh\ntest -e stop && kill -9 $PPID\ncat \"$1\" > \"$2\"\n").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let binaries = Path::new(env!("CARGO_BIN_EXE_ckpt")).parent().unwrap();
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
    let bash = |script: &str| {
        let mut bash = Command::new("bash");
        bash.env("PATH", &path).current_dir(&place).args(["-c", script]).output().unwrap()
    };
    assert!(bash(script).status.success());
    fs::remove_file(place.path().join("work/merged.bin")).unwrap();
    fs::write(place.path().join("stop"), "").unwrap();
    assert!(!bash(script).status.success());
    fs::remove_file(place.path().join("stop")).unwrap();
    let (_, shown) = section.split_once("```text\n").unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    assert_eq!(String::from_utf8(bash(script).stderr).unwrap(), shown);
    // There is no stage of that name here.
    let commands = commands.replace("approve label", "reset predict");
    let run = bash(&format!("set -e\n{commands}"));
    assert!(run.status.success(), "{run:?}");
}
