//! The proof in a header that ckpt wrote: the first entry of `__metadata__`, so that its place is known.

use std::io;
use std::ops::Range;

use super::header::{Header, LENGTH_BYTES, MAX_HEADER_BYTES};
use crate::digest::{Algorithm, Digest};
use crate::format::head::{Blank, read_digest};
use crate::format::proven::half_proof;
use crate::format::{Carried, Flaw, Proven, read_vec};
use crate::io::ReadAt;
use crate::record::{Proof, ProofError, quoted};

/// The key of the proof in `__metadata__`.
pub const PROOF_KEY: &str = "ckpt.proof";

/// What stands before the proof in each header that has one.
pub const PROOF_OPENING: &str = "{\"__metadata__\":{\"ckpt.proof\":\"";

/// Where the proof begins, in bytes from the file's start.
const PROOF_START: u64 = LENGTH_BYTES + PROOF_OPENING.len() as u64;

/// Reads the proof of a file whose header was read, and the digest of its head. None where the file carries no
/// proof, or one that isn't known here; [`find_proof`] tells the two apart.
///
/// Reads the bytes before the data, and not the data.
///
/// # Errors
///
/// There is half a proof, which is damage; or the file can't be read.
pub fn read_proof(source: &dyn ReadAt, header: &Header) -> Result<Option<Proven>, Flaw> {
    find_proof(source, header).map(Carried::proven)
}

/// As [`read_proof`], and tells a file without a proof from one whose proof isn't known here.
///
/// # Errors
///
/// See [`read_proof`].
pub fn find_proof(source: &dyn ReadAt, header: &Header) -> Result<Carried, Flaw> {
    let strays =
        |(key, value): &(&String, &String)| *key != PROOF_KEY && value.starts_with(Proof::MAGIC_STEM);
    if let Some((key, _)) = header.metadata.iter().find(strays) {
        return Err(half_proof(format!("a proof stands under the key {}", quoted(key))).into());
    }
    let Some(line) = header.metadata.get(PROOF_KEY) else { return Ok(Carried::Nothing) };
    let in_place = is_in_place(source, line)?;
    match Proof::parse(line) {
        Ok(proof) if in_place => prove(source, header, proof),
        Ok(_) => Err(half_proof("the proof isn't where it was put").into()),
        Err(error @ (ProofError::Version | ProofError::Algorithm)) => {
            if in_place && is_misspelled(source, header, line)? {
                return Err(half_proof("the proof's first words are damaged").at_offset(PROOF_START).into());
            }
            Ok(Carried::Unknown(error))
        }
        Err(error) => Err(half_proof(error).at_offset(PROOF_START).into()),
    }
}

/// Returns whether a file whose header can't be used carries a proof that says that the header is not the one
/// that was saved: a flipped bit can make a dtype of another that no framework has.
///
/// # Errors
///
/// The file can't be read.
pub fn is_head_damaged(source: &dyn ReadAt) -> io::Result<bool> {
    let start = read_vec(source, 0..source.len().min(LENGTH_BYTES))?;
    let length = start.try_into().map_or(0, u64::from_le_bytes);
    if length > MAX_HEADER_BYTES {
        return Ok(false);
    }
    let data_start = source.len().min(LENGTH_BYTES + length);
    let text = read_vec(source, LENGTH_BYTES.min(data_start)..data_start)?;
    let line = std::str::from_utf8(&text).ok().and_then(|text| text.strip_prefix(PROOF_OPENING));
    let Some((line, _)) = line.and_then(|line| line.split_once('"')) else { return Ok(false) };
    let Ok(proof) = Proof::parse(line) else { return Ok(false) };
    Ok(digest(source, data_start, &proof)? != proof.root)
}

/// Computes the digest of the head, which is all that lies before the data.
fn digest(source: &dyn ReadAt, data_start: u64, proof: &Proof) -> io::Result<Digest> {
    let algorithm = proof.root.algorithm();
    let digits = Proof::root_range(algorithm);
    let blank = Blank { at: PROOF_START + digits.start as u64, bytes: vec![b'0'; digits.len()] };
    read_digest(source, algorithm, &[0..data_start], &[blank])
}

/// Returns whether the line stands at the constant place, letter for letter. JSON has other spellings for the
/// same text, and none of them is written.
fn is_in_place(source: &dyn ReadAt, line: &str) -> Result<bool, Flaw> {
    let wanted = format!("{PROOF_OPENING}{line}\"");
    let end = source.len().min(LENGTH_BYTES + wanted.len() as u64);
    Ok(read_vec(source, LENGTH_BYTES.min(end)..end)? == wanted.as_bytes())
}

/// Holds a proof that stands in its place together with what it is to vouch for.
fn prove(source: &dyn ReadAt, header: &Header, proof: Proof) -> Result<Carried, Flaw> {
    let head = digest(source, header.data_start, &proof)?;
    Ok(Carried::Proof(Box::new(Proven { proof, head, data: data(header) })))
}

/// Returns where the data lies, in the order of the file.
fn data(header: &Header) -> Vec<Range<u64>> {
    let ranges = header.tensors.iter().map(|tensor| tensor.start..tensor.end);
    let mut data: Vec<_> = ranges.filter(|range| !range.is_empty()).collect();
    data.sort_unstable_by_key(|range| range.start);
    data
}

/// Returns whether a proof that names another version or algorithm is one of today's with a damaged word: a
/// flipped bit makes a `3` of a `1`. With the right words in their place, the root is then right.
fn is_misspelled(source: &dyn ReadAt, header: &Header, line: &str) -> Result<bool, Flaw> {
    for algorithm in Algorithm::ALL {
        let words = format!("{} {algorithm} ", Proof::MAGIC);
        let Some(rest) = line.get(words.len()..) else { continue };
        let Ok(proof) = Proof::parse(&format!("{words}{rest}")) else { continue };
        let zeros = "0".repeat(2 * algorithm.digest_bytes());
        let bytes = format!("{words}{zeros}").into_bytes();
        let blank = Blank { at: PROOF_START, bytes };
        if read_digest(source, algorithm, &[0..header.data_start], &[blank])? == proof.root {
            return Ok(true);
        }
    }
    Ok(false)
}
