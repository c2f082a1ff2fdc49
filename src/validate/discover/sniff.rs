//! Whether a file begins like a checkpoint, whatever its name.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::format::{safetensors, torch, zip};

/// How much of a file is looked at: enough for the first records of an archive and for a tar header.
const WINDOW: usize = 1024;

/// The fixed length of a ZIP entry's local header (APPNOTE 4.3.7).
const LOCAL_HEADER_BYTES: usize = 30;

/// Reads the first bytes of a file of `len` bytes, and returns whether a checkpoint begins like that.
///
/// A file that can't be opened isn't one: nothing says that it was meant to be.
pub(super) fn is_checkpoint(path: &Path, len: u64) -> bool {
    let mut head = Vec::with_capacity(WINDOW);
    let read = File::open(path).and_then(|file| file.take(WINDOW as u64).read_to_end(&mut head));
    read.is_ok() && looks_like_checkpoint(&head, len)
}

/// Returns whether a checkpoint of `len` bytes begins with these.
///
/// Cheaper than [`detect`](crate::format::detect), which also looks at the end of a file: here the
/// question is put to every log and picture of a directory. A tar archive or a ZIP archive counts
/// only with PyTorch's records in it.
pub(super) fn looks_like_checkpoint(head: &[u8], len: u64) -> bool {
    begins_torch_zip(head)
        || safetensors::looks_like(head, len)
        || torch::legacy::looks_like(head)
        || (torch::is_tar(head) && torch::is_torch_tar(head))
}

/// Walks the local headers in the window. Folder entries of a rezipped archive carry no data.
fn begins_torch_zip(mut bytes: &[u8]) -> bool {
    while bytes.starts_with(&zip::LOCAL_SIGNATURE) {
        let Some((name, next)) = local_entry(bytes) else { return false };
        if is_torch_record(name) {
            return true;
        }
        if !name.ends_with(b"/") {
            return false;
        }
        bytes = next;
    }
    false
}

/// Returns the name of the entry that begins here, and what follows its header.
fn local_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = |at: usize| Some(usize::from(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?)));
    let name_end = LOCAL_HEADER_BYTES + length(26)?;
    let name = bytes.get(LOCAL_HEADER_BYTES..name_end)?;
    Some((name, bytes.get(name_end + length(28)?..).unwrap_or_default()))
}

/// The records that PyTorch's writers put under their one top folder.
fn is_torch_record(name: &[u8]) -> bool {
    let Some(slash) = name.iter().position(|&byte| byte == b'/') else { return false };
    let (_, record) = name.split_at(slash + 1);
    let files: [&[u8]; 7] = [
        b"data.pkl",
        b"constants.pkl",
        b"version",
        b"byteorder",
        b".format_version",
        b".storage_alignment",
        b"archive_format",
    ];
    files.contains(&record)
        || record.starts_with(b"code/__torch__")
        || record.starts_with(b".data/")
        || is_numbered(record, b"data/")
        || is_numbered(record, b"constants/")
}

/// Tensors are numbered records: `data/0`. Any archive may have a folder called `data`.
fn is_numbered(record: &[u8], folder: &[u8]) -> bool {
    record
        .strip_prefix(folder)
        .is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks_like(head: &[u8]) -> bool {
        looks_like_checkpoint(head, head.len() as u64)
    }

    fn zip_entry(name: &str) -> Vec<u8> {
        let mut bytes = zip::LOCAL_SIGNATURE.to_vec();
        bytes.resize(26, 0);
        bytes.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        bytes.extend([0, 0]);
        bytes.extend(name.as_bytes());
        bytes
    }

    #[test]
    fn zip_archives_count_by_their_records() {
        assert!(looks_like(&zip_entry("model/data.pkl")));
        assert!(looks_like(&[zip_entry("archive/"), zip_entry("archive/byteorder")].concat()));
        for name in ["word/document.xml", "set/data/train.csv", "MAR-INF/MANIFEST.json", "data.pkl", "a/b/"] {
            assert!(!looks_like(&zip_entry(name)), "{name}");
        }
    }

    #[test]
    fn the_other_formats_count() {
        let legacy = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
        assert!(looks_like(legacy));
        assert!(looks_like(b"\x02\0\0\0\0\0\0\0{}"));
        assert!(looks_like(&tar("sys_info")));
        for other in
            [&b"\x80\x02}q\x00."[..], b"{\"weight_map\": {}}", b"step 1: loss 2.5\n", b"", &tar("README.md")]
        {
            assert!(!looks_like(other), "{}", other.escape_ascii());
        }
    }

    fn tar(name: &str) -> Vec<u8> {
        let mut bytes = name.as_bytes().to_vec();
        bytes.resize(257, 0);
        bytes.extend(b"ustar\x0000");
        bytes.resize(512, 0);
        // The header's checksum counts its own field as spaces.
        bytes[148..156].fill(b' ');
        let sum: u32 = bytes.iter().map(|&byte| u32::from(byte)).sum();
        bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes
    }

    #[test]
    fn every_prefix_is_read_without_fault() {
        let whole = [zip_entry("archive/"), zip_entry("archive/data.pkl")].concat();
        for end in 0..whole.len() {
            assert!(!looks_like(&whole[..end]));
        }
    }
}
