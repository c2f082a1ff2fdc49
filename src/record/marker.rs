use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The content of a completion marker (`model.pt.done`), where it has any.
///
/// An empty marker, or one with other text in it, says only that the file is finished: other tools
/// write those.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The size of the file that the marker vouches for.
    pub bytes: u64,
    /// The proof id of that file, where it carries a proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
}

/// The content of a seal (`model.pt.seal`): what was known of a file that carries no proof itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// The size of the sealed file.
    pub bytes: u64,
}

/// Reads a JSON object. A list would do for `serde` as well, and `[1]` says nothing of a size.
fn parse_map<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    if text.trim_ascii_start().starts_with(b"{") { serde_json::from_slice(text).ok() } else { None }
}

impl Marker {
    /// The suffix added to the checkpoint's file name.
    pub const SUFFIX: &str = ".done";

    /// Reads a marker's text; `None` where it carries no facts.
    pub fn parse(text: &[u8]) -> Option<Self> {
        parse_map(text)
    }
}

impl Seal {
    /// The suffix added to the checkpoint's file name.
    pub const SUFFIX: &str = ".seal";

    /// Reads a seal's text; `None` where it isn't one.
    pub fn parse(text: &[u8]) -> Option<Self> {
        parse_map(text)
    }
}
