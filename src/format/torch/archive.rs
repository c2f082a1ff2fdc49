//! The ZIP archive of PyTorch 1.6 and later.
//!
//! Source: `torch/serialization.py` and `caffe2/serialize/inline_container.cc` of PyTorch 2.13. All
//! records lie in one folder:
//!
//! | record | content |
//! |---|---|
//! | `data.pkl` | the values; tensors name storages by key |
//! | `data/KEY` | the bytes of a storage |
//! | `version` | the container's version in decimal, 1 to 10 |
//! | `byteorder` | `little` or `big`; little where missing |
//! | `.format_version`, `.storage_alignment`, `.data/serialization_id` | for PyTorch's own use |
//! | `constants.pkl`, `code/…` | TorchScript: this is a program, not a checkpoint |
//! | `archive_format`, … | `torch.export` |

use std::collections::{BTreeMap, HashMap};

use super::checkpoint::{Checkpoint, StorageData};
use super::fault_finding;
use super::{ReadOptions, pickle};
use crate::digest::Crc32;
use crate::format::zip::{Archive, Entry, Method, inflate_to_memory};
use crate::format::{Flaw, read_vec};
use crate::io::ReadAt;
use crate::record::{Code, Finding, FormatKind, Level};
use crate::tensor::Storage;

/// The newest version of the container that PyTorch 2.13 reads.
const NEWEST_VERSION: u64 = 10;
/// Records other than the pickle and the storages are some bytes long; longer ones aren't read.
const MAX_SMALL_RECORD: u64 = 4096;
/// A deflated pickle may always come out at this size …
const FREE_INFLATION: u64 = 1 << 20;
/// … and beyond that at this multiple of its size in the file: text compresses to a twentieth or so.
const MAX_INFLATION: u64 = 64;
/// The longest metadata that is read, in bytes: as much as the header of a safetensors file may have.
const MAX_METADATA_BYTES: u64 = 100_000_000;
/// The name of the caller's metadata within the folder, in archives that ckpt wrote.
const METADATA_RECORD: &str = "ckpt/metadata";

/// An archive that PyTorch made, or something like it.
#[derive(Debug)]
pub struct TorchArchive {
    /// What kind of archive it is.
    pub kind: FormatKind,
    /// The entries.
    pub archive: Archive,
    /// The folder of all records, with its slash.
    folder: String,
    /// The small records by name: `version`, `byteorder`, …
    pub metadata: BTreeMap<String, String>,
}

impl TorchArchive {
    /// Opens an archive, tells what kind it is, and checks that a checkpoint has its records.
    ///
    /// Costs the directory and some small reads.
    ///
    /// # Errors
    ///
    /// The archive is damaged or ambiguous (see [`Archive::open`]), or a required record is missing.
    pub fn open(source: &dyn ReadAt) -> Result<Self, Flaw> {
        let archive = Archive::open(source)?;
        let folder = top_folder(&archive);
        let kind = classify(&archive, &folder);
        let mut this = Self { kind, archive, folder, metadata: BTreeMap::new() };
        if kind == FormatKind::TorchZip {
            this.check_folder()?;
            this.check_names()?;
            this.read_metadata(source)?;
            this.check_version()?;
            this.check_byte_order()?;
            this.required("data.pkl")?;
        }
        Ok(this)
    }

    /// Finds a record by its name within the folder.
    pub(super) fn record(&self, name: &str) -> Option<&Entry> {
        self.archive.entries.iter().find(|entry| entry.name.strip_prefix(self.folder.as_str()) == Some(name))
    }

    /// Returns whether the entry holds a storage.
    pub(super) fn is_data(&self, entry: &Entry) -> bool {
        entry.name.strip_prefix(self.folder.as_str()).is_some_and(|name| name.starts_with("data/"))
    }

    /// Finds a record that every checkpoint has. The writer adds its records one by one and the directory
    /// last, so one that is missing in a sound archive was lost when the archive was made or rewritten.
    fn required(&self, name: &str) -> Result<&Entry, Finding> {
        self.record(name).ok_or_else(|| {
            let message = format!("the record '{name}' is missing: saving was not finished");
            Finding::corrupted(Code::RecordMissing, Level::Container, message)
                .at_record(format!("{}{name}", self.folder))
        })
    }

