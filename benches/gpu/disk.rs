//! How fast the disk takes bytes at most: blocks written around the cache, several at once.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

/// The size of a write.
const BLOCK_BYTES: u64 = 4 << 20;
/// How many are in flight.
const WRITERS: usize = 4;
/// What addresses are aligned to.
const PAGE_BYTES: usize = 4096;

/// Returns how long so many bytes take until they are durable, and whether they went around the cache.
pub(crate) fn write(path: &Path, bytes: u64) -> io::Result<(Duration, bool)> {
    let open = |flags: i32| {
        OpenOptions::new().write(true).create(true).truncate(true).custom_flags(flags).open(path)
    };
    let direct = i32::try_from(OFlags::DIRECT.bits()).map_err(io::Error::other)?;
    let (file, is_direct) =
        open(direct).map(|file| (file, true)).or_else(|_| open(0).map(|file| (file, false)))?;
    let start = Instant::now();
    // Where the file system has it: blocks that have a place are written faster.
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).unwrap_or_default();
    let next = AtomicU64::new(0);
    let blocks = bytes.div_ceil(BLOCK_BYTES);
    let done = std::thread::scope(|scope| {
        let writers: Vec<_> =
            (0..WRITERS).map(|_| scope.spawn(|| write_blocks(&file, &next, blocks))).collect();
        let mut writers = writers.into_iter();
        writers.try_for_each(|writer| writer.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())))
    });
    done.and_then(|()| file.sync_all())?;
    let elapsed = start.elapsed();
    std::fs::remove_file(path)?;
    Ok((elapsed, is_direct))
}

fn write_blocks(file: &File, next: &AtomicU64, blocks: u64) -> io::Result<()> {
    let len = usize::try_from(BLOCK_BYTES).map_err(io::Error::other)?;
    let memory = vec![7_u8; len + PAGE_BYTES];
    let start = memory.as_ptr().align_offset(PAGE_BYTES).min(PAGE_BYTES);
    let block = memory.get(start..start + len).unwrap_or_default();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= blocks {
            return Ok(());
        }
        file.write_all_at(block, number * BLOCK_BYTES)?;
    }
}
