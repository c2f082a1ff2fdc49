//! The engine that writes, on 1 GiB of memory, without a disk: what copy and digests cost.

use std::error::Error;
use std::io;
use std::sync::OnceLock;
use std::time::Instant;

use ckpt::digest::Algorithm;
use ckpt::io::commit::{DiskFile, Stat};
use ckpt::io::write::{Piece, WriteOptions, write_pieces};

use super::Sums;

/// The state: as many tensors, of as many bytes each.
const TENSORS: u64 = 64;
const TENSOR_BYTES: usize = 16 << 20;
const STATE_BYTES: u64 = TENSORS * TENSOR_BYTES as u64;

/// Where the data begins: behind a head.
const DATA_START: u64 = 4096;

/// Runs the engine without a disk: what copy and digests cost.
pub(super) fn write_nowhere(threads: usize, sums: Sums) -> Result<(f64, u64), Box<dyn Error>> {
    let state = state();
    let start = Instant::now();
    engine(&Nowhere, state, threads, sums)?;
    Ok((start.elapsed().as_secs_f64(), STATE_BYTES))
}

fn engine(file: &dyn DiskFile, state: &[Vec<u8>], threads: usize, sums: Sums) -> Result<(), Box<dyn Error>> {
    let mut options = WriteOptions::default();
    options.threads = threads;
    options.crc32 = matches!(sums, Sums::Crc64Crc32);
    if let Sums::Blake3 = sums {
        options.algorithm = Algorithm::Blake3;
    }
    let is_data = !matches!(sums, Sums::None);
    let place =
        |(at, tensor)| Piece { offset: DATA_START + at * TENSOR_BYTES as u64, source: tensor, is_data };
    let pieces: Vec<_> = (0..).zip(state).map(|(at, tensor)| place((at, tensor))).collect();
    write_pieces(file, &pieces, &options)?;
    Ok(())
}

/// Returns the state, in ordinary memory that was touched before: random numbers from 0 to 1, as float32.
fn state() -> &'static [Vec<u8>] {
    static STATE: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    STATE.get_or_init(|| (1..=TENSORS).map(tensor).collect())
}

fn tensor(seed: u64) -> Vec<u8> {
    let mut random = seed;
    let mut bytes = Vec::with_capacity(TENSOR_BYTES);
    while bytes.len() < TENSOR_BYTES {
        random = random.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(1);
        let mantissa = u32::try_from(random >> 41).unwrap_or(0);
        bytes.extend((f32::from_bits(0x3F80_0000 | mantissa) - 1.0).to_le_bytes());
    }
    bytes
}

/// A file that forgets.
#[derive(Debug)]
struct Nowhere;

impl DiskFile for Nowhere {
    fn allocate(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }

    fn alignment(&self) -> Option<usize> {
        Some(4096)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn set_permissions(&self, _: &Stat) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}
