//! Whether a file begins like a checkpoint, whatever its name.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// How much of a file is looked at: enough for the first records of an archive and for a tar header.
const WINDOW: usize = 1024;

/// `0x1950A86A20F9469CFC6C`, the magic number that `torch.save` pickled first before PyTorch 1.6, as
/// the operand of a `LONG1` of ten bytes (`torch.serialization.MAGIC_NUMBER`).
const LEGACY_MAGIC: [u8; 12] = [0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// A legacy file has it at the start: behind the protocol, and a frame in protocol 4 and 5.
const LEGACY_WITHIN: usize = 32;

/// The signature of a ZIP entry's local header, and that header's fixed length (APPNOTE 4.3.7).
const LOCAL_HEADER: &[u8] = b"PK\x03\x04";
const LOCAL_HEADER_BYTES: usize = 30;

/// The readers' own cap on a safetensors header.
const SAFETENSORS_HEADER_MAX: u64 = 100_000_000;

/// Reads the first bytes of a file and returns whether a checkpoint begins like that.
///
/// A file that can't be opened isn't one: nothing says that it was meant to be.
pub(super) fn is_checkpoint(path: &Path) -> bool {
    let mut window = Vec::with_capacity(WINDOW);
    let read = File::open(path).and_then(|file| file.take(WINDOW as u64).read_to_end(&mut window));
    read.is_ok() && looks_like_checkpoint(&window)
}

/// Returns whether a checkpoint begins with these bytes.
pub(super) fn looks_like_checkpoint(bytes: &[u8]) -> bool {
    begins_torch_zip(bytes) || begins_legacy(bytes) || begins_torch_tar(bytes) || begins_safetensors(bytes)
}

/// Walks the local headers in the window. Folder entries of a rezipped archive carry no data.
fn begins_torch_zip(mut bytes: &[u8]) -> bool {
    while bytes.starts_with(LOCAL_HEADER) {
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

fn begins_legacy(bytes: &[u8]) -> bool {
    let start = bytes.get(..LEGACY_WITHIN.min(bytes.len())).unwrap_or_default();
    start.starts_with(&[0x80]) && start.windows(LEGACY_MAGIC.len()).any(|window| window == LEGACY_MAGIC)
}

/// PyTorch 0.1 wrote a tar archive of `sys_info`, `pickle`, `storages` and `tensors`.
fn begins_torch_tar(bytes: &[u8]) -> bool {
    let is_tar = bytes.get(257..262) == Some(b"ustar");
    let name = bytes.get(..100).and_then(|name| name.split(|&byte| byte == 0).next());
    let records: [&[u8]; 4] = [b"sys_info", b"pickle", b"storages", b"tensors"];
    is_tar && name.is_some_and(|name| records.contains(&name.strip_prefix(b"./").unwrap_or(name)))
}

/// A length that a header can have, and then a JSON object.
fn begins_safetensors(bytes: &[u8]) -> bool {
    let Some((length, header)) = bytes.split_first_chunk::<8>() else { return false };
    let length = u64::from_le_bytes(*length);
    let mut visible = header.iter().filter(|byte| !byte.is_ascii_whitespace());
    (2..=SAFETENSORS_HEADER_MAX).contains(&length)
        && visible.next() == Some(&b'{')
        && matches!(visible.next(), Some(b'"' | b'}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zip_entry(name: &str) -> Vec<u8> {
        let mut bytes = LOCAL_HEADER.to_vec();
        bytes.resize(26, 0);
        bytes.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        bytes.extend([0, 0]);
        bytes.extend(name.as_bytes());
        bytes
    }

    #[test]
    fn zip_archives_count_by_their_records() {
        assert!(looks_like_checkpoint(&zip_entry("model/data.pkl")));
        assert!(looks_like_checkpoint(&[zip_entry("archive/"), zip_entry("archive/byteorder")].concat()));
        for name in ["word/document.xml", "set/data/train.csv", "MAR-INF/MANIFEST.json", "data.pkl", "a/b/"] {
            assert!(!looks_like_checkpoint(&zip_entry(name)), "{name}");
        }
    }

    #[test]
    fn legacy_files_count_in_every_binary_protocol() {
        let plain = [&[0x80, 2], LEGACY_MAGIC.as_slice(), b"."].concat();
        let framed = [&[0x80, 4, 0x95, 13, 0, 0, 0, 0, 0, 0, 0], LEGACY_MAGIC.as_slice(), b"."].concat();
        assert!(looks_like_checkpoint(&plain));
        assert!(looks_like_checkpoint(&framed));
        assert!(!looks_like_checkpoint(b"\x80\x02}q\x00."));
    }

    #[test]
    fn safetensors_count_by_length_and_brace() {
        assert!(looks_like_checkpoint(b"\x02\0\0\0\0\0\0\0{}"));
        assert!(looks_like_checkpoint(b"\x40\0\0\0\0\0\0\0{\"w\":{"));
        assert!(!looks_like_checkpoint(b"\xff\xff\xff\xff\xff\0\0\0{\"w\""));
        assert!(!looks_like_checkpoint(b"{\"weight_map\": {}}"));
    }

    #[test]
    fn a_torch_tar_counts_and_another_does_not() {
        let tar = |name: &str| {
            let mut bytes = name.as_bytes().to_vec();
            bytes.resize(257, 0);
            bytes.extend(b"ustar");
            bytes
        };
        assert!(looks_like_checkpoint(&tar("sys_info")));
        assert!(!looks_like_checkpoint(&tar("README.md")));
    }

    #[test]
    fn every_prefix_is_read_without_fault() {
        let whole = [zip_entry("archive/"), zip_entry("archive/data.pkl")].concat();
        for end in 0..whole.len() {
            assert!(!looks_like_checkpoint(&whole[..end]));
        }
    }
}