    /// Returns whether ckpt wrote the archive: it puts records of its own into the folder `ckpt/`.
    pub fn is_tagged(&self) -> bool {
        let prefix = format!("{}ckpt/", self.folder);
        self.archive.entries.iter().any(|entry| entry.name.starts_with(&prefix))
    }

    /// Reads the metadata that whoever saved with ckpt gave it; what another program put there is none.
    ///
    /// # Errors
    ///
    /// It can't be read, or isn't what its checksum says.
    pub fn callers_metadata(&self, source: &dyn ReadAt) -> Result<BTreeMap<String, String>, Flaw> {
        let is_ours = |entry: &&Entry| {
            entry.method == Method::Stored && entry.size <= MAX_METADATA_BYTES && entry.crc32.is_some()
        };
        let Some(entry) = self.record(METADATA_RECORD).filter(is_ours) else { return Ok(BTreeMap::new()) };
        let bytes = read_vec(source, entry.data.clone())?;
        let found = Crc32::of(&bytes).value();
        match entry.crc32 {
            Some(expected) if expected != found => {
                Err(checksum_mismatch(&entry.name, expected, found).into())
            }
            _ => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
        }
    }

    /// Two folders in one archive: PyTorch takes that of the first record, others look for `data.pkl`.
    ///
    /// And a folder that isn't one: a program that unpacks the archive would write elsewhere.
    fn check_folder(&self) -> Result<(), Finding> {
        if matches!(self.folder.as_str(), "/" | "./" | "../") {
            let message = "the records lie in no folder of their own: unpacking would write elsewhere";
            return Err(Finding::incompatible(Code::Ambiguous, Level::Container, message));
        }
        let stray = self.archive.entries.iter().find(|entry| !entry.name.starts_with(&self.folder));
        match stray {
            None => Ok(()),
            Some(entry) => {
                let message = format!(
                    "the record lies outside of the folder '{}' of the others: readers differ in which folder they take",
                    self.folder.escape_debug()
                );
                Err(Finding::incompatible(Code::Ambiguous, Level::Container, message).at_record(&entry.name))
            }
        }
    }

    /// A zero byte ends a name for some readers: Python's `zipfile` takes `data/0\0x` for `data/0`.
    fn check_names(&self) -> Result<(), Finding> {
        let Some(entry) = self.archive.entries.iter().find(|entry| entry.name.contains('\0')) else {
            return Ok(());
        };
        let message = "the name has a zero byte: some readers take it for the name's end";
        Err(Finding::incompatible(Code::Ambiguous, Level::Container, message).at_record(&entry.name))
    }

    /// Reads the small records, as far as they are there and short enough to be what they should be.
    fn read_metadata(&mut self, source: &dyn ReadAt) -> Result<(), Flaw> {
        for name in
            ["version", "byteorder", ".format_version", ".storage_alignment", ".data/serialization_id"]
        {
            let Some(entry) = self.record(name).filter(|entry| entry.size <= MAX_SMALL_RECORD) else {
                continue;
            };
            let bytes = read_entry(source, entry)?;
            check_bytes(entry, &bytes).map_err(|finding| Finding { level: Level::Container, ..finding })?;
            let text = String::from_utf8_lossy(&bytes);
            // PyTorch compares the byte order to the letter.
            let text = if name == "byteorder" { &*text } else { text.trim_ascii() };
            self.metadata.insert(name.to_owned(), text.to_owned());
        }
        Ok(())
    }

    /// PyTorch refuses what is newer than it knows, so a newer version is no damage. A text that is no number
    /// is damage, unless a checksum says that it was written that way.
    fn check_version(&self) -> Result<(), Finding> {
        let entry = self.required("version")?;
        let text = self.metadata.get("version").map_or("", String::as_str);
        match text.parse::<u64>() {
            Ok(1..=NEWEST_VERSION) => Ok(()),
            Ok(version @ 1..) => {
                let message = format!(
                    "the container's version is {version}; versions 1 to {NEWEST_VERSION} are known: read it with a newer PyTorch"
                );
                Err(Finding::incompatible(Code::ContainerTooNew, Level::Container, message)
                    .at_record(&entry.name))
            }
            _ => {
                let message = format!("the container's version is none: '{}'", text.escape_debug());
                Err(unwritten(entry, Code::ContainerVersion, message))
            }
        }
    }

