use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Finding, FormatKind, Level, Verdict};

/// The schema's name and version, the first field of every report.
pub const REPORT_SCHEMA: &str = "ckpt.report/1";

/// What one check found out about one checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// Always [`REPORT_SCHEMA`].
    pub schema: String,
    /// The checkpoint. In JSON, bytes that are no UTF-8 are replaced by U+FFFD.
    #[serde(with = "lossy_path")]
    pub path: PathBuf,
    /// What the content is.
    pub format: FormatKind,
    /// The gravest verdict of the findings.
    pub verdict: Verdict,
    /// The deepest level that was checked; none where not even the first could be.
    pub level: Option<Level>,
    /// The deepest level that was passed, all shallower ones included.
    pub passed: Option<Level>,
    /// The size of all the checkpoint's files.
    pub bytes: u64,
    /// The number of tensors, where the check went deep enough to count them.
    pub tensors: Option<u64>,
    /// How much of the contents this check held against checksums.
    pub integrity: Integrity,
    /// The facts, in the order in which they were found.
    pub findings: Vec<Finding>,
    /// How long the check took, in milliseconds.
    pub elapsed_ms: u64,
}

/// How much of a checkpoint's contents was held against checksums by a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Integrity {
    /// Nothing: the file carries no checksum, or the level asked for reads none.
    None,
    /// Some of the contents.
    Partial,
    /// Every byte of the contents.
    Full,
}

impl Integrity {
    /// Returns the word used in JSON and on the terminal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Partial => "partial",
            Self::Full => "full",
        }
    }

    /// Returns what holds of two parts together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::Partial }
    }
}

impl Report {
    /// Makes the report of a check that went as deep as `level`.
    pub(crate) fn new(path: PathBuf, format: FormatKind, level: Option<Level>) -> Self {
        Self {
            schema: REPORT_SCHEMA.to_owned(),
            path,
            format,
            verdict: Verdict::Valid,
            level,
            passed: level,
            bytes: 0,
            tensors: None,
            integrity: Integrity::None,
            findings: Vec::new(),
            elapsed_ms: 0,
        }
    }

    /// Adds findings, and lets them decide the verdict and the deepest level that was passed.
    pub(crate) fn add(&mut self, findings: impl IntoIterator<Item = Finding>) {
        for finding in findings {
            self.verdict = self.verdict.max(finding.verdict);
            if finding.is_failure() {
                self.passed = self.passed.min(finding.level.below());
            }
            self.findings.push(finding);
        }
    }

    /// Notes that `level` was checked as well, and passed unless a finding says otherwise.
    pub(crate) fn reach(&mut self, level: Level) {
        self.level = self.level.max(Some(level));
        let failed =
            self.findings.iter().filter(|finding| finding.is_failure()).map(|finding| finding.level).min();
        self.passed = failed.map_or(self.level, Level::below);
    }

    /// Returns whether the checkpoint passed everything that was asked for.
    pub fn is_valid(&self) -> bool {
        self.verdict == Verdict::Valid
    }

    /// Returns the finding that decided the verdict: the first of the gravest.
    pub fn reason(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.is_failure() && finding.verdict == self.verdict)
    }
}

/// Paths as text: JSON has no other kind of string.
pub(super) mod lossy_path {
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&path.to_string_lossy())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        String::deserialize(deserializer).map(PathBuf::from)
    }
}

/// As [`lossy_path`], for a path that may be missing.
pub(super) mod lossy_path_option {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde's `with` passes the field by reference")]
    pub(crate) fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
        match path {
            Some(path) => serializer.serialize_some(&path.to_string_lossy()),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(PathBuf::from))
    }
}
