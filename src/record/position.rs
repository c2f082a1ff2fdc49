use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};

/// What a position's text must not hold as it is: it is one word of a line.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'"').add(b'\\');

/// Where in the work a checkpoint was made: at a training step, or behind a finished stage.
///
/// It prints as one word, which [`str::parse`] reads back.
///
/// ```
/// use ckpt::record::Position;
/// assert_eq!(Position::Step(1200).to_string(), "step:1200");
/// assert_eq!("stage:merge%20all".parse(), Ok(Position::Stage("merge all".into())));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Position {
    /// The number of training steps that were taken.
    Step(u64),
    /// The name of the stage.
    Stage(String),
}

/// Says that a text is no [`Position`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no position: neither step:NUMBER nor stage:NAME")]
pub struct NoPosition;

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(step) => write!(f, "step:{step}"),
            Self::Stage(name) => write!(f, "stage:{}", utf8_percent_encode(name, ESCAPED)),
        }
    }
}

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let (kind, value) = text.split_once(':').ok_or(NoPosition)?;
        match kind {
            "step" => value.parse().map(Self::Step).map_err(|_| NoPosition),
            "stage" => {
                let name = percent_decode_str(value).decode_utf8().map_err(|_| NoPosition)?;
                Ok(Self::Stage(name.into_owned()))
            }
            _ => Err(NoPosition),
        }
    }
}
