//! Help, completions, manual pages, and `info`.

use super::{EMPTY_SAFETENSORS, Place};

#[test]
fn every_shell_gets_completions() {
    let place = Place::with(&[]);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = place.run(&["completions", shell]);
        assert_eq!(run.code, Some(0), "{shell}");
        assert!(run.stdout.contains("skip-checkpoint-validation"), "{shell}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let place = Place::with(&[]);
    assert!(place.run(&["man"]).stdout.contains(".TH ckpt 1"));
    for command in [
        "verify",
        "info",
        "cp",
        "convert",
        "diff",
        "salvage",
        "seal",
        "scrub",
        "merge",
        "list",
        "latest",
        "prune",
        "pin",
        "unpin",
        "stage",
        "features",
        "stage-run",
        "stage-status",
        "stage-approve",
        "stage-reset",
        "stage-cleanup",
        "completions",
        "man",
    ] {
        let run = place.run(&["man", command]);
        assert_eq!(run.code, Some(0), "{command}");
        assert!(run.stdout.contains(&format!(".TH ckpt-{command} 1")), "{}", run.stdout);
    }
    assert!(place.run(&["man", "verify"]).stdout.contains("Exit codes:"));
}

#[test]
fn version_and_help_are_data() {
    let place = Place::with(&[]);
    let run = place.run(&["--version"]);
    assert_eq!((run.code, run.stdout), (Some(0), format!("ckpt {}\n", env!("CARGO_PKG_VERSION"))));
    let run = place.run(&["verify", "--help"]);
    assert_eq!(run.code, Some(0));
    for word in ["Exit codes:", "Examples:", "Verdicts:", "--require", "--ndjson"] {
        assert!(run.stdout.contains(word), "{word}");
    }
}

#[test]
fn every_command_that_keeps_says_how_it_ends() {
    let place = Place::with(&[]);
    for command in ["cp", "convert", "diff", "salvage", "seal", "scrub", "merge"] {
        let run = place.run(&[command, "--help"]);
        assert_eq!(run.code, Some(0), "{command}");
        for word in ["Exit codes:", "Examples:", "--json", "--quiet", "--no-progress"] {
            assert!(run.stdout.contains(word), "{command}: {word}");
        }
    }
}

#[test]
fn info_is_json_of_its_schema() {
    let place = Place::with(&[]);
    place.write("a.safetensors", EMPTY_SAFETENSORS);
    let run = place.run(&["info", "a.safetensors", "--json"]);
    assert_eq!(run.code, Some(0));
    let info: ckpt::record::Info = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((info.schema.as_str(), info.path.to_str()), ("ckpt.info/1", Some("a.safetensors")));
    let run = place.run(&["info", "a.safetensors"]);
    assert!(run.stdout.starts_with("path      a.safetensors\n"), "{}", run.stdout);
}
