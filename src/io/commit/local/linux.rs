//! What writing on Linux can do beyond the standard library: writes around the page cache, room reserved
//! beforehand, write-back that keeps up.

use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{
    Advice, AtFlags, CWD, FallocateFlags, OFlags, RenameFlags, StatxFlags, fadvise, fallocate, fstatfs,
    renameat_with, statvfs, statx,
};
use rustix::io::Errno;
use rustix::process::geteuid;

/// The least alignment of direct writes, in bytes: that of the strictest common device. Smaller blocks
/// would share pages.
const LEAST_ALIGNMENT: usize = 4096;

/// What is written through the page cache before its write-back is started, in bytes.
const WRITE_BACK_BYTES: u64 = 8 << 20;

/// What may wait in the page cache, in bytes, before a write waits for the device. Measured on 512 MiB behind
/// a hypervisor, medians of five: 64 MiB 2.3 GB/s, 128 MiB 2.8; all at the end 2.1.
const DIRTY_BYTES: u64 = 128 << 20;

/// The kinds of file systems (`f_type`) that live in memory: tmpfs, ramfs. Newer kernels take direct
/// writes there, and gain nothing.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58F6];

/// The kinds of file systems that belong to one kernel, so that a lock is seen by all who could hold it:
/// ext4, XFS, Btrfs, ZFS, Bcachefs, F2FS, overlayfs. Network file systems may lock on one machine alone.
const OF_ONE_KERNEL: [u64; 7] =
    [0xEF53, 0x5846_5342, 0x9123_683E, 0x2FC1_2FC1, 0xCA45_1A4E, 0xF2F5_2010, 0x794C_7630];

/// A file opened for writing around the page cache.
#[derive(Debug)]
pub(super) struct Direct {
    file: File,
    alignment: usize,
}

impl Direct {
    /// Opens the same file once more; `None` where direct writes aren't to be had.
    ///
    /// It is opened through the descriptor, not by its name. That fails without `/proc`.
    pub(super) fn open(file: &File) -> Option<Self> {
        let alignment = direct_alignment(file)?;
        let name = format!("/proc/self/fd/{}", file.as_raw_fd());
        let flags = OFlags::DIRECT.bits().cast_signed();
        let file = OpenOptions::new().write(true).custom_flags(flags).open(name).ok()?;
        Some(Self { file, alignment })
    }

    /// Returns what addresses, places and lengths must be multiples of, in bytes.
    pub(super) fn alignment(&self) -> usize {
        self.alignment
    }

    /// Writes all of `bytes`, which are aligned, at `offset`.
    pub(super) fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        write_all_at(&self.file, bytes, offset)
    }

    /// Pretends that the file system asks for another alignment.
    #[cfg(test)]
    pub(super) fn pretending(self, alignment: usize) -> Self {
        Self { alignment, ..self }
    }

    /// Returns the file, to be closed.
    pub(super) fn into_file(self) -> File {
        self.file
    }
}

/// Returns to what direct writes must be aligned, in bytes; `None` where they aren't to be had.
///
/// Where the file system doesn't say, as before Linux 6.1, the first write will.
fn direct_alignment(file: &File) -> Option<usize> {
    if is_one_of(&IN_MEMORY, file) {
        return None;
    }
    let least = LEAST_ALIGNMENT.max(rustix::param::page_size());
    let Ok(known) = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) else { return Some(least) };
    if !StatxFlags::from_bits_retain(known.stx_mask).contains(StatxFlags::DIOALIGN) {
        return Some(least);
    }
    let asked = known.stx_dio_mem_align.max(known.stx_dio_offset_align);
    let is_offered = known.stx_dio_mem_align > 0 && known.stx_dio_offset_align > 0;
    // Alignments are powers of two, so the larger serves both.
    is_offered.then(|| usize::try_from(asked).map_or(least, |asked| asked.max(least)))
}

/// Returns whether a lock that is free is held by nobody, on any machine.
pub(super) fn has_sure_locks(file: &File) -> bool {
    is_one_of(&IN_MEMORY, file) || is_one_of(&OF_ONE_KERNEL, file)
}

fn is_one_of(kinds: &[u64], file: &File) -> bool {
    // The type of the field differs from one architecture to the next.
    fstatfs(file).is_ok_and(|about| u64::try_from(about.f_type).is_ok_and(|kind| kinds.contains(&kind)))
}

/// Returns whether a direct write failed because the file system takes none.
pub(super) fn means_no_direct(error: &io::Error) -> bool {
    [Errno::INVAL, Errno::OPNOTSUPP].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Writes all of `bytes` at `offset`, however often it is interrupted or cut short.
pub(super) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

/// Reserves room for `len` bytes where the file system can.
pub(super) fn allocate(file: &File, len: u64) -> io::Result<()> {
    loop {
        match fallocate(file, FallocateFlags::empty(), 0, len) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Renames a file unless the name is taken; `None` where the file system has no such call.
pub(super) fn rename_and_keep(from: &Path, to: &Path) -> Option<io::Result<()>> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => None,
        result => Some(result.map_err(io::Error::from)),
    }
}

/// Has two files or directories change places.
pub(super) fn swap(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Err(io::ErrorKind::Unsupported.into()),
        result => result.map_err(io::Error::from),
    }
}

