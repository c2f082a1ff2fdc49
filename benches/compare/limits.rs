//! What the machine can do at most, by the same system calls that `ckpt` uses and nothing else.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use ckpt::digest::Crc32;
use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::mm::{Advice, madvise};

const BLOCK: usize = 4 << 20;
const CACHED_READ: usize = 1 << 20;
const HUGE_PAGE: usize = 2 << 20;
const BUFFERS: usize = 16;

/// A thread's part: the offset of a block, its length, and a buffer.
type Work<'a> = &'a (dyn Fn(u64, usize, &mut [u8]) -> io::Result<()> + Sync);

/// Copies the page cache, [`CACHED_READ`] bytes at a time.
pub(super) fn read_cached(path: &Path, threads: usize) -> io::Result<(f64, u64)> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let seconds = share(threads, len, Turns::Last, &|offset, wanted, buffer| {
        let mut at = offset;
        let end = offset + wanted as u64;
        while at < end {
            let most = usize::try_from(end - at).unwrap_or(BLOCK).min(CACHED_READ);
            file.read_exact_at(buffer.split_at_mut(most).0, at)?;
            at += most as u64;
        }
        Ok(())
    })?;
    Ok((seconds, len))
}

/// Reads around the page cache, [`BLOCK`] bytes at a time: into [`BUFFERS`] in turn, as `ckpt` does, or
/// into the one buffer that the thread used last, which no check could do that looks at the bytes.
pub(super) fn read_direct(path: &Path, threads: usize, turns: Turns) -> io::Result<(f64, u64)> {
    let flags = OFlags::DIRECT.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let len = file.metadata()?.len();
    let seconds = share(threads, len, turns, &|offset, _, buffer| file.read_at(buffer, offset).map(drop))?;
    Ok((seconds, len))
}

/// Checksums memory that no cache holds: as many bytes as the file at `path` has.
pub(super) fn crc_of_memory(path: &Path, threads: usize) -> io::Result<(f64, u64)> {
    static MEMORY: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    const MEMORY_BYTES: usize = 256 << 20;
    let len = fs::metadata(path)?.len();
    let mut memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    memory.resize(MEMORY_BYTES, 0x5A);
    let memory = memory.as_slice();
    let seconds = share(threads, len, Turns::Last, &|offset, wanted, _| {
        let start = usize::try_from(offset % MEMORY_BYTES as u64).unwrap_or(0);
        black_box(Crc32::of(memory.split_at(start).1.split_at(wanted).0));
        Ok(())
    })?;
    Ok((seconds, len))
}

/// Writes `len` bytes to a new file, `block` at a time from huge pages that were filled before, and makes it
/// durable. `memory` says where the bytes come from.
pub(super) fn write_direct(
    path: &Path,
    threads: usize,
    block: usize,
    len: u64,
    memory: Memory,
) -> io::Result<f64> {
    static CACHED: Mutex<Vec<Buffer>> = Mutex::new(Vec::new());
    static WHOLE: Mutex<Vec<Buffer>> = Mutex::new(Vec::new());
    let (buffers, size, most) = match memory {
        Memory::Cached => (&CACHED, 2 * BLOCK, threads),
        Memory::Whole => (&WHOLE, usize::try_from(len).unwrap_or(BLOCK).next_multiple_of(2 * BLOCK), 1),
    };
    let mut buffers = buffers.lock().unwrap_or_else(PoisonError::into_inner);
    buffers.retain_mut(|buffer| buffer.bytes().len() >= size);
    while buffers.len() < most {
        buffers.push(Buffer::random(size));
    }
    let slices: Vec<&[u8]> = buffers.iter_mut().map(|buffer| &*buffer.bytes()).collect();
    let start = Instant::now();
    let temporary = path.with_extension("new");
    let file = direct_file(&temporary)?;
    fallocate(&file, FallocateFlags::empty(), 0, len.next_multiple_of(4096))?;
    let next = AtomicU64::new(0);
    let part = |number: usize| loop {
        let offset = next.fetch_add(block as u64, Relaxed);
        if offset >= len {
            return Ok(());
        }
        let wanted = usize::try_from((len - offset).next_multiple_of(4096)).unwrap_or(block).min(block);
        let bytes = slices.get(number % slices.len()).copied().unwrap_or_default();
        let start = usize::try_from(offset).unwrap_or(0) % bytes.len();
        file.write_all_at(bytes.split_at(start).1.split_at(wanted).0, offset)?;
    };
    thread::scope(|scope| {
        let part = &part;
        let others: Vec<_> = (0..threads).map(|number| scope.spawn(move || part(number))).collect();
        joined(others)
    })?;
    file.set_len(len)?;
    file.sync_data()?;
    drop(file);
    rustix::fs::rename(&temporary, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(start.elapsed().as_secs_f64())
}

/// Where the bytes of a raw write come from.
#[derive(Clone, Copy)]
pub(super) enum Memory {
    /// From a few buffers over and over: a core's or the hypervisor's cache holds them.
    Cached,
    /// From as many bytes of memory as are written, as those of a state do.
    Whole,
}

/// Creates a file for direct writes.
fn direct_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::DIRECT.bits().cast_signed();
    OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(flags).open(path)
}

