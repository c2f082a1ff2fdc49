//! The header: all of it but the digests is known before the data is written.

use std::ops::Range;

use serde::Serialize;

use super::super::header::{LENGTH_BYTES, MAX_HEADER_BYTES};
use super::super::structure::STRUCTURE_KEY;
use crate::Error;
use crate::digest::{Algorithm, Digest};
use crate::format::{EncodeOptions, WRITER, head_digest};
use crate::record::{BLOCK_BYTES, Position, Proof, TensorInfo};

/// The data begins at a multiple of this: what a device and a page of memory are aligned to.
const DATA_ALIGNMENT: u64 = 4096;

/// What the header begins with: behind it stands the proof.
const BEGINNING: &str = "{\"__metadata__\":{\"ckpt.proof\":\"";

/// A header whose length is settled.
#[derive(Debug)]
pub(super) struct HeadPlan {
    algorithm: Algorithm,
    position: Option<Position>,
    /// What stands behind the proof, without the spaces at the end.
    rest: String,
    /// The lengths of the tensors' data, in the order of the file.
    lengths: Vec<u64>,
    /// Where the data begins.
    pub(super) data_start: u64,
}

/// A tensor as the header has it.
#[derive(Serialize)]
struct Entry<'a> {
    dtype: &'a str,
    shape: &'a [u64],
    data_offsets: [u64; 2],
}

impl HeadPlan {
    /// Plans the header of tensors, which are in the order of the file.
    ///
    /// # Errors
    ///
    /// The header would be longer than readers accept, or the tensors longer than a file can be.
    pub(super) fn new(
        tensors: &[&TensorInfo],
        structure: Option<&str>,
        options: &EncodeOptions,
    ) -> Result<Self, Error> {
        let rest = rest(tensors, structure, options)?;
        let lengths = tensors.iter().map(|info| info.bytes).collect();
        let (algorithm, position) = (options.algorithm, options.position.clone());
        let mut plan = Self { algorithm, position, rest, lengths, data_start: 0 };
        plan.settle()?;
        Ok(plan)
    }

    /// Finds where the data begins. The proof's length depends on it, since windows cut the data: so the
    /// place moves on until the header fits before it.
    fn settle(&mut self) -> Result<(), Error> {
        let empty = self.proof(self.algorithm.digest(b""), Vec::new()).encode();
        // Without the count, which is `0`.
        let fixed = (BEGINNING.len() + self.rest.len() + empty.len() - 1) as u64;
        loop {
            let count = self.count_blocks();
            let digits = count.to_string().len() as u64;
            let blocks = if count == 0 { 0 } else { 1 + count * 2 * self.algorithm.digest_bytes() as u64 };
            let needed = (LENGTH_BYTES + fixed + digits + blocks).next_multiple_of(DATA_ALIGNMENT);
            if needed - LENGTH_BYTES > MAX_HEADER_BYTES {
                return Err(Error::usage(format!(
                    "a safetensors file can't hold this state: its header would have {} bytes, and readers \
                     stop at {MAX_HEADER_BYTES}; save it in several files, or in PyTorch's format",
                    needed - LENGTH_BYTES
                )));
            }
            if needed <= self.data_start {
                return Ok(());
            }
            self.data_start = needed;
        }
    }

    /// Returns where the tensors' data lies, in the order of the file.
    pub(super) fn data(&self) -> Vec<Range<u64>> {
        let mut end = self.data_start;
        let place = |&length: &u64| {
            let start = end;
            end += length;
            start..end
        };
        self.lengths.iter().map(place).collect()
    }

    /// Counts the blocks as [`block_ranges`](crate::record::block_ranges) cuts them.
    fn count_blocks(&self) -> u64 {
        let data = self.data();
        let blocks = data.iter().filter(|range| !range.is_empty());
        blocks.map(|range| (range.end - 1) / BLOCK_BYTES - range.start / BLOCK_BYTES + 1).sum()
    }

    fn proof(&self, root: Digest, blocks: Vec<Digest>) -> Proof {
        let (writer, position) = (WRITER.to_owned(), self.position.clone());
        Proof { root, block_bytes: BLOCK_BYTES, writer, position, blocks }
    }

    /// Makes the bytes before the data, and the proof that is among them.
    pub(super) fn finish(&self, blocks: Vec<Digest>) -> (Vec<u8>, Proof) {
        debug_assert_eq!(blocks.len() as u64, self.count_blocks(), "a digest for each block");
        let mut proof = self.proof(self.algorithm.digest(b""), blocks);
        // Any root will do for the first: its digits don't count.
        let bytes = self.bytes(&proof);
        let digits = Proof::root_range(self.algorithm);
        let line = usize::try_from(LENGTH_BYTES).unwrap_or_default() + BEGINNING.len();
        let blank = (line + digits.start..line + digits.end, b'0');
        proof.root = head_digest(self.algorithm, &bytes, &[blank]);
        (self.bytes(&proof), proof)
    }

    fn bytes(&self, proof: &Proof) -> Vec<u8> {
        let mut bytes = (self.data_start - LENGTH_BYTES).to_le_bytes().to_vec();
        for part in [BEGINNING, &proof.encode(), &self.rest] {
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes.resize(usize::try_from(self.data_start).unwrap_or(bytes.len()), b' ');
        bytes
    }
}

/// Makes what stands behind the proof.
fn rest(tensors: &[&TensorInfo], structure: Option<&str>, options: &EncodeOptions) -> Result<String, Error> {
    let format = options.metadata.get("format").map_or("pt", String::as_str);
    let mut rest = format!("\",\"format\":{}", json(format));
    if let Some(structure) = structure {
        push(&mut rest, STRUCTURE_KEY, structure);
    }
    for (key, value) in options.metadata.iter().filter(|(key, _)| *key != "format") {
        push(&mut rest, key, value);
    }
    rest.push('}');
    let mut end = 0_u64;
    for info in tensors {
        let start = end;
        let next = start.checked_add(info.bytes).filter(|end| i64::try_from(*end).is_ok());
        end = next.ok_or_else(|| Error::usage("a safetensors file can't hold 2^63 bytes"))?;
        let dtype = info.dtype.safetensors_name().unwrap_or("U8");
        let entry = Entry { dtype, shape: &info.shape, data_offsets: [start, end] };
        push(&mut rest, &info.name, &entry);
    }
    rest.push('}');
    Ok(rest)
}

/// Appends a field of an object.
fn push<T: Serialize + ?Sized>(text: &mut String, key: &str, value: &T) {
    text.push(',');
    text.push_str(&json(key));
    text.push(':');
    text.push_str(&json(value));
}

/// Texts and numbers can't fail to be JSON.
fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
