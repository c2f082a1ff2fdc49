use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The name and version of the document that says how two checkpoints differ.
pub const DIFF_SCHEMA: &str = "ckpt.diff/1";

/// How two checkpoints differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Compared {
    /// Always [`DIFF_SCHEMA`].
    pub schema: String,
    /// The first checkpoint. In JSON, bytes of a path that are no UTF-8 are replaced by U+FFFD.
    #[serde(with = "super::report::lossy_path")]
    pub left: PathBuf,
    /// The second one.
    #[serde(with = "super::report::lossy_path")]
    pub right: PathBuf,
    /// Whether nothing differs, as far as was looked.
    pub equal: bool,
    /// What was looked at.
    pub by: ComparedBy,
    /// The largest difference of two numbers that counts as none; null where only equal bits are equal.
    pub tolerance: Option<f64>,
    /// How many tensors are equal.
    pub tensors: u64,
    /// How many tensors are equal only within the tolerance; they are counted in `tensors` as well.
    pub within: u64,
    /// How many plain values are equal.
    pub values: u64,
    /// What differs, in the order of the first checkpoint; what only the second has comes last.
    pub differences: Vec<Differing>,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
}

/// What of two checkpoints was compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ComparedBy {
    /// Names, dtypes, shapes, elements and plain values.
    Values,
    /// Names, dtypes and shapes.
    Keys,
    /// The ids of their proofs, which are equal: the files have the same bytes. No data was read.
    Proof,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Differing {
    /// The keys that lead to the value, joined by dots.
    pub path: String,
    /// What differs.
    pub kind: DifferingKind,
    /// What the first checkpoint has there; null where nothing, or where `elements` says more.
    pub left: Option<String>,
    /// What the second one has there.
    pub right: Option<String>,
    /// How the elements of two tensors differ.
    pub elements: Option<DifferingElements>,
}

/// The kinds of differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DifferingKind {
    /// Only the first checkpoint has the value.
    OnlyLeft,
    /// Only the second one has it.
    OnlyRight,
    /// The values are of different kinds: a tensor and a number, a list and a tuple.
    Type,
    /// Two tensors of different dtypes.
    Dtype,
    /// Two tensors of different shapes.
    Shape,
    /// Two tensors with different elements.
    Elements,
    /// Two different plain values.
    Value,
}

impl DifferingKind {
    /// All kinds.
    pub const ALL: [Self; 7] =
        [Self::OnlyLeft, Self::OnlyRight, Self::Type, Self::Dtype, Self::Shape, Self::Elements, Self::Value];

    /// Returns the word in documents: `only-left`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnlyLeft => "only-left",
            Self::OnlyRight => "only-right",
            Self::Type => "type",
            Self::Dtype => "dtype",
            Self::Shape => "shape",
            Self::Elements => "elements",
            Self::Value => "value",
        }
    }
}

/// How the elements of two tensors differ. Elements are equal if their bits are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DifferingElements {
    /// How many elements each tensor has; bytes, where several elements share one.
    pub count: u64,
    /// How many of them differ.
    pub differing: u64,
    /// The largest absolute difference of two finite numbers; 0 where only zeros of different signs differ,
    /// and null where no two finite numbers do. Of complex numbers it is the modulus of the difference.
    pub largest: Option<f64>,
    /// The index of the first element with that difference.
    pub at: Vec<u64>,
    /// How many differing pairs have no difference in numbers: one of the two is NaN or infinite, or the type
    /// isn't known to be a number.
    pub without_number: u64,
    /// How many differing pairs are NaN on both sides, with different bits.
    pub both_nan: u64,
}
