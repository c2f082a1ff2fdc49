//! What to do about a finding. The library states the facts; what to do is said here.

use crate::error::ErrorKind;
use crate::record::Code;

const RESTORE: &str = "restore it from a copy, or resume from an earlier checkpoint";
const WRITER: &str =
    "the file is as its writer made it: save it again with PyTorch, or report it to the writer";
const UNTRUSTED: &str =
    "damage, or a trick: restore it from a copy, and don't load it unless you know where it comes from";

/// Returns what to do about a failure of this kind; none where the message says it all.
pub(super) fn for_code(code: Code) -> Option<&'static str> {
    file(code).or_else(|| container(code)).or_else(|| contents(code)).or_else(|| keys(code))
}

/// The file as a whole, and what its content is.
fn file(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::Missing => "check the path; a save that was interrupted leaves no file under the final name",
        Code::NotRegular => "name the file itself, not a device, pipe or socket",
        Code::Empty | Code::AllZero => {
            "the file was never written back, as after a crash: resume from an earlier checkpoint"
        }
        Code::IoError => "check permissions and the device's health (dmesg), then run again",
        Code::SizeMismatch => {
            "the file is not the one its marker was written for: copy it again, or resume from an earlier one"
        }
        Code::MarkerMissing => "the save may not have finished: resume from a checkpoint that has its marker",
        Code::ChangedWhileRead => "something is writing to it: run again when the save is finished",
        Code::Cancelled => "run again, and let it end",
        Code::ForeignFormat | Code::UnknownFormat => {
            "it is no checkpoint: check where it came from, and download or export it again"
        }
        Code::MisleadingName => "rename it to what it is",
        _ => return None,
    })
}

/// ZIP archives, and safetensors headers.
fn container(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::DirectoryMissing | Code::Truncated => {
            "the file is short, as after an interrupted save, copy or download: copy it again, or resume from an \
             earlier checkpoint"
        }
        Code::DirectoryDamaged
        | Code::EntryOutOfBounds
        | Code::LayoutDamaged
        | Code::CompressionDamaged
        | Code::HeaderLength
        | Code::TensorSize => RESTORE,
        Code::EntriesOverlap | Code::HeaderDisagrees | Code::Ambiguous | Code::StrayBytes => UNTRUSTED,
        Code::UnsupportedMethod => "pack the archive again, stored or deflated",
        Code::Encrypted => "decrypt the archive first",
        Code::RecordMissing => "the save was interrupted, or the archive was packed again without it",
        Code::ContainerTooNew => "upgrade ckpt, or save it again with an older PyTorch",
        Code::ContainerVersion | Code::ByteOrderUnknown | Code::DataLayout | Code::HeaderMalformed => WRITER,
        Code::TooComplex => {
            "no checkpoint of a model needs this much: look at what wrote it before loading it"
        }
        Code::DtypeUnknown => "convert the tensor to a dtype that frameworks have",
        _ => return None,
    })
}

/// Checksums, the pickle, and checkpoints of several files.
fn contents(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::ChecksumMismatch => {
            "the bytes changed after they were saved, and loading would not notice: restore the file from a copy, \
             or resume from an earlier checkpoint"
        }
        Code::ProofDamaged => {
            "restore the file from a copy; if another program wrote it on purpose, save it again with ckpt, or \
             have that program leave the keys and records of ckpt out"
        }
        Code::PickleDamaged | Code::StorageSize => RESTORE,
        Code::PickleInvalid | Code::TensorOutOfBounds => WRITER,
        Code::NeedsTrust => {
            "loading it elsewhere could run its code; where you trust its origin, accept the name with \
             --allow-global NAME, or save the weights alone (state_dict)"
        }
        Code::TorchRefuses => "save it again with `torch.save` and its default protocol",
        Code::ArtifactMissing => {
            "copy or download the missing file again, or resume from an earlier checkpoint"
        }
        Code::IndexDisagrees => {
            "files of different saves were mixed: copy or download all of them again; a managed checkpoint's \
             directory keeps its name and its files"
        }
        Code::IndexMalformed => {
            "copy or download the index again; of a managed checkpoint, resume from an earlier one"
        }
        _ => return None,
    })
}

/// Keys, versions, status.
fn keys(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::NotAMap => "save a dictionary, such as a state_dict; a bare tensor or list has no keys",
        Code::KeyMissing
        | Code::KeyUnexpected
        | Code::DtypeMismatch
        | Code::ShapeMismatch
        | Code::ValueMismatch => {
            "it is a checkpoint of another model, or of another version of it: `ckpt info` lists what it has"
        }
        Code::VersionTooNew => "upgrade ckpt, or resume from a checkpoint of this version",
        Code::VersionMissing => "save it with its version, or leave --compat out",
        Code::InProgress => "the save may not have finished: resume from an earlier checkpoint",
        _ => return None,
    })
}

