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
