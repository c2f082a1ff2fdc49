//! Asking the real PyTorch.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Finds the Python that has PyTorch: that which `CKPT_TEST_PYTHON` names, or `.venv/bin/python`. Without one,
/// says past the capture of test output why a test does nothing.
pub(crate) fn python(test: &str) -> Option<PathBuf> {
    let named = std::env::var_os("CKPT_TEST_PYTHON").map(PathBuf::from);
    let path = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python"));
    if path.exists() {
        return Some(path);
    }
    writeln!(std::io::stderr(), "skipped: {test}: no {}", path.display())
        .expect("the error output takes a line");
    None
}

/// Runs lines of Python, which have torch, and the arguments in `sys.argv[1:]`; returns what they print.
pub(crate) fn run(python: &Path, script: &str, arguments: &[&Path]) -> String {
    let script = format!("import sys\nimport torch\n{script}");
    let output = Command::new(python).args(["-c", &script]).args(arguments).output().expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the script prints text").trim().to_owned()
}

/// Held while a test draws random numbers: libtorch's generator is one for all of them.
pub(crate) fn drawing() -> MutexGuard<'static, ()> {
    static DRAWING: Mutex<()> = Mutex::new(());
    DRAWING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns a tensor's bytes as Python's `bytes.hex` prints them.
pub(crate) fn hex(tensor: &tch::Tensor) -> String {
    let mut state = ckpt::State::new();
    state.insert("t", ckpt::tch::view(tensor).unwrap()).unwrap();
    let bytes = state.tensor("t").unwrap().bytes().unwrap().into_owned();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

/// What `hex` is in Python.
pub(crate) const HEX: &str = "
def of(tensor):
    return bytes(tensor.detach().contiguous().view(-1).view(torch.uint8).tolist()).hex()
";
