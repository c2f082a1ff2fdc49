//! What is left of an archive whose directory is gone, or disagrees with the rest.
//!
//! A write that was broken off leaves records one behind the other, and no directory. Their local headers lead
//! to them; ckpt's say size and CRC-32. PyTorch's say neither: the size of the pickle is where it ends, those of
//! the storages stand in the pickle, and the CRC-32 behind the data.

use std::collections::HashMap;
use std::ops::Range;

use super::checkpoint::{Checkpoint, StorageData};
use super::pickle::{self, FaultKind, Pickle};
use super::{ReadOptions, fault_finding};
use crate::digest::Crc32;
use crate::format::zip::{Stray, descriptor_at, header_at, next_header};
use crate::format::{Flaw, read_vec};
use crate::io::ReadAt;
use crate::record::{Code, Finding, Level};
use crate::tensor::Storage;

/// A pickle of unknown length is read with a window that grows from this …
const FIRST_WINDOW: u64 = 1 << 20;
/// … to this: a checkpoint's pickles have kilobytes, sometimes megabytes.
const LAST_WINDOW: u64 = 256 << 20;

/// What was found of an archive without its directory.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// The values. A storage whose record wasn't found whole has no data.
    pub(crate) checkpoint: Checkpoint,
    /// The CRC-32 that the file has for each storage's bytes.
    pub(crate) crc32: Vec<Option<u32>>,
    /// Why a storage has no data.
    pub(crate) lost: Vec<Option<String>>,
    /// Whether a checksum vouches for the values, names and shapes.
    pub(crate) is_vouched: bool,
}

/// A record of a storage.
struct Record {
    data: Range<u64>,
    crc32: Option<u32>,
    is_stored: bool,
}

/// Looks for the records of an archive from its start on.
///
/// # Errors
///
/// The pickle isn't there or can't be read: nothing then says what the bytes are.
pub(crate) fn recover(source: &dyn ReadAt, options: &ReadOptions) -> Result<Recovered, Flaw> {
    let mut search = Search {
        source,
        options,
        folder: String::new(),
        pickle: None,
        big_endian: false,
        sizes: HashMap::new(),
        records: HashMap::new(),
    };
    search.run()?;
    let Search { pickle, big_endian, mut records, .. } = search;
    let Some((pickle, is_vouched)) = pickle else {
        let message = "the record 'data.pkl' isn't there: nothing says what the bytes are";
        return Err(Finding::corrupted(Code::RecordMissing, Level::Container, message).into());
    };
    let (mut data, mut sums, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    for storage in pickle.tree.storages() {
        let (place, crc32, why) = resolve(storage, records.remove(&storage.key), source.len());
        data.push(place);
        sums.push(crc32);
        lost.push(why);
    }
    let checkpoint = Checkpoint::new(pickle, data, big_endian, is_vouched);
    Ok(Recovered { checkpoint, crc32: sums, lost, is_vouched })
}

/// Returns where a storage's data lies, what its CRC-32 is, and why it has none.
fn resolve(
    storage: &Storage,
    record: Option<Record>,
    end: u64,
) -> (StorageData, Option<u32>, Option<String>) {
    let lost = |why: String| (StorageData::Missing, None, Some(why));
    if storage.device == "meta" {
        return (StorageData::Missing, None, None);
    }
    let Some(Record { data, crc32, is_stored }) = record else {
        return lost("its record wasn't found in the file".to_owned());
    };
    if !is_stored {
        return lost("its record is compressed, and the directory that says how is gone".to_owned());
    }
    if data.end - data.start != storage.bytes {
        return lost(format!(
            "its record has {} bytes, and {} were saved",
            data.end - data.start,
            storage.bytes
        ));
    }
    if data.end > end {
        return lost(format!("the file ends {} bytes before its data does", data.end - end));
    }
    (StorageData::At(data), crc32, None)
}

/// The way through the file.
struct Search<'s> {
    source: &'s dyn ReadAt,
    options: &'s ReadOptions,
    /// The folder of all records, with its slash.
    folder: String,
    /// The pickle, and whether a checksum vouches for it.
    pickle: Option<(Pickle, bool)>,
    big_endian: bool,
    /// The sizes of the storages, by their keys.
    sizes: HashMap<String, u64>,
    /// The records of storages, by their keys.
    records: HashMap<String, Record>,
}

impl Search<'_> {
    /// Goes through the file. Each byte is searched at most once, however many headers seem to be there.
    fn run(&mut self) -> Result<(), Flaw> {
        let mut next = next_header(self.source, 0, "")?;
        while let Some(at) = next {
            let Some(header) = header_at(self.source, at)? else { break };
            if self.folder.is_empty() {
                let Some((folder, _)) = header.name.split_once('/') else { break };
                self.folder = format!("{folder}/");
            }
            let end = self.take(&header)?;
            // What lies between is a descriptor, or damage.
            next = next_header(self.source, end, &self.folder)?;
        }
        Ok(())
    }

    /// Takes up a record; returns where it ends, as far as that is known.
    fn take(&mut self, header: &Stray) -> Result<u64, Flaw> {
        let name = header.name.strip_prefix(&self.folder).unwrap_or_default().to_owned();
        if name == "data.pkl" && self.pickle.is_none() {
            return self.take_pickle(header);
        }
        if name == "byteorder" {
            let end = self.source.len().min(header.data + 3);
            self.big_endian = read_vec(self.source, header.data.min(end)..end)? == b"big";
        }
        let key = name.strip_prefix("data/");
        let storage = key.and_then(|key| Some((key, *self.sizes.get(key)?)));
        let size = header.size.or(storage.map(|(_, bytes)| bytes));
        let Some(end) = size.and_then(|size| header.data.checked_add(size)) else { return Ok(header.data) };
        if let Some((key, _)) = storage {
            let crc32 = self.checksum(header, end)?;
            let record = Record { data: header.data..end, crc32, is_stored: header.is_stored };
            self.records.entry(key.to_owned()).or_insert(record);
        }
        Ok(end)
    }

    /// Reads the pickle, whose end it says itself.
    fn take_pickle(&mut self, header: &Stray) -> Result<u64, Flaw> {
        let rest = self.source.len() - header.data;
        let mut window = header.size.unwrap_or(FIRST_WINDOW).min(LAST_WINDOW);
        let (pickle, bytes) = loop {
            let length = window.min(rest);
            let bytes = read_vec(self.source, header.data..header.data + length)?;
            match pickle::read(&bytes, self.options) {
                Err(fault) if fault.kind == FaultKind::Truncated && length < rest.min(LAST_WINDOW) => {
                    window = window.max(FIRST_WINDOW).saturating_mul(4);
                }
                read => break (read.map_err(|fault| fault_finding(&fault, false))?, bytes),
            }
        };
        let end = header.data + pickle.bytes;
        let expected = self.checksum(header, end)?;
        let own = bytes.get(..usize::try_from(pickle.bytes).unwrap_or(usize::MAX)).unwrap_or_default();
        let is_vouched = expected == Some(Crc32::of(own).value());
        let storages = pickle.tree.storages().iter();
        self.sizes = storages.map(|storage| (storage.key.clone(), storage.bytes)).collect();
        self.pickle = Some((pickle, is_vouched));
        Ok(end)
    }

    /// Returns a record's CRC-32, which stands before the data or behind it.
    fn checksum(&self, header: &Stray, end: u64) -> Result<Option<u32>, Flaw> {
        match header.crc32 {
            Some(crc32) => Ok(Some(crc32)),
            None => Ok(descriptor_at(self.source, end, end - header.data)?),
        }
    }
}
