use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How deep a check goes. Each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Exists, is a regular file, isn't empty, has the size that its marker or seal names.
    Size,
    /// The ZIP directory or the safetensors header: bounds, overlaps, required records.
    Container,
    /// The structure is read, every tensor resolves, every byte with a checksum is checked.
    Load,
    /// The required keys, dtypes and shapes are there.
    Keys,
}

impl Level {
    /// All levels, shallowest first.
    pub const ALL: [Self; 4] = [Self::Size, Self::Container, Self::Load, Self::Keys];

    /// Returns the word used in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Container => "container",
            Self::Load => "load",
            Self::Keys => "keys",
        }
    }

    /// Returns the next shallower level, if there is one.
    pub fn below(self) -> Option<Self> {
        match self {
            Self::Size => None,
            Self::Container => Some(Self::Size),
            Self::Load => Some(Self::Container),
            Self::Keys => Some(Self::Load),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Says that a word is no [`Level`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no level: size, container, load or keys")]
pub struct NoLevel(String);

impl FromStr for Level {
    type Err = NoLevel;

    fn from_str(word: &str) -> Result<Self, NoLevel> {
        Self::ALL.into_iter().find(|level| level.as_str() == word).ok_or_else(|| NoLevel(word.to_owned()))
    }
}
