use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The content of a completion marker (`model.pt.done`), where it has any.
///
/// An empty marker, or one with other text in it, says only that the file is finished: other tools
/// write those.
///
/// While a file is being replaced, its marker describes the old file or the new one, so that it is right
/// before the renaming and after it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The size of the file that the marker vouches for, in bytes.
    pub bytes: u64,
    /// The proof id of that file, where it carries a proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    /// The other file that the marker vouches for, while one replaces the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub or: Option<Described>,
}

/// What a marker says of the other of two files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Described {
    /// The size of the file, in bytes.
    pub bytes: u64,
    /// The proof id of the file, where it carries a proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
}

/// What a marker is to a file of some size and proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkerFit {
    /// It describes the file.
    Fits,
    /// It names another proof than the file's: it was written for another file, and says nothing of this one.
    Stale,
    /// It describes the file with another size.
    OtherSize,
}

/// Reads a JSON object. A list would do for `serde` as well, and `[1]` says nothing of a size.
pub(super) fn parse_map<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    if text.trim_ascii_start().starts_with(b"{") { serde_json::from_slice(text).ok() } else { None }
}

impl Marker {
    /// The suffix added to the checkpoint's file name.
    pub const SUFFIX: &str = ".done";

    /// Reads a marker's text; `None` where it carries no facts.
    pub fn parse(text: &[u8]) -> Option<Self> {
        parse_map(text)
    }

    /// Returns the marker's text: one line.
    ///
    /// ```
    /// use ckpt::record::{Described, Marker};
    /// let marker = Marker { bytes: 7, or: Some(Described { bytes: 9, proof: None }), ..Marker::default() };
    /// assert_eq!(marker.encode(), "{\"bytes\":7,\"or\":{\"bytes\":9}}\n");
    /// assert_eq!(Marker::parse(marker.encode().as_bytes()), Some(marker));
    /// ```
    pub fn encode(&self) -> String {
        // Numbers and texts always become JSON.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// Returns whether the marker vouches for a file of this size.
    pub fn names_size(&self, bytes: u64) -> bool {
        self.described().any(|(size, _)| size == bytes)
    }

    /// Holds the marker against a file of this size that carries the proof with the id `proof`, if any.
    pub fn fit(&self, bytes: u64, proof: Option<&str>) -> MarkerFit {
        let names = |named: Option<&str>| named.is_some() && named == proof;
        if self.described().any(|(size, named)| size == bytes && (named.is_none() || names(named))) {
            MarkerFit::Fits
        } else if self.described().any(|(_, named)| names(named)) {
            MarkerFit::OtherSize
        } else if self.described().any(|(_, named)| named.is_some()) {
            MarkerFit::Stale
        } else {
            MarkerFit::OtherSize
        }
    }

    fn described(&self) -> impl Iterator<Item = (u64, Option<&str>)> {
        let other = self.or.iter().map(|other| (other.bytes, other.proof.as_deref()));
        std::iter::once((self.bytes, self.proof.as_deref())).chain(other)
    }
}

#[cfg(test)]
mod tests {
    use super::MarkerFit::{Fits, OtherSize, Stale};
    use super::*;

    #[test]
    fn a_marker_fits_by_size_and_proof() {
        let described = |bytes, proof: Option<&str>| Described { bytes, proof: proof.map(str::to_owned) };
        let marker =
            |(bytes, proof): (u64, Option<&str>), or| Marker { bytes, proof: proof.map(str::to_owned), or };
        let old_or_new = || marker((1, Some("a")), Some(described(2, Some("b"))));
        let foreign_or_new = || marker((1, None), Some(described(2, Some("b"))));
        for (marker, bytes, proof, fit) in [
            (marker((1, None), None), 1, None, Fits),
            (marker((1, None), None), 1, Some("a"), Fits),
            (marker((1, None), None), 2, Some("a"), OtherSize),
            (marker((1, Some("a")), None), 1, Some("a"), Fits),
            (marker((1, Some("a")), None), 2, Some("a"), OtherSize),
            (marker((1, Some("a")), None), 1, Some("b"), Stale),
            (marker((1, Some("a")), None), 1, None, Stale),
            (marker((1, Some("a")), None), 2, Some("b"), Stale),
            (old_or_new(), 1, Some("a"), Fits),
            (old_or_new(), 2, Some("b"), Fits),
            (old_or_new(), 2, Some("a"), OtherSize),
            (old_or_new(), 2, Some("c"), Stale),
            (foreign_or_new(), 1, None, Fits),
            (foreign_or_new(), 2, Some("b"), Fits),
        ] {
            assert_eq!(marker.fit(bytes, proof), fit, "{marker:?} {bytes} {proof:?}");
        }
    }
}