/// Copies `len` bytes of memory to memory that was touched before: what a save to a disk without limits would
/// have to do at least.
pub(super) fn copy(threads: usize, len: u64) -> io::Result<f64> {
    static MEMORY: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    let mut memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    memory.resize(usize::try_from(len).unwrap_or(0), 0x5A);
    let memory = memory.as_slice();
    share(threads, len, Turns::All, &|offset, wanted, buffer| {
        let start = usize::try_from(offset).unwrap_or(0);
        buffer.split_at_mut(wanted).0.copy_from_slice(memory.split_at(start).1.split_at(wanted).0);
        black_box(buffer);
        Ok(())
    })
}

/// Shares the blocks of `len` bytes among threads, and returns the seconds from start to end.
fn share(threads: usize, len: u64, turns: Turns, work: Work<'_>) -> io::Result<f64> {
    let next = AtomicU64::new(0);
    let part = || loop {
        let offset = next.fetch_add(BLOCK as u64, Relaxed);
        if offset >= len {
            return Ok(());
        }
        let wanted = usize::try_from(len - offset).unwrap_or(BLOCK).min(BLOCK);
        let mut buffer = idle().pop_front().unwrap_or_else(Buffer::new);
        work(offset, wanted, buffer.bytes())?;
        match turns {
            Turns::All => idle().push_back(buffer),
            Turns::Last => idle().push_front(buffer),
        }
    };
    let missing = BUFFERS.saturating_sub(idle().len());
    idle().extend((0..missing).map(|_| Buffer::new()));
    let start = Instant::now();
    thread::scope(|scope| {
        let others: Vec<_> = (0..threads).map(|_| scope.spawn(part)).collect();
        joined(others)
    })?;
    Ok(start.elapsed().as_secs_f64())
}

fn joined(others: Vec<thread::ScopedJoinHandle<'_, io::Result<()>>>) -> io::Result<()> {
    let result = |other: thread::ScopedJoinHandle<'_, io::Result<()>>| {
        other.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
    };
    others.into_iter().try_for_each(result)
}

/// Which buffer comes next.
#[derive(Clone, Copy)]
pub(super) enum Turns {
    /// The one used longest ago.
    All,
    /// The one used last.
    Last,
}

/// A buffer on huge pages, kept from one timing to the next.
struct Buffer(Vec<u8>);

fn idle() -> MutexGuard<'static, VecDeque<Buffer>> {
    static IDLE: Mutex<VecDeque<Buffer>> = Mutex::new(VecDeque::new());
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Buffer {
    fn new() -> Self {
        Self::of(BLOCK)
    }

    #[expect(unsafe_code, reason = "the kernel offers the advice by address")]
    fn of(len: usize) -> Self {
        let mut buffer = Self(vec![0; len + HUGE_PAGE]);
        let bytes = buffer.bytes();
        // SAFETY: the range is that of a live, exclusively borrowed slice, and the advice changes how the
        // kernel backs the pages, never what they hold.
        let _ = unsafe { madvise(bytes.as_mut_ptr().cast(), bytes.len(), Advice::LinuxHugepage) };
        bytes.fill(1);
        buffer
    }

    /// Makes one whose bytes don't repeat.
    fn random(len: usize) -> Self {
        let mut buffer = Self::of(len);
        let mut state = 1_u64;
        for bytes in buffer.bytes().chunks_exact_mut(8) {
            state = state.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(1);
            bytes.copy_from_slice(&state.to_le_bytes());
        }
        buffer
    }

    fn bytes(&mut self) -> &mut [u8] {
        let start = self.0.as_ptr().align_offset(HUGE_PAGE).min(HUGE_PAGE);
        let len = self.0.len() - HUGE_PAGE;
        self.0.split_at_mut(start).1.split_at_mut(len).0
    }
}
