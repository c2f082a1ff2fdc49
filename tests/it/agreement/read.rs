//! Reading a file as its content asks for.

use ckpt::format::safetensors::{self, Header};
use ckpt::format::torch::archive::TorchArchive;
use ckpt::format::torch::{Checkpoint, ReadOptions, legacy};
use ckpt::format::{Flaw, detect};
use ckpt::io::ReadAt;
use ckpt::record::FormatKind;

use crate::dump::{self, Leaf};

/// What a file holds.
pub(crate) enum Content {
    Safetensors(Header),
    Torch(Checkpoint),
    /// No checkpoint.
    Foreign,
}

/// Reads a file. Findings about single storages are a flaw as well.
pub(crate) fn read(source: &dyn ReadAt) -> Result<Content, Flaw> {
    let options = ReadOptions::default();
    match detect(source)? {
        FormatKind::Safetensors => Ok(Content::Safetensors(safetensors::read_header(source)?)),
        FormatKind::TorchLegacy => Ok(Content::Torch(legacy::read(source, &options)?)),
        FormatKind::Zip => {
            let archive = TorchArchive::open(source)?;
            if archive.kind != FormatKind::TorchZip {
                return Ok(Content::Foreign);
            }
            let (checkpoint, findings) = archive.read(source, &options)?;
            match findings.into_iter().next() {
                Some(finding) => Err(finding.into()),
                None => Ok(Content::Torch(checkpoint)),
            }
        }
        _ => Ok(Content::Foreign),
    }
}

impl Content {
    /// Dumps the values; `None` for another format.
    pub(crate) fn dump(&self, source: &dyn ReadAt) -> Option<Vec<Leaf>> {
        match self {
            Self::Safetensors(header) => Some(dump::safetensors(source, header)),
            Self::Torch(checkpoint) => Some(dump::torch(source, checkpoint)),
            Self::Foreign => None,
        }
    }
}

/// Reads a file and holds its values against the oracle's.
pub(crate) fn compare(source: &dyn ReadAt, theirs: &[Leaf]) -> Result<(), String> {
    let content = read(source).map_err(|flaw| format!("refused: {flaw}"))?;
    let ours = content.dump(source).ok_or("taken for another format")?;
    dump::differences(&ours, theirs).map_or(Ok(()), Err)
}
