//! JSON that proves itself: the field `digest` is the CRC-64/NVME of the text, taken with its own digits as zeros.

use serde::Serialize;

use crate::digest::Algorithm;

/// What the digest's own digits are replaced by where it is taken.
pub(super) const BLANK: &str = "0000000000000000";

/// Returns the text of a record whose digest is [`BLANK`]: JSON that ends in a newline, with the digest in its place.
///
/// The digest comes before whatever of the caller's could look like it. The record is of texts, finite numbers and lists
/// of them, which always become JSON.
pub(super) fn encode(blank: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(blank).unwrap_or_default() + "\n";
    text.replacen(&quoted(BLANK), &quoted(&digest_of(&text)), 1)
}

/// Returns whether a text is what the digest that it holds was taken of.
pub(super) fn is_whole(text: &[u8], digest: &str) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    digest_of(&text.replacen(&quoted(digest), &quoted(BLANK), 1)) == digest
}

fn digest_of(text: &str) -> String {
    Algorithm::Crc64Nvme.digest(text.as_bytes()).to_string()
}

fn quoted(digits: &str) -> String {
    format!("\"{digits}\"")
}