/// Returns how many bytes this user may still write to the file system.
pub(super) fn free_bytes(directory: &Path) -> io::Result<u64> {
    let about = statvfs(directory)?;
    // File systems keep a reserve that only root may use.
    let blocks = if geteuid().is_root() { about.f_bfree } else { about.f_bavail };
    Ok(blocks.saturating_mul(about.f_frsize))
}

/// Keeps what waits in the page cache small, so that the device works from the beginning.
#[derive(Debug)]
pub(super) struct WriteBack {
    state: Mutex<Dirty>,
}

/// What was written lately.
#[derive(Debug, Default)]
struct Dirty {
    /// Where write-back wasn't started yet.
    span: Option<Range<u64>>,
    /// How many bytes that are.
    fresh: u64,
    /// How many bytes were written since the device was last waited for.
    waiting: u64,
}

/// What is to be done after a write.
#[derive(Debug, Default, PartialEq, Eq)]
struct Due {
    /// Where write-back is to be started.
    start: Option<Range<u64>>,
    /// Whether the device is to be waited for.
    wait: bool,
}

impl WriteBack {
    /// Of a file that nothing was written to.
    pub(super) fn new() -> Self {
        Self { state: Mutex::default() }
    }

    /// Takes note of a write through the page cache, and waits when too much of it isn't on the device.
    pub(super) fn wrote(&self, file: &File, offset: u64, len: usize) -> io::Result<()> {
        let due = self.state.lock().unwrap_or_else(PoisonError::into_inner).wrote(offset, len as u64);
        if let Some(span) = due.start {
            // Starts the write-back of what is dirty there. There is an advice and a call for that, and
            // the call isn't to be had without `unsafe`.
            let _ = fadvise(file, span.start, NonZeroU64::new(span.end - span.start), Advice::DontNeed);
        }
        if due.wait { file.sync_data() } else { Ok(()) }
    }
}

impl Dirty {
    fn wrote(&mut self, offset: u64, len: u64) -> Due {
        let end = offset.saturating_add(len);
        let span = self.span.take().map_or(offset..end, |span| span.start.min(offset)..span.end.max(end));
        self.fresh += len;
        self.waiting += len;
        if self.fresh < WRITE_BACK_BYTES {
            self.span = Some(span);
            return Due::default();
        }
        self.fresh = 0;
        let wait = self.waiting >= DIRTY_BYTES;
        if wait {
            self.waiting = 0;
        }
        Due { start: Some(span), wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn write_back_starts_every_few_megabytes_and_waits_every_few_of_those() {
        let mut dirty = Dirty::default();
        let mut started = Vec::new();
        let mut waits = 0;
        for i in 0..260 {
            // Two threads, each in its own half.
            let due = dirty.wrote((i / 2 + (i % 2) * 200) * MIB, MIB);
            started.extend(due.start);
            waits += u32::from(due.wait);
        }
        assert_eq!(waits, 2);
        assert_eq!(started.len(), 32);
        assert_eq!(started[0], 0..204 * MIB);
        assert_eq!(started[1], 4 * MIB..208 * MIB);
        assert_eq!(dirty.span, Some(128 * MIB..330 * MIB));
    }

    #[test]
    fn a_large_write_starts_at_once() {
        let mut dirty = Dirty::default();
        assert_eq!(dirty.wrote(5, 160 * MIB), Due { start: Some(5..160 * MIB + 5), wait: true });
        assert_eq!(dirty.wrote(u64::MAX, 1), Due::default());
    }

    #[test]
    fn what_is_in_memory_gets_no_direct_writes() {
        let Ok(file) = tempfile::tempfile_in("/dev/shm") else {
            println!("skipped: /dev/shm isn't there or can't be written");
            return;
        };
        if !is_one_of(&IN_MEMORY, &file) {
            println!("skipped: /dev/shm isn't in memory");
            return;
        }
        assert!(Direct::open(&file).is_none());
        assert!(has_sure_locks(&file));
    }

    #[test]
    fn much_is_written_through_the_page_cache() {
        let file = tempfile::tempfile().unwrap();
        let write_back = WriteBack::new();
        let bytes: Vec<u8> = (0..3_u32 << 20).map(|i| i.wrapping_mul(0x9E37_79B1).to_le_bytes()[3]).collect();
        for i in 0..50 {
            write_all_at(&file, &bytes, i * bytes.len() as u64).unwrap();
            write_back.wrote(&file, i * bytes.len() as u64, bytes.len()).unwrap();
        }
        let mut found = vec![0; bytes.len()];
        for i in 0..50 {
            file.read_exact_at(&mut found, i * bytes.len() as u64).unwrap();
            assert!(found == bytes);
        }
    }
}
