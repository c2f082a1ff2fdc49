//! Names: of the files in a directory, and of the classes in a metadata file.

/// The file that makes a directory a checkpoint. It is written last.
pub const METADATA: &str = ".metadata";

/// What a file whose name ends so holds: items.
const SHARD_SUFFIX: &str = ".distcp";
/// The end of the name of a metadata file that hasn't its name yet.
const UNFINISHED_SUFFIX: &str = ".metadata.tmp";
/// How much of a metadata file's beginning holds the name of its first class.
const HEAD_BYTES: usize = 128;
/// The package that all classes of a metadata file are in.
const PACKAGE: &[u8] = b"torch.distributed.checkpoint";

/// What a file in a directory is for, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The metadata: of all ranks, or of one.
    Metadata(Option<u32>),
    /// Metadata of a save that ended before it was finished.
    Unfinished,
    /// Items.
    Shard,
    /// Nothing that PyTorch's writer writes.
    Other,
}

impl Role {
    /// Tells what a file is for.
    ///
    /// ```
    /// use ckpt::format::dcp::Role;
    /// assert_eq!(Role::of(".metadata"), Role::Metadata(None));
    /// assert_eq!(Role::of("__3.metadata"), Role::Metadata(Some(3)));
    /// assert_eq!(Role::of("__0.metadata.tmp"), Role::Unfinished);
    /// assert_eq!(Role::of("__3_0.distcp"), Role::Shard);
    /// assert_eq!(Role::of("model.pt"), Role::Other);
    /// ```
    pub fn of(name: &str) -> Self {
        if let Some(stem) = name.strip_suffix(METADATA) {
            return Self::of_metadata(stem);
        }
        if let Some(stem) = name.strip_suffix(UNFINISHED_SUFFIX) {
            return if Self::of_metadata(stem) == Self::Other { Self::Other } else { Self::Unfinished };
        }
        if name.ends_with(SHARD_SUFFIX) { Self::Shard } else { Self::Other }
    }

    /// Tells whose metadata it is by what stands before `.metadata`: nothing, or `__` and a rank. No rank is written with
    /// zeros before it.
    fn of_metadata(stem: &str) -> Self {
        if stem.is_empty() {
            return Self::Metadata(None);
        }
        let rank = stem.strip_prefix("__").and_then(|digits| Some((digits, digits.parse::<u32>().ok()?)));
        match rank {
            Some((digits, rank)) if rank.to_string() == digits => Self::Metadata(Some(rank)),
            _ => Self::Other,
        }
    }
}

/// Returns whether a file begins like a metadata file. Other programs have files called `.metadata` as well.
///
/// ```
/// use ckpt::format::dcp::looks_like_metadata;
/// assert!(looks_like_metadata(b"\x80\x04\x95\0\0\0\0\0\0\0\0\x8c$torch.distributed.checkpoint.metadata"));
/// assert!(!looks_like_metadata(b"# This file tracks properties of this project"));
/// ```
pub fn looks_like_metadata(head: &[u8]) -> bool {
    let head = head.get(..HEAD_BYTES).unwrap_or(head);
    head.starts_with(b"\x80") && head.windows(PACKAGE.len()).any(|window| window == PACKAGE)
}

/// The classes of `torch/distributed/checkpoint/metadata.py` and `filesystem.py`, by what they are for.
pub(super) mod class {
    pub(in crate::format::dcp) const METADATA: &str = "torch.distributed.checkpoint.metadata.Metadata";
    pub(in crate::format::dcp) const TENSOR: &str =
        "torch.distributed.checkpoint.metadata.TensorStorageMetadata";
    pub(in crate::format::dcp) const BYTES: &str =
        "torch.distributed.checkpoint.metadata.BytesStorageMetadata";
    pub(in crate::format::dcp) const CHUNK: &str =
        "torch.distributed.checkpoint.metadata.ChunkStorageMetadata";
    pub(in crate::format::dcp) const PROPERTIES: [&str; 2] = [
        "torch.distributed.checkpoint.metadata.TensorProperties",
        // Before PyTorch 2.3.
        "torch.distributed._shard.sharded_tensor.metadata.TensorProperties",
    ];
    pub(in crate::format::dcp) const INDEX: &str = "torch.distributed.checkpoint.metadata.MetadataIndex";
    pub(in crate::format::dcp) const PLACE: &str = "torch.distributed.checkpoint.filesystem._StorageInfo";
    pub(in crate::format::dcp) const SAVE: &str = "torch.distributed.checkpoint.metadata.StorageMeta";
}

/// What a metadata file may ask for beside the names that any checkpoint may: its own classes, and the path that
/// it was saved to. All become data.
pub(super) const ALLOWED: &[&str] = &[
    class::METADATA,
    class::TENSOR,
    class::BYTES,
    class::CHUNK,
    "torch.distributed.checkpoint.metadata.TensorProperties",
    "torch.distributed._shard.sharded_tensor.metadata.TensorProperties",
    class::INDEX,
    class::PLACE,
    class::SAVE,
    "torch.distributed.checkpoint.metadata._MEM_FORMAT_ENCODING",
    "torch.distributed._shard.sharded_tensor.metadata.MEM_FORMAT_ENCODING",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "pathlib.WindowsPath",
    "pathlib.PureWindowsPath",
    // Python 3.13 moved them.
    "pathlib._local.PosixPath",
    "pathlib._local.PurePosixPath",
    "pathlib._local.WindowsPath",
    "pathlib._local.PureWindowsPath",
];

/// Says why a path can't be taken for that of a file in the directory, or in one below it.
pub(super) fn outside(path: &str) -> Option<&'static str> {
    let mut chars = path.chars();
    let drive = chars.next().is_some_and(|first| first.is_ascii_alphabetic()) && chars.next() == Some(':');
    if path.is_empty() {
        Some("is empty")
    } else if path.contains(char::is_control) {
        Some("has a control character")
    } else if drive || path.contains('\\') || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        Some("leads out of the checkpoint's directory, which makes it unsafe to load")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_within_can_be_named() {
        for path in ["__0_0.distcp", "step/__12_3.distcp", "a b", "..distcp"] {
            assert_eq!(outside(path), None, "{path}");
        }
        for path in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", ".", "C:x", "a\\b", "a\0b", "a\nb"]
        {
            assert!(outside(path).is_some(), "{path:?}");
        }
    }

    #[test]
    fn ranks_are_plain_numbers() {
        for name in ["__01.metadata", "__-1.metadata", "__4294967296.metadata", "x.metadata", "_0.metadata"] {
            assert_eq!(Role::of(name), Role::Other, "{name}");
        }
    }
}
