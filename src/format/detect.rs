//! What a file is, by its content.

use std::io;

use super::torch::{is_tar, is_torch_tar, legacy};
use super::{read_vec, safetensors, zip};
use crate::io::ReadAt;
use crate::record::FormatKind;

/// How much of a file's beginning decides: a tar header, and an HTML page's first line.
const HEAD_BYTES: u64 = 1024;
/// How much of a file's beginning and end must be zero for the whole to be taken for zeros.
const ZERO_BYTES: u64 = 64 << 10;

/// The beginnings that decide at once.
const MAGICS: [(&[u8], FormatKind); 9] = [
    (&zip::LOCAL_SIGNATURE, FormatKind::Zip),
    (&zip::END_SIGNATURE, FormatKind::Zip),
    (b"7z\xbc\xaf\x27\x1c", FormatKind::SevenZip),
    (b"\x1f\x8b", FormatKind::Gzip),
    (b"\x28\xb5\x2f\xfd", FormatKind::Zstd),
    (b"\x89HDF\r\n\x1a\n", FormatKind::Hdf5),
    (b"GGUF", FormatKind::Gguf),
    (b"\x93NUMPY", FormatKind::Npy),
    (b"version https://git-lfs", FormatKind::GitLfsPointer),
];

/// Tells what a file is. Costs one read of a kilobyte, and a few more where that doesn't decide.
///
/// A ZIP archive is [`FormatKind::Zip`] here: [`TorchArchive::open`](super::torch::archive::TorchArchive::open)
/// tells what kind. A pickle is never looked for first: a safetensors file can begin with the bytes of
/// one.
pub fn detect(source: &dyn ReadAt) -> io::Result<FormatKind> {
    let len = source.len();
    if len == 0 {
        return Ok(FormatKind::Empty);
    }
    let head = read_vec(source, 0..len.min(HEAD_BYTES))?;
    if let Some((_, kind)) = MAGICS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Ok(*kind);
    }
    if safetensors::looks_like(&head, len) {
        return Ok(FormatKind::Safetensors);
    }
    if is_zeros(source)? {
        return Ok(FormatKind::Zeros);
    }
    if legacy::looks_like(&head) {
        return Ok(FormatKind::TorchLegacy);
    }
    if is_tar(&head) {
        return Ok(if is_torch_tar(&head) { FormatKind::TorchTar } else { FormatKind::Tar });
    }
    if let Some(kind) = text_kind(&head) {
        return Ok(kind);
    }
    if ends_like_zip(source)? {
        return Ok(FormatKind::Zip);
    }
    // What may be the beginning of something is not a pickle yet.
    let pickle = beginning_of(&head).is_none() && looks_like_pickle(&head, len);
    Ok(if pickle { FormatKind::Pickle } else { FormatKind::Unknown })
}

/// Returns the format whose first bytes these are, where the file is too short to have them all.
pub fn beginning_of(head: &[u8]) -> Option<FormatKind> {
    let cut = |magic: &[u8]| !head.is_empty() && head.len() < magic.len() && magic.starts_with(head);
    if cut(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19") {
        return Some(FormatKind::TorchLegacy);
    }
    MAGICS.iter().find(|(magic, _)| cut(magic)).map(|(_, kind)| *kind)
}

/// Returns whether a file is zero at both ends. A file system that lost its cache in a crash leaves the
/// length and zeros; reading all of a large file only to say so would take minutes.
fn is_zeros(source: &dyn ReadAt) -> io::Result<bool> {
    let len = source.len();
    let zero = |bytes: Vec<u8>| bytes.iter().all(|byte| *byte == 0);
    Ok(zero(read_vec(source, 0..len.min(ZERO_BYTES))?)
        && zero(read_vec(source, len.saturating_sub(ZERO_BYTES)..len)?))
}

/// Tells a web page and a JSON document from other text. A download that failed often leaves the one or the
/// other under the name of the checkpoint.
fn text_kind(head: &[u8]) -> Option<FormatKind> {
    let text = head.trim_ascii_start();
    let begins = |word: &[u8]| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    if begins(b"<!doctype html") || begins(b"<html") || begins(b"<head") {
        return Some(FormatKind::Html);
    }
    // A pickle can begin with a bracket or a brace, but not go on like a document.
    let after = text.get(1..).unwrap_or_default().trim_ascii_start();
    let json = match text.first() {
        Some(b'{') => matches!(after.first(), Some(b'"' | b'}')),
        Some(b'[') => matches!(after.first(), Some(b'"' | b'{' | b'[' | b']' | b'0'..=b'9')),
        _ => false,
    };
    json.then_some(FormatKind::Json)
}

/// An archive whose first bytes are overwritten still has its end.
fn ends_like_zip(source: &dyn ReadAt) -> io::Result<bool> {
    let len = source.len();
    let tail = read_vec(source, len.saturating_sub(22)..len)?;
    Ok(tail.starts_with(&zip::END_SIGNATURE))
}