    /// Only two values are ever written; a reader that took a third for one of them would read numbers wrong.
    fn check_byte_order(&self) -> Result<(), Finding> {
        let Some(entry) = self.record("byteorder") else { return Ok(()) };
        match self.metadata.get("byteorder").map_or("", String::as_str) {
            "little" | "big" => Ok(()),
            other => {
                let message = format!("the byte order is '{}': neither little nor big", other.escape_debug());
                Err(unwritten(entry, Code::ByteOrderUnknown, message))
            }
        }
    }

    /// Reads the values. Executes nothing, and reads no storage.
    ///
    /// Findings about single storages come in the second part: a checkpoint with a damaged storage
    /// still has its other tensors.
    ///
    /// # Errors
    ///
    /// The pickle hasn't its checksum, or can't be read.
    pub fn read(
        &self,
        source: &dyn ReadAt,
        options: &ReadOptions,
    ) -> Result<(Checkpoint, Vec<Finding>), Flaw> {
        let entry = self.required("data.pkl")?;
        let bytes = read_pickle(source, entry)?;
        check_bytes(entry, &bytes)?;
        let pickle = pickle::read(&bytes, options)
            .map_err(|fault| fault_finding(&fault, entry.crc32.is_some()).at_record(&entry.name))?;
        let (data, findings) = self.resolve(pickle.tree.storages());
        let big_endian = self.metadata.get("byteorder").is_some_and(|order| order == "big");
        Ok((Checkpoint::new(pickle, data, big_endian, entry.crc32.is_some()), findings))
    }

    /// Finds the record of each storage; it must have exactly the size that the pickle gives.
    fn resolve(&self, storages: &[Storage]) -> (Vec<StorageData>, Vec<Finding>) {
        let records: HashMap<&str, &Entry> =
            self.archive.entries.iter().map(|entry| (entry.name.as_str(), entry)).collect();
        let mut findings = Vec::new();
        let data =
            storages.iter().map(|storage| self.resolve_one(storage, &records, &mut findings)).collect();
        (data, findings)
    }

    /// Finds where one storage's data lies. A finding goes into `findings`, and the storage is then taken for
    /// missing: reading a tensor from it is an error, and the others can still be read.
    fn resolve_one(
        &self,
        storage: &Storage,
        records: &HashMap<&str, &Entry>,
        findings: &mut Vec<Finding>,
    ) -> StorageData {
        if let Some((whole, start)) = storage.part_of {
            let message =
                "a tensor lies in a view of a storage, as only files of before PyTorch 1.6 have them";
            findings.push(Finding::incompatible(Code::PickleInvalid, Level::Load, message));
            return StorageData::PartOf(whole, start);
        }
        let name = format!("{}data/{}", self.folder, storage.key);
        let Some(&entry) = records.get(name.as_str()) else {
            // A meta tensor has no data by nature.
            if storage.device != "meta" {
                let message = format!("the record of storage '{}' is missing", storage.key.escape_debug());
                findings.push(Finding::corrupted(Code::RecordMissing, Level::Load, message).at_record(name));
            }
            return StorageData::Missing;
        };
        if entry.size != storage.bytes {
            let message = format!(
                "the record has {} bytes, but its tensors were saved with {}",
                entry.size, storage.bytes
            );
            findings.push(
                Finding::corrupted(Code::StorageSize, Level::Load, message)
                    .at_record(name)
                    .at_offset(entry.data.start),
            );
            return StorageData::Missing;
        }
        match entry.method {
            Method::Stored => StorageData::At(entry.data.clone()),
            Method::Deflated => StorageData::Deflated(Box::new(entry.clone())),
        }
    }
}

/// Holds a record that was read against its checksum, where it has one.
fn check_bytes(entry: &Entry, bytes: &[u8]) -> Result<(), Finding> {
    let checksum = Crc32::of(bytes).value();
    match entry.crc32 {
        Some(expected) if expected != checksum => {
            Err(checksum_mismatch(&entry.name, expected, checksum).at_offset(entry.data.start))
        }
        _ => Ok(()),
    }
}

