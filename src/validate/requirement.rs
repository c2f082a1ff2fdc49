use std::str::FromStr;

use crate::error::Error;

/// A key that a checkpoint must have: `data`, `model.*`, `w:f32[768,*]`.
#[derive(Clone, Debug)]
pub struct Requirement {
    text: String,
}

impl FromStr for Requirement {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self { text: text.to_owned() })
    }
}

impl Requirement {
    /// Returns the requirement as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Reads requirements from a text, one to a line. Empty lines and those that begin with `#` are
/// passed over.
///
/// # Errors
///
/// The first line that is no requirement.
pub fn parse_requirements(text: &str) -> Result<Vec<Requirement>, Error> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::parse).collect()
}
