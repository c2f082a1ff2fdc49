use std::collections::BTreeMap;

use crate::record::{Finding, FormatKind, Integrity, Level, TensorInfo};

/// What the check of one checkpoint, or of one file of it, gave.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) format: FormatKind,
    /// The deepest level that was checked.
    pub(super) level: Option<Level>,
    pub(super) bytes: u64,
    pub(super) integrity: Integrity,
    pub(super) findings: Vec<Finding>,
    /// What is inside, where the structure could be read.
    pub(super) contents: Option<Contents>,
}

/// What a checkpoint holds, as far as the level `keys` and `info` ask for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    pub(super) tensors: Vec<TensorInfo>,
    /// Every key from the top on, joined by dots, with the tensor that it leads to.
    pub(super) keys: Vec<(String, Option<usize>)>,
    /// Whether the top level is a map, so that there can be keys.
    pub(super) is_map: bool,
    pub(super) version: Option<String>,
    pub(super) status: Option<String>,
    /// Whether ckpt itself wrote the file, so that `version` and `status` mean what they say.
    pub(super) tagged: bool,
    pub(super) metadata: BTreeMap<String, String>,
}

impl Checked {
    pub(super) fn new(format: FormatKind, level: Option<Level>) -> Self {
        Self { format, level, bytes: 0, integrity: Integrity::None, findings: Vec::new(), contents: None }
    }

    /// Takes in the check of one of this checkpoint's files.
    pub(super) fn absorb(&mut self, file: &str, part: Self, first: bool) {
        self.bytes += part.bytes;
        self.integrity = if first { part.integrity } else { self.integrity.and(part.integrity) };
        self.level = if first { part.level } else { self.level.min(part.level) };
        self.findings.extend(part.findings.into_iter().map(|finding| match &finding.at.file {
            Some(_) => finding,
            None => finding.at_file(file),
        }));
    }

    pub(super) fn failed(&self) -> bool {
        self.findings.iter().any(Finding::is_failure)
    }
}
