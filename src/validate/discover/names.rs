//! What a file's name says: the rules that need no look into the file.

use std::ffi::OsStr;

use crate::record::{Marker, Seal};

/// The file that failures are logged to; see [`History`](crate::validate::History).
pub(crate) const FAILURE_LOG: &str = "failed_checkpoints.txt";

/// The extensions that frameworks give their checkpoints, in lower case.
///
/// A file with one of them is always a candidate: a damaged checkpoint no longer looks like one, and
/// must not disappear from the list for that. `.mar`, `.pkl`, `.npz` and the like are containers of
/// other things too: those are looked at by content.
const EXTENSIONS: [&str; 7] = ["pt", "pth", "bin", "ckpt", "safetensors", "pt2", "ot"];

/// What writers add to the name of a file that isn't finished, or that guards another.
const TEMPORARY: [&str; 9] =
    [".tmp", ".temp", ".part", ".partial", ".incomplete", ".crdownload", ".lock", ".swp", "~"];

/// Returns whether the name promises a checkpoint.
pub(super) fn is_checkpoint(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    let Some(dot) = name.iter().rposition(|&byte| byte == b'.') else { return false };
    let extension = name.get(dot + 1..).unwrap_or_default();
    EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known.as_bytes()))
}

/// Returns whether the name is that of a shard index.
pub(super) fn is_index(name: &OsStr) -> bool {
    stem_of_index(name).is_some()
}

/// Returns whether the name is that of a shard index whose shards are checkpoints by name.
///
/// Other tools have files named `*.index.json` as well; one of those is only a shard index if its
/// content says so.
pub(super) fn promises_index(name: &OsStr) -> bool {
    stem_of_index(name)
        .and_then(|stem| str::from_utf8(stem).ok())
        .is_some_and(|stem| is_checkpoint(stem.as_ref()))
}

/// Returns what stands before `.index.json`.
fn stem_of_index(name: &OsStr) -> Option<&[u8]> {
    name.as_encoded_bytes().strip_suffix(b".index.json")
}

/// Returns whether a file of a directory is passed over unseen: hidden and temporary files, markers,
/// seals, and the failure log. A file that is named on its own is never passed over.
pub(super) fn is_passed_over(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    is_hidden(name)
        || is_companion(name)
        || bytes == FAILURE_LOG.as_bytes()
        || TEMPORARY.iter().any(|suffix| bytes.ends_with(suffix.as_bytes()))
}

/// Returns whether the file says something about another: a completion marker or a seal.
pub(super) fn is_companion(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    bytes.ends_with(Marker::SUFFIX.as_bytes()) || bytes.ends_with(Seal::SUFFIX.as_bytes())
}

/// Returns whether the name begins with a dot.
pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_count_in_any_case_and_only_at_the_end() {
        for name in ["a.pt", "A.PTH", "x.bin", "last.ckpt", "model.safetensors", "m.pt2", "vs.ot"] {
            assert!(is_checkpoint(name.as_ref()), "{name}");
        }
        for name in ["pt", "a.pt.txt", "a.ptx", "a.", "", "model.mar", "a.pkl"] {
            assert!(!is_checkpoint(name.as_ref()), "{name}");
        }
    }

    #[test]
    fn markers_hidden_and_temporary_files_are_passed_over() {
        for name in ["a.pt.done", "a.pt.seal", ".a.pt", "a.pt.tmp", "a.pt~", "b.incomplete", FAILURE_LOG] {
            assert!(is_passed_over(name.as_ref()), "{name}");
        }
        assert!(!is_passed_over("done.pt".as_ref()));
    }

    #[test]
    fn an_index_promises_shards_only_by_a_checkpoint_name() {
        assert!(promises_index("model.safetensors.index.json".as_ref()));
        assert!(is_index("docs.index.json".as_ref()));
        assert!(!promises_index("docs.index.json".as_ref()));
    }
}