/// The finding for a record whose content no writer writes. Where a checksum vouches for it, it was
/// written all the same; without one, damage is the likelier cause.
fn unwritten(entry: &Entry, code: Code, message: String) -> Finding {
    let finding = if entry.crc32.is_some() { Finding::incompatible } else { Finding::corrupted };
    finding(code, Level::Container, message).at_record(&entry.name)
}

/// The finding for bytes that haven't their checksum.
pub(crate) fn checksum_mismatch(record: &str, expected: u32, found: u32) -> Finding {
    let message = format!("the bytes have the checksum {found:08x}, and {expected:08x} was stored for them");
    Finding::corrupted(Code::ChecksumMismatch, Level::Load, message).at_record(record)
}

/// Returns whether the first record is the one that `torch.save` writes first: a hint at what an archive
/// was whose directory is gone.
pub(crate) fn begins_like_torch(source: &dyn ReadAt) -> bool {
    let head = read_vec(source, 0..source.len().min(512)).unwrap_or_default();
    let name_bytes = head.get(26..28).and_then(|bytes| bytes.try_into().ok()).map_or(0, u16::from_le_bytes);
    let name = head.get(30..30 + usize::from(name_bytes)).unwrap_or_default();
    let firsts: [&[u8]; 3] = [b"/data.pkl", b"/version", b"/byteorder"];
    firsts.iter().any(|first| name.ends_with(first))
}

/// PyTorch takes the folder of the first record for that of all.
fn top_folder(archive: &Archive) -> String {
    let first = archive.entries.first().map_or("", |entry| entry.name.as_str());
    first.split_once('/').map_or_else(String::new, |(folder, _)| format!("{folder}/"))
}

/// Tells the kind by the records that only it has. TorchScript and `torch.export` archives have most of a
/// checkpoint's records as well, so they are asked for first.
fn classify(archive: &Archive, folder: &str) -> FormatKind {
    let within = |name: &str| {
        let full = format!("{folder}{name}");
        archive.entries.iter().any(|entry| entry.name == full)
    };
    // PyTorch's records always lie in a folder: without one it is somebody else's archive.
    let torch = ["data.pkl", "version", "byteorder"];
    let nested = |suffix: &str| archive.entries.iter().any(|entry| entry.name.ends_with(suffix));
    if within("archive_format") || within("archive_version") {
        FormatKind::TorchExport
    } else if within("constants.pkl") {
        FormatKind::TorchScript
    } else if !folder.is_empty() && (torch.into_iter().any(within) || nested("/data.pkl")) {
        FormatKind::TorchZip
    } else if !archive.entries.is_empty() && archive.entries.iter().all(is_array) {
        FormatKind::Npz
    } else {
        FormatKind::Zip
    }
}

/// `numpy.savez` gives each array a lower-case name of its own.
fn is_array(entry: &Entry) -> bool {
    entry.name.strip_suffix(".npy").is_some()
}

/// Reads the pickle whole. A stored one is as large as the file says; a deflated one may claim any size, so
/// its claim is held to a multiple of what is there.
fn read_pickle(source: &dyn ReadAt, entry: &Entry) -> Result<Vec<u8>, Flaw> {
    let limit = entry.stored.saturating_mul(MAX_INFLATION).saturating_add(FREE_INFLATION);
    if entry.method == Method::Deflated && entry.size > limit {
        let message = format!("the pickle would decompress from {} to {} bytes", entry.stored, entry.size);
        return Err(Finding::incompatible(Code::TooComplex, Level::Load, message)
            .at_record(&entry.name)
            .into());
    }
    read_entry(source, entry)
}

/// Reads a record whole. The caller has looked at its size.
fn read_entry(source: &dyn ReadAt, entry: &Entry) -> Result<Vec<u8>, Flaw> {
    match entry.method {
        Method::Stored => Ok(read_vec(source, entry.data.clone())?),
        Method::Deflated => inflate_to_memory(source, entry),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;

    #[test]
    fn a_pickle_outside_of_a_folder_is_no_checkpoint() {
        for (name, kind) in [("data.pkl", FormatKind::Zip), ("a.npy", FormatKind::Npz)] {
            let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
            writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(b"N.").unwrap();
            let bytes = writer.finish().unwrap().into_inner();
            assert_eq!(TorchArchive::open(&bytes).unwrap().kind, kind);
        }
    }
}
