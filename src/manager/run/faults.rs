//! Why a checkpoint's directory can't be taken for one.

use crate::record::{Code, Finding, Level, Manifest, ManifestError};

/// The finding for a directory without a manifest.
pub(super) fn unfinished() -> Finding {
    let message =
        "it has no manifest, so it isn't whole: a part of it was removed, or only a part was copied";
    Finding::corrupted(Code::ArtifactMissing, Level::Size, message).at_file(Manifest::NAME)
}

/// The finding for a manifest that can't be read as one.
pub(super) fn manifest(error: ManifestError) -> Finding {
    let message = error.to_string();
    let finding = match error {
        ManifestError::Damaged(_) => Finding::corrupted(Code::IndexMalformed, Level::Size, message),
        ManifestError::Newer(_) => Finding::incompatible(Code::VersionTooNew, Level::Size, message),
    };
    finding.at_file(Manifest::NAME)
}

/// The finding for a manifest that is another checkpoint's: nothing is damaged, but files were mixed.
pub(super) fn disagrees(message: String) -> Finding {
    Finding::incompatible(Code::IndexDisagrees, Level::Size, message).at_file(Manifest::NAME)
}

/// The finding for an artifact that isn't there.
pub(super) fn missing(name: &str) -> Finding {
    let message = "the manifest names it, and it isn't there";
    Finding::corrupted(Code::ArtifactMissing, Level::Size, message).at_file(name)
}

/// The finding for an artifact of another size.
pub(super) fn other_size(name: &str, expected: u64, found: u64) -> Finding {
    let message = format!("the file has {found} bytes, and the manifest says {expected}");
    Finding::corrupted(Code::SizeMismatch, Level::Size, message).at_file(name)
}
