use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The number of digits that a step has at least, so that names sort as steps do.
const STEP_DIGITS: usize = 10;

/// The name of a checkpoint within its branch: `step-0000001200`, or `step-0000001200-g2`.
///
/// A history that was walked back goes on as a new **generation**: who resumes at step 1000, because the one
/// of step 1500 is damaged, reaches step 1500 again, and the old one isn't written into. So the order of the
/// history is that of generations, and within one that of steps.
///
/// ```
/// use ckpt::record::CheckpointId;
/// let old: CheckpointId = "step-0000001500".parse()?;
/// let new = CheckpointId { generation: 1, step: 1100 };
/// assert_eq!(new.to_string(), "step-0000001100-g1");
/// assert!(new > old);
/// # Ok::<(), ckpt::record::NoCheckpointId>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CheckpointId {
    /// How often the history had been walked back.
    pub generation: u32,
    /// The number of training steps that were taken.
    pub step: u64,
}

/// Says that a text is no [`CheckpointId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no checkpoint's name: step-NUMBER, or step-NUMBER-gGENERATION")]
pub struct NoCheckpointId;

impl Ord for CheckpointId {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.generation, self.step).cmp(&(other.generation, other.step))
    }
}

impl PartialOrd for CheckpointId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step-{:0STEP_DIGITS$}", self.step)?;
        if self.generation == 0 { Ok(()) } else { write!(f, "-g{}", self.generation) }
    }
}

impl FromStr for CheckpointId {
    type Err = NoCheckpointId;

    /// Reads a name exactly as it is printed: two names are never one checkpoint's.
    fn from_str(text: &str) -> Result<Self, NoCheckpointId> {
        let rest = text.strip_prefix("step-").ok_or(NoCheckpointId)?;
        let (step, generation) = match rest.split_once("-g") {
            Some((step, generation)) => (step, generation.parse().map_err(|_| NoCheckpointId)?),
            None => (rest, 0),
        };
        let id = Self { generation, step: step.parse().map_err(|_| NoCheckpointId)? };
        if id.to_string() == text { Ok(id) } else { Err(NoCheckpointId) }
    }
}

impl TryFrom<String> for CheckpointId {
    type Error = NoCheckpointId;

    fn try_from(text: String) -> Result<Self, NoCheckpointId> {
        text.parse()
    }
}

impl From<CheckpointId> for String {
    fn from(id: CheckpointId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_as_they_are_printed() {
        for (id, name) in [
            (CheckpointId { generation: 0, step: 0 }, "step-0000000000"),
            (CheckpointId { generation: 0, step: 1200 }, "step-0000001200"),
            (CheckpointId { generation: 12, step: u64::MAX }, "step-18446744073709551615-g12"),
        ] {
            assert_eq!((id.to_string().as_str(), name.parse()), (name, Ok(id)));
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "",
            "step-",
            "step-1200",
            "step-00000001200",
            "step-0000001200-g0",
            "step-0000001200-g01",
            "step-0000001200-g",
            "step-+000001200",
            "step--000001200",
            "step-0000001200-g4294967296",
            "step-18446744073709551616",
            "stage-0000001200",
            " step-0000001200",
        ] {
            assert_eq!(name.parse::<CheckpointId>(), Err(NoCheckpointId), "{name}");
        }
    }

    #[test]
    fn a_later_generation_is_newer_whatever_its_step() {
        let mut ids: Vec<CheckpointId> =
            ["step-0000000200-g1", "step-0000001500", "step-0000000100-g1", "step-0000000900"]
                .map(|name| name.parse().unwrap())
                .to_vec();
        ids.sort();
        let names: Vec<_> = ids.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["step-0000000900", "step-0000001500", "step-0000000100-g1", "step-0000000200-g1"]);
    }
}
