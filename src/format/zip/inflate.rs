//! Reading deflated entries: never more than the directory promises, never more memory than asked for.

use flate2::{Decompress, FlushDecompress, Status};

use super::entry::Entry;
use crate::digest::Crc32;
use crate::format::Flaw;
use crate::io::ReadAt;
use crate::record::{Code, Finding, Level};

/// The size of the two buffers: all the memory that reading an entry takes, however large it is.
const BLOCK_BYTES: usize = 128 << 10;

/// Decompresses an entry and returns the checksum of what came out.
///
/// # Errors
///
/// The data is no DEFLATE stream, or doesn't come out at the size that the directory promises.
pub(crate) fn inflate_checksum(source: &dyn ReadAt, entry: &Entry) -> Result<Crc32, Flaw> {
    let mut checksum = Crc32::default();
    inflate(source, entry, &mut |bytes| checksum = checksum.then(Crc32::of(bytes)))?;
    Ok(checksum)
}

/// Decompresses an entry into memory. The caller has checked that its size is bearable.
pub(crate) fn inflate_to_memory(source: &dyn ReadAt, entry: &Entry) -> Result<Vec<u8>, Flaw> {
    let mut all = Vec::new();
    inflate(source, entry, &mut |bytes| all.extend_from_slice(bytes))?;
    Ok(all)
}

/// Hands the decompressed data to `sink`, block by block.
///
/// A hostile stream can't go on for long: it ends where the promised size is exceeded, and a decoder that
/// makes no progress at the end of its input is at its end. Bytes behind the stream are damage as well:
/// another reader might take them for something.
fn inflate(source: &dyn ReadAt, entry: &Entry, sink: &mut dyn FnMut(&[u8])) -> Result<(), Flaw> {
    let mut decoder = Decompress::new(false);
    let mut input = vec![0; BLOCK_BYTES];
    let mut output = vec![0; BLOCK_BYTES];
    let (mut filled, mut used) = (0_usize, 0_usize);
    let mut at = entry.data.start;
    loop {
        if used == filled && at < entry.data.end {
            filled = usize::try_from(entry.data.end - at).map_or(BLOCK_BYTES, |left| left.min(BLOCK_BYTES));
            source.read_exact_at(input.get_mut(..filled).unwrap_or_default(), at)?;
            used = 0;
            at += filled as u64;
        }
        let before = (decoder.total_in(), decoder.total_out());
        let rest = input.get(used..filled).unwrap_or_default();
        let status = decoder
            .decompress(rest, &mut output, FlushDecompress::None)
            .map_err(|_| broken(entry, "the data is no DEFLATE stream", at))?;
        used += difference(decoder.total_in(), before.0);
        sink(output.get(..difference(decoder.total_out(), before.1)).unwrap_or_default());
        if decoder.total_out() > entry.size {
            return Err(broken(entry, "the data decompresses to more than the directory promises", at).into());
        }
        if status == Status::StreamEnd {
            break;
        }
        if (decoder.total_in(), decoder.total_out()) == before && at >= entry.data.end {
            return Err(broken(entry, "the compressed data ends early", at).into());
        }
    }
    if decoder.total_out() != entry.size || decoder.total_in() != entry.stored {
        return Err(
            broken(entry, "the data decompresses to another size than the directory promises", at).into()
        );
    }
    Ok(())
}

/// The bytes between two positions of the decoder; at most a block.
fn difference(now: u64, before: u64) -> usize {
    usize::try_from(now - before).unwrap_or(usize::MAX)
}

/// The finding for data that doesn't come out as promised. `at` is how far the data was read.
fn broken(entry: &Entry, what: &str, at: u64) -> Finding {
    Finding::corrupted(Code::CompressionDamaged, Level::Load, what).at_record(&entry.name).at_offset(at)
}
