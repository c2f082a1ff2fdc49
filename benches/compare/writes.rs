//! The engine that writes, on 1 GiB of memory: to a disk, and to nowhere.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;

use ckpt::digest::Algorithm;
use ckpt::io::commit::{DiskFile, Stat};
use ckpt::io::write::{Piece, WriteOptions, write_pieces};
use rustix::fs::{FallocateFlags, OFlags, fallocate};

use super::Sums;

/// The state: as many tensors, of as many bytes each.
const TENSORS: u64 = 64;
const TENSOR_BYTES: usize = 16 << 20;
const STATE_BYTES: u64 = TENSORS * TENSOR_BYTES as u64;

/// Where the data begins: behind a head.
const DATA_START: u64 = 4096;

/// The length of the file.
pub(super) const FILE_BYTES: u64 = DATA_START + STATE_BYTES;

/// Writes the state to a new file at `path` with the engine, and makes it durable.
pub(super) fn write_pieces_to(path: &Path, threads: usize, sums: Sums) -> Result<(f64, u64), Box<dyn Error>> {
    let state = state();
    let start = Instant::now();
    let file = begin(path, FILE_BYTES)?;
    engine(&file, state, threads, sums)?;
    finish(file, path, FILE_BYTES)?;
    Ok((start.elapsed().as_secs_f64(), FILE_BYTES))
}

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

/// Creates a temporary file beside `path`, for direct writes, with room for `length` bytes.
pub(super) fn begin(path: &Path, length: u64) -> io::Result<Direct> {
    let flags = OFlags::DIRECT.bits().cast_signed();
    let temporary = path.with_extension("new");
    let file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(flags).open(temporary)?;
    fallocate(&file, FallocateFlags::empty(), 0, length.next_multiple_of(4096))?;
    Ok(Direct(file))
}

/// Cuts the file, makes it durable, and gives it its name.
pub(super) fn finish(file: Direct, path: &Path, length: u64) -> io::Result<()> {
    file.0.set_len(length)?;
    file.0.sync_data()?;
    drop(file);
    fs::rename(path.with_extension("new"), path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    rustix::fs::fsync(File::open(directory.unwrap_or(Path::new(".")))?.as_fd())?;
    Ok(())
}

/// A file for direct writes, and nothing more.
#[derive(Debug)]
pub(super) struct Direct(pub(super) File);

/// A file that forgets.
#[derive(Debug)]
struct Nowhere;

macro_rules! disk_file {
    ($name:ty, |$file:ident, $bytes:ident, $offset:ident| $write:expr) => {
        impl DiskFile for $name {
            fn allocate(&self, _: u64) -> io::Result<()> {
                Ok(())
            }
            fn write_all_at(&self, $bytes: &[u8], $offset: u64) -> io::Result<()> {
                let $file = self;
                $write
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
            fn sync(&self) -> io::Result<()> {
                Ok(())
            }
            fn close(self: Box<Self>) -> io::Result<()> {
                Ok(())
            }
        }
    };
}

disk_file!(Direct, |file, bytes, offset| file.0.write_all_at(bytes, offset));
disk_file!(Nowhere, |_file, _bytes, _offset| Ok(()));
