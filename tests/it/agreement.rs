//! ckpt against the field's own readers, on real files.
//!
//! Two sets of files: the *corpus*, from public projects, and the *zoo*, which the real frameworks write
//! at test time (`tests/python/zoo.py`). PyTorch and safetensors say what they read from each
//! (`tests/python/dump.py`), and ckpt must read the same. Where it doesn't, a table names the files, what
//! ckpt says instead, and why; an entry that no file needs any more fails the test.

mod converted;
pub(crate) mod corpus;
pub(crate) mod oracle;
mod peers;
pub(crate) mod read;
mod verdicts;
mod written_torch;
mod zoo;
