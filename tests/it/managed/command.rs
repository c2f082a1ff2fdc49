//! The command, on a run.

use std::process::Command;

use super::{FIRST, Place, SECOND};

/// Runs the command in a run, and returns its exit code and its output.
fn ckpt(place: &Place, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ckpt"));
    let output = command.env_clear().current_dir(place.run()).args(args).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[test]
fn verify_takes_a_run_a_step_and_the_directory_itself() {
    let place = Place::with(&[FIRST, SECOND]);
    let (first, second) = (format!("main/{FIRST}"), format!("main/{SECOND}"));
    for (args, count) in [(vec!["."], 2), (vec![&first], 1), (vec![&first, &second], 2), (vec!["main"], 2)] {
        let (code, text) = ckpt(&place, &[&["verify"], &*args].concat());
        assert_eq!(code, 0, "{text}");
        assert!(text.contains(&format!(": {count} valid")), "{text}");
    }
    std::fs::remove_file(place.at(SECOND).join("manifest.json")).unwrap();
    let (code, text) = ckpt(&place, &["verify", "."]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("artifact-missing") && text.contains("hint: "), "{text}");
}

#[test]
fn info_scrub_seal_and_cp_take_a_step() {
    let place = Place::with(&[FIRST]);
    let path = format!("main/{FIRST}");
    let (code, text) = ckpt(&place, &["info", &path]);
    assert!(code == 0 && text.contains("managed") && text.contains("model.weight"), "{text}");
    let (code, text) = ckpt(&place, &["scrub", "."]);
    assert!(code == 0 && text.contains("1 valid"), "{text}");
    let (code, text) = ckpt(&place, &["seal", "."]);
    assert!(code == 0 && text.contains("proven"), "{text}");
    assert!(!place.at(FIRST).join("config.json.seal").exists());
    let (code, text) = ckpt(&place, &["cp", &path, "best"]);
    assert!(code == 0 && text.contains("3 files"), "{text}");
    let (code, text) = ckpt(&place, &["verify", "best"]);
    assert!(code == 0 && text.contains("managed"), "{text}");
}
