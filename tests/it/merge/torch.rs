//! Held against PyTorch: it writes inputs in every form, and merges them in the straightforward way.

use std::path::Path;
use std::process::Command;

use ckpt::features::merge::{MergeOptions, merge};

use super::Place;
use crate::agreement::oracle;

fn python(python: &Path, what: &str, directory: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/merges.py");
    let output = Command::new(python).arg(script).arg(what).arg(directory).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "merges.py {what}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn merges_are_those_of_pytorch() {
    let interpreter = match oracle::python() {
        Ok(python) => python,
        Err(reason) => return oracle::skip("merges by PyTorch", &reason),
    };
    let place = Place::new();
    let made = python(&interpreter, "make", place.0.path());
    let names: Vec<&str> = made.lines().collect();
    assert!(names.len() >= 10, "{names:?}");
    for name in &names {
        for eager_bytes in [u64::MAX, 0] {
            let mut options = MergeOptions::default();
            options.table.eager_bytes = Some(eager_bytes);
            let at = |what: &str| place.at(&format!("{name}.{what}.pt"));
            let out = at(if eager_bytes == 0 { "streamed" } else { "ours" });
            let merged = merge(&at("a"), &at("b"), &out, &options);
            merged.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
    let same = python(&interpreter, "compare", place.0.path());
    assert_eq!(same.lines().collect::<Vec<_>>(), names, "PyTorch finds others the same");
}