/// Protocols 2 to 5 say so; 0 and 1 are told by their first opcode and their last, a full stop.
fn looks_like_pickle(head: &[u8], len: u64) -> bool {
    let ends = head.len() as u64 == len && head.last() == Some(&b'.');
    match head {
        [0x80, 0..=5, ..]
        | [b'(', b'd' | b'l' | b't' | b'c' | b'i' | b'V' | b'S' | b'X' | b'U' | b'I' | b'K', ..]
        | [b'}' | b']', b'q' | b'(', ..] => true,
        [b'c', rest @ ..] => {
            let mut lines = rest.split(|byte| *byte == b'\n');
            let name = |line: Option<&[u8]>| {
                line.is_some_and(|line| {
                    !line.is_empty()
                        && line.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(byte))
                })
            };
            name(lines.next()) && name(lines.next())
        }
        [b'I' | b'L' | b'F' | b'S' | b'V' | b'N' | b'l' | b'd' | b'K' | b'M' | b'X', ..] => ends,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(bytes: &[u8]) -> FormatKind {
        detect(&bytes.to_vec()).unwrap()
    }

    #[test]
    fn beginnings_decide() {
        for (bytes, expected) in [
            (&b""[..], FormatKind::Empty),
            (b"PK\x03\x04rest", FormatKind::Zip),
            (b"PK\x05\x06rest", FormatKind::Zip),
            (b"7z\xbc\xaf\x27\x1c\0\x04", FormatKind::SevenZip),
            (b"\x1f\x8b\x08\0", FormatKind::Gzip),
            (b"\x28\xb5\x2f\xfd\0", FormatKind::Zstd),
            (b"\x89HDF\r\n\x1a\n\0", FormatKind::Hdf5),
            (b"GGUF\x03\0\0\0", FormatKind::Gguf),
            (b"\x93NUMPY\x01\0v\0{'descr': '<f8'}", FormatKind::Npy),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", FormatKind::GitLfsPointer),
            (b"\x02\0\0\0\0\0\0\0{}", FormatKind::Safetensors),
            (b"\n <!DOCTYPE HTML><html>", FormatKind::Html),
            (b"<html lang=en>", FormatKind::Html),
            (b"<head>", FormatKind::Html),
            (b"{\"error\": 404}", FormatKind::Json),
            (b"[1, 2]", FormatKind::Json),
            (b"\x80\x02}q\x00.", FormatKind::Pickle),
            (b"(dp0\nS'a'\nI1\ns.", FormatKind::Pickle),
            (b"cposix\nsystem\n(S'id'\ntR.", FormatKind::Pickle),
            (b"}q\x00.", FormatKind::Pickle),
            (b"I1\n.", FormatKind::Pickle),
            (b"Step 1: loss 2.5\n", FormatKind::Unknown),
            (b"chapter one", FormatKind::Unknown),
            (b"\x7fELF", FormatKind::Unknown),
        ] {
            assert_eq!(kind(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    /// A safetensors header's length can be the first bytes of a pickle, or those of a gzip stream.
    #[test]
    fn a_header_is_looked_for_before_a_pickle() {
        let mut bytes = 0x0280_u64.to_le_bytes().to_vec();
        bytes.extend(b"{\"__metadata__\":{}}");
        bytes.resize(8 + 0x0280, b' ');
        assert_eq!(kind(&bytes), FormatKind::Safetensors);
    }

    #[test]
    fn zeros_at_both_ends_are_zeros() {
        assert_eq!(kind(&[0; 100]), FormatKind::Zeros);
        let mut bytes = vec![0; 300_000];
        assert_eq!(kind(&bytes), FormatKind::Zeros);
        bytes[150_000] = 1;
        assert_eq!(kind(&bytes), FormatKind::Zeros, "the middle isn't looked at");
        bytes[299_999] = 1;
        assert_eq!(kind(&bytes), FormatKind::Unknown);
    }

    #[test]
    fn an_archive_without_its_beginning_has_its_end() {
        let mut bytes = vec![0x55; 100];
        bytes.extend(b"PK\x05\x06");
        bytes.extend([0; 18]);
        assert_eq!(kind(&bytes), FormatKind::Zip);
    }

    #[test]
    fn a_short_file_may_be_the_beginning_of_something() {
        assert_eq!(beginning_of(b"P"), Some(FormatKind::Zip));
        assert_eq!(beginning_of(b"\x80\x02\x8a"), Some(FormatKind::TorchLegacy));
        assert_eq!(beginning_of(b"GGU"), Some(FormatKind::Gguf));
        assert_eq!(beginning_of(b""), None);
        assert_eq!(beginning_of(b"GGUF"), None, "whole");
        assert_eq!(beginning_of(b"GGX"), None);
        assert_eq!(kind(b"\x80\x02"), FormatKind::Unknown, "no pickle yet");
    }
}
