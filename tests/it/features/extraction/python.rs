//! Shards, and what is made of them, read by PyTorch and by the safetensors package.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ckpt::save::Format;
use serde_json::{Value, json};

use super::{aggregated, extract, ids, options, row};
use crate::agreement::oracle;

/// Asks Python what it reads from each file.
fn ask(python: &Path, paths: &[PathBuf]) -> Vec<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut child = Command::new(python)
        .arg(root.join("tests/python/shards.py"))
        .arg(root.join("docs/features.md"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let list: Vec<_> = paths.iter().map(|path| path.to_str().unwrap()).collect();
    child.stdin.take().unwrap().write_all(list.join("\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "shards.py failed: {}", output.status);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn expected(ids: &[String]) -> Value {
    let bytes = ids.iter().flat_map(|id| row(id));
    let rows = bytes.fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    json!({"ids": ids, "shape": [ids.len(), 3], "rows": rows})
}

#[test]
fn others_read_shards_and_the_file_that_is_made_of_them() {
    let python = match oracle::python() {
        Ok(python) => python,
        Err(reason) => return oracle::skip("PyTorch on shards", &reason),
    };
    let (safetensors, torch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut ids = ids(5);
    // As strange as ids may be.
    ids.push("naïve \"id\"\n\u{1f9ec}".to_owned());
    extract(safetensors.path(), (0, 1), &ids, options());
    extract(torch.path(), (0, 1), &ids, options().with_format(Format::Torch));
    aggregated(torch.path(), &ids);
    let paths = [
        safetensors.path().join("shard_0/batch_0.safetensors"),
        torch.path().join("shard_0/batch_0.pt"),
        torch.path().join("out.safetensors"),
    ];
    assert_eq!(ask(&python, &paths), [expected(&ids), expected(&ids), expected(&ids)]);
}