/// Returns what to do about a source that was not copied, for what was found in it.
pub(super) fn for_refusal(code: Code) -> &'static str {
    match code {
        Code::ChangedWhileRead => "nothing was copied: run again when the save is finished",
        Code::IoError => {
            "nothing was copied: check permissions and the device's health (dmesg), then run again"
        }
        Code::Missing => "nothing was copied: check the path",
        _ => {
            "nothing was copied: damaged bytes are no better in another place; restore the file, or take out what \
             is left of it with `ckpt salvage`"
        }
    }
}

/// Returns what to do about a source that can't be converted.
pub(super) fn for_source(code: Code) -> &'static str {
    match code {
        Code::ChangedWhileRead => "nothing was written: run again when the save is finished",
        Code::IoError => {
            "nothing was written: check permissions and the device's health (dmesg), then run again"
        }
        Code::Missing => "nothing was written: check the path",
        Code::NeedsTrust => {
            "nothing was written: accept the name as data with --allow-global, if you know where the file comes from"
        }
        _ => "nothing was written: restore the file, or take out what is left of it with `ckpt salvage`",
    }
}

/// Returns what to do about a pair that wasn't merged.
pub(super) fn for_merge(code: Code) -> &'static str {
    match code {
        Code::ChangedWhileRead => "nothing was written for this pair: run again when it is finished",
        Code::KeyMissing | Code::ValueMismatch | Code::NotAMap => {
            "`ckpt info` lists the tensors of a file; --ids-key, --data-key and --value-key name what is what"
        }
        Code::KeyUnexpected => "without --refuse-unmatched they are left out, and listed",
        Code::ShapeMismatch => "the file's ids and rows don't belong together: extract its features again",
        Code::DtypeMismatch => "extract both with one dtype, or convert one to that of the other",
        Code::Missing | Code::IoError => {
            "nothing was written for this pair: check the path, its permissions and the device's health (dmesg)"
        }
        _ => "nothing was written for this pair: restore the file from a copy, or extract its features again",
    }
}

/// What to do where two directories have no pairs.
pub(super) const PAIRS: &str = "names belong together up to their last number (output_1_A.pt, output_1_B.pt); --list takes any other pairs";

/// What to do where tensors are missing.
pub(super) const MISSING_TENSORS: &str =
    "take the missing tensors from a copy or from an earlier checkpoint, before anybody trains on";

/// What to do where nothing is proven.
pub(super) const NOTHING_PROVEN: &str =
    "restore it from a copy; --unproven saves what lies wholly in the file, be it damaged or not";

/// What to do where nothing says what the bytes are.
pub(super) const NOTHING_LEFT: &str = "restore it from a copy, or resume from an earlier checkpoint";

/// What to do about a file that isn't the one that was sealed.
pub(super) const BROKEN_SEAL: &str =
    "restore the file from a copy; if it was changed on purpose, seal it as it is now with --renew";

/// What to do where a directory holds no run.
pub(super) const NO_RUN: &str = "name the directory that the training saves to: the one that holds ckpt.json";

/// What to do where there is no state of a pipeline.
pub(super) const NO_PIPELINE: &str = "name the file that `ckpt stage run` was given with --pipeline";

/// What to do about a stage that waits for its review; the command follows.
pub(super) const REVIEW: &str = "look at what it left, edit it where that is needed, and go on with ";

/// What to do where no checkpoint of a run passes.
pub(super) const NONE_PASSES: &str = "`ckpt list --level load` says what is wrong with each";

/// What to do where a checkpoint can't be used, and nothing says that it is damaged.
pub(super) const STOPPED: &str = "make it usable here, or go on to an older one with --force";

/// What to do where a directory holds no extraction.
pub(super) const NO_EXTRACTION: &str =
    "name the directory that the workers save their shards to: the one that holds extraction.json";

/// What to do where ids have no row.
pub(super) const MISSING_ROWS: &str =
    "`ckpt features todo` lists all of them: extract those as well, or leave them out with --allow-missing";

/// What to do where something in an extraction's directory is whole, and doesn't belong there.
pub(super) const OTHER_SHARDS: &str =
    "name the extraction that the shards are of, or move what isn't its own elsewhere";

/// What to do where nobody knows whether checkpoints are good.
pub(super) const UNVERIFIED: &str = "`--level load` reads them through, and then it is known";

/// Returns what to do about a named directory that is itself the problem.
pub(super) fn for_directory(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Nothing => {
            "checkpoints are found by extension and by content; name a file to have it checked whatever it is"
        }
        _ => "check the path and its permissions",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes only: there is nothing to do about them.
    const NOTES: [Code; 13] = [
        Code::MarkerStale,
        Code::SealStale,
        Code::SealDamaged,
        Code::ProofUnknown,
        Code::Marked,
        Code::ContentsNotChecked,
        Code::HeaderTolerated,
        Code::NoChecksums,
        Code::GlobalAllowed,
        Code::DeviceTag,
        Code::IntactOnly,
        Code::Unlisted,
        Code::MetadataOlder,
    ];

    #[test]
    fn every_failure_has_a_hint_and_no_note_has() {
        for &code in Code::ALL {
            assert_ne!(for_code(code).is_some(), NOTES.contains(&code), "{code}");
        }
    }
}
