use super::encoding::{Slot, TorchEncoding};
use crate::Error;
use crate::digest::{Algorithm, Crc32, Digest};
use crate::format::zip::MAX_DIRECTORY_BYTES;
use crate::format::zip::write::{Record, SMALL_BYTES, directory};
use crate::format::{EncodeOptions, WRITER};
use crate::record::{BLOCK_BYTES, Proof, block_ranges};
use crate::tensor::{Data, Source, State, StorageId};

/// The folder of all records: a constant, so that the bytes don't depend on the file's name.
const FOLDER: &str = "archive/";
/// The version of the container, as PyTorch writes it since 1.6.
const VERSION: &[u8] = b"3\n";
/// The record of the proof.
const PROOF: &str = "ckpt/proof";

/// Finds the place of every record.
pub(super) fn plan<'s>(
    state: &'s State<'_>,
    options: &EncodeOptions,
    pickle: &[u8],
    storages: &[StorageId],
) -> Result<TorchEncoding<'s>, Error> {
    let mut plan = Plan::default();
    plan.add_bytes("data.pkl", pickle)?;
    plan.add_bytes("byteorder", b"little")?;
    plan.add_bytes("version", VERSION)?;
    for (key, id) in storages.iter().enumerate() {
        plan.add_storage(key, *id, state)?;
    }
    if !options.metadata.is_empty() {
        let metadata = serde_json::to_vec(&options.metadata)
            .map_err(|error| Error::usage(format!("the metadata can't be written as JSON: {error}")))?;
        plan.add_bytes("ckpt/metadata", &metadata)?;
    }
    plan.finish(options)
}

/// Records with their places, in the making.
#[derive(Debug, Default)]
struct Plan<'s> {
    records: Vec<(Record, Option<u32>)>,
    slots: Vec<Slot<'s>>,
    /// Which storages lie where.
    places: Vec<(StorageId, u64)>,
    /// Where the data of the storages lies.
    data: Vec<std::ops::Range<u64>>,
    /// Where the last record ends.
    end: u64,
}

impl<'s> Plan<'s> {
    /// Gives a record its place.
    fn place(&mut self, name: &str, size: u64, crc32: Option<u32>) -> Result<usize, Error> {
        let record = Record::place(format!("{FOLDER}{name}"), size, self.end)
            .ok_or_else(|| Error::usage("the state is too large for any file"))?;
        self.end = record.data().end;
        self.records.push((record, crc32));
        Ok(self.records.len() - 1)
    }

    /// Adds bytes of the head.
    fn add_head(&mut self, offset: u64, bytes: &[u8]) {
        if let Some(Slot::Head { offset: start, bytes: before }) = self.slots.last_mut()
            && *start + before.len() as u64 == offset
        {
            before.extend_from_slice(bytes);
        } else {
            self.slots.push(Slot::Head { offset, bytes: bytes.to_vec() });
        }
    }

    /// Adds a local header, at once where the checksum is known, and else the gap for it.
    fn add_header(&mut self, index: usize) {
        let header = match self.records.get(index) {
            Some((record, Some(crc32))) => Some((record.header(), record.local_header(*crc32))),
            _ => None,
        };
        match header {
            Some((offset, bytes)) => self.add_head(offset, &bytes),
            None => self.slots.push(Slot::Header { record: index }),
        }
    }

    /// Adds a record whose bytes are known.
    fn add_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let index = self.place(name, bytes.len() as u64, Some(Crc32::of(bytes).value()))?;
        self.add_header(index);
        let start = self.end - bytes.len() as u64;
        self.add_head(start, bytes);
        Ok(())
    }

    /// Adds a storage. A small one is read for its checksum, so that its header can go out with it.
    fn add_storage(&mut self, key: usize, id: StorageId, state: &'s State<'_>) -> Result<(), Error> {
        let data: &'s Data<'s> = state
            .data(id)
            .ok_or_else(|| Error::usage(format!("the bytes of storage {key} aren't in the state")))?;
        let says = state.tree().storage(id).map_or(0, |storage| storage.bytes);
        if data.len() != says {
            let has = data.len();
            return Err(Error::usage(format!("storage {key} has {has} bytes, and the state says {says}")));
        }
        let crc32 = if data.len() <= SMALL_BYTES { Some(checksum(data)?) } else { None };
        let index = self.place(&format!("data/{key}"), data.len(), crc32)?;
        self.add_header(index);
        let range = self.end - data.len()..self.end;
        if !range.is_empty() {
            self.places.push((id, range.start));
            self.slots.push(Slot::Data { record: index, offset: range.start, source: data });
        }
        self.data.push(range);
        Ok(())
    }

    /// Adds the record of the proof and the directory.
    fn finish(mut self, options: &EncodeOptions) -> Result<TorchEncoding<'s>, Error> {
        let blocks = block_ranges(&self.data, BLOCK_BYTES).len();
        let blank = blank(options.algorithm);
        let proof = Proof {
            root: blank,
            block_bytes: BLOCK_BYTES,
            writer: WRITER.to_owned(),
            position: options.position.clone(),
            blocks: vec![blank; blocks],
        };
        self.place(PROOF, proof.encode().len() as u64, None)?;
        let end = directory(self.records.iter().map(|(record, _)| (record, 0)), self.end);
        let directory_bytes = end.len() as u64;
        if directory_bytes > MAX_DIRECTORY_BYTES {
            let count = self.data.len();
            return Err(Error::usage(format!("{count} storages are more than an archive should have")));
        }
        let len = self.end.checked_add(directory_bytes);
        let len = len.ok_or_else(|| Error::usage("the state is too large for any file"))?;
        Ok(TorchEncoding { records: self.records, slots: self.slots, places: self.places, proof, len })
    }
}

/// Returns the CRC-32 of a small source.
fn checksum(data: &Data<'_>) -> Result<u32, Error> {
    if let Some(bytes) = data.bytes()? {
        return Ok(Crc32::of(bytes).value());
    }
    let mut bytes = vec![0; usize::try_from(data.len()).unwrap_or_default()];
    data.read_at(&mut bytes, 0)?;
    Ok(Crc32::of(&bytes).value())
}

/// Returns a digest whose digits are all zeros.
fn blank(algorithm: Algorithm) -> Digest {
    let digits = "0".repeat(2 * algorithm.digest_bytes());
    Digest::from_hex(algorithm, &digits).unwrap_or_else(|| algorithm.digest(&[]))
}
