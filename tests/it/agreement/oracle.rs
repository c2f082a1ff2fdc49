//! Finding and asking the Python side.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

/// Names the Python that has PyTorch, where it isn't `.venv/bin/python`.
const PYTHON: &str = "CKPT_TEST_PYTHON";

/// Says, past the capture of test output, why a test does nothing.
pub(crate) fn skip(test: &str, reason: &str) {
    writeln!(std::io::stderr(), "skipped: {test}: {reason}").expect("the error output takes a line");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Finds the Python that has PyTorch; the error says why there is none.
pub(crate) fn python() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os(PYTHON) {
        let path = PathBuf::from(path);
        assert!(path.exists(), "{PYTHON} names {}, which isn't there", path.display());
        return Ok(path);
    }
    let path = root().join(".venv/bin/python");
    if path.exists() { Ok(path) } else { Err(format!("no {}, and {PYTHON} isn't set", path.display())) }
}

/// Finds the corpus; the error says why there is none.
pub(crate) fn corpus() -> Result<PathBuf, String> {
    let path = root().join("../shared/corpus");
    let manifest = path.join("MANIFEST.tsv");
    if manifest.exists() { Ok(path) } else { Err(format!("no {}", manifest.display())) }
}

/// What PyTorch or safetensors says of a file.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The dump, where the file was loaded.
    pub(crate) values: Option<Value>,
    /// Why not, where it wasn't.
    pub(crate) error: Option<String>,
}

/// Asks PyTorch or safetensors for what they read from each file, executing nothing.
pub(crate) fn ask(python: &Path, paths: &[PathBuf]) -> HashMap<PathBuf, Answer> {
    let script = root().join("tests/python/dump.py");
    let mut child = Command::new(python)
        .arg(script)
        .args(["--list", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let list: Vec<_> = paths.iter().map(|path| path.to_str().expect("the files' names are UTF-8")).collect();
    let mut input = child.stdin.take().expect("the child has an input");
    input.write_all(list.join("\n").as_bytes()).expect("Python takes the list");
    drop(input);
    let output = child.wait_with_output().expect("Python ends");
    assert!(output.status.success(), "dump.py failed: {}", output.status);
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let answers: Vec<_> = text.lines().map(answer).collect();
    assert_eq!(answers.len(), paths.len(), "dump.py gives a line for each file");
    paths.iter().cloned().zip(answers).collect()
}

fn answer(line: &str) -> Answer {
    let answer: Value = serde_json::from_str(line).expect("dump.py prints JSON");
    let values = answer["ok"].as_bool().expect("ok is a bool").then(|| answer["values"].clone());
    Answer { values, error: answer["error"].as_str().map(str::to_owned) }
}

/// The zoo: where it is, and its catalogue.
pub(crate) struct Zoo {
    directory: TempDir,
    entries: Vec<Entry>,
}

/// A checkpoint of the zoo.
pub(crate) struct Entry {
    /// Relative to the zoo's directory.
    pub(crate) name: String,
    /// The format's name in reports.
    pub(crate) kind: String,
    /// Whether PyTorch or safetensors loads it; `None` where they weren't asked.
    pub(crate) loads: Option<bool>,
    /// What they read.
    pub(crate) values: Option<Value>,
    /// What PyTorch's unsafe reader reads, where the safe one refuses.
    pub(crate) trusted: Option<Value>,
}

impl Zoo {
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn path(&self, entry: &Entry) -> PathBuf {
        self.directory.path().join(&entry.name)
    }
}

/// Writes the zoo, once in a test run; the error says why there is none.
pub(crate) fn zoo() -> Result<&'static Zoo, String> {
    static ZOO: OnceLock<Result<Zoo, String>> = OnceLock::new();
    ZOO.get_or_init(|| Ok(write_zoo(&python()?))).as_ref().map_err(Clone::clone)
}

fn write_zoo(python: &Path) -> Zoo {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let script = root().join("tests/python/zoo.py");
    let output = Command::new(python).arg(script).arg(directory.path()).output().expect("Python starts");
    assert!(output.status.success(), "zoo.py failed:\n{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(directory.path().join("zoo.json")).expect("zoo.py writes zoo.json");
    let entries: Value = serde_json::from_str(&text).expect("zoo.json is JSON");
    let entries = entries.as_array().expect("zoo.json is a list").iter().map(entry).collect();
    Zoo { directory, entries }
}

fn entry(value: &Value) -> Entry {
    let text = |key: &str| value[key].as_str().expect("paths and kinds are strings").to_owned();
    let some = |key: &str| Some(&value[key]).filter(|value| !value.is_null()).cloned();
    Entry {
        name: text("path"),
        kind: text("kind"),
        loads: value["torch"]["ok"].as_bool(),
        values: some("values"),
        trusted: some("trusted"),
    }
}
