//! The buffers between files and memory: aligned, and used again.
//!
//! Direct I/O wants aligned memory. A device is asked for far more at once with huge pages than
//! from scattered small ones. And memory that is touched for the first time is slow, on a virtual machine
//! slower than the disk: so buffers go back to pools that live as long as the process.
//!
//! There are two pools, because what is good for a copy is bad for a device. A copy out of the page cache
//! should land in memory that the core's cache still holds: the buffer used last is used next. A device
//! (or the hypervisor that plays one) should not have to take its memory away from a core's cache: the
//! buffer used longest ago is used next, and there are enough of them to outgrow that cache. A write
//! doesn't mind either way, because what is copied for it goes past the cache ([`stream`](super::stream)): it
//! takes the device's buffers, so that a save and the reading that proves it share their memory.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::plan::BLOCK_BYTES;

/// The alignment of a buffer, in bytes: the huge page of `x86_64` and of 4 KiB-paged aarch64.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// The length of a buffer for copies out of the page cache, in bytes: what stays in a core's second-level
/// cache. Measured with CRC-32 on two threads: 64 KiB 21 GB/s, 256 KiB 21, 512 KiB 24, 1 MiB 28, 4 MiB 29.
pub(super) const COPY_BYTES: usize = 1 << 20;

/// The most buffers that the pool for copies keeps.
const COPY_BUFFERS: usize = 16;

/// How many buffers direct reads go through in turn, and how many threads can write at once: 32 MiB. Measured
/// with CRC-32 on one thread, behind a hypervisor: 1 buffer 1.6 GB/s, 4 buffers 2.3, 16 buffers 3.1, 64 no
/// more. On another machine 8 buffers 2.91, 16 buffers 2.92, and on 8 threads 3.20 and 3.04; writes with 8,
/// 12, 16 and 32 buffers are the same.
pub(super) const DIRECT_BUFFERS: usize = 8;

/// The most buffers that the ring keeps: two saves at once, as merges and stages are, have them without the system
/// clearing new ones each time.
const MAX_DIRECT_BUFFERS: usize = 2 * DIRECT_BUFFERS;

static COPIES: Mutex<Vec<Buffer>> = Mutex::new(Vec::new());
static DIRECT: Mutex<Ring> = Mutex::new(Ring { idle: VecDeque::new(), made: 0 });

/// Lends a buffer of [`COPY_BYTES`] bytes, with arbitrary content.
pub(super) fn with_copy_buffer<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    let idle = COPIES.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut buffer = idle.unwrap_or_else(|| Buffer::new(COPY_BYTES));
    let result = work(buffer.bytes_mut());
    let mut pool = COPIES.lock().unwrap_or_else(PoisonError::into_inner);
    if pool.len() < COPY_BUFFERS {
        pool.push(buffer);
    }
    result
}

/// Lends a buffer of [`BLOCK_BYTES`] bytes on huge pages, aligned to those, with arbitrary content.
pub(super) fn with_direct_buffer<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    work(DirectBuffer::borrow().bytes_mut())
}

/// A buffer as [`with_direct_buffer`] lends it, for those who hand it on to another thread.
pub(super) struct DirectBuffer(Option<Buffer>);

impl DirectBuffer {
    /// Borrows the buffer that was used longest ago.
    pub(super) fn borrow() -> Self {
        let idle = DIRECT.lock().unwrap_or_else(PoisonError::into_inner).take();
        Self(Some(idle.unwrap_or_else(|| Buffer::new(BLOCK_BYTES))))
    }

    /// Returns its bytes.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.as_mut().map_or(&mut [], Buffer::bytes_mut)
    }
}

/// Gives the buffer back.
impl Drop for DirectBuffer {
    fn drop(&mut self) {
        if let Some(buffer) = self.0.take() {
            DIRECT.lock().unwrap_or_else(PoisonError::into_inner).give_back(buffer);
        }
    }
}

/// Buffers that are used in turn.
struct Ring {
    idle: VecDeque<Buffer>,
    made: usize,
}

impl Ring {
    /// Takes the buffer that was used longest ago; none, to say that one is to be made, as long as there
    /// are too few of them, or none is idle.
    fn take(&mut self) -> Option<Buffer> {
        if self.made < DIRECT_BUFFERS {
            self.made += 1;
            return None;
        }
        self.idle.pop_front()
    }

    /// Puts a buffer at the end, or frees it where many threads made more than enough.
    fn give_back(&mut self, buffer: Buffer) {
        if self.idle.len() < MAX_DIRECT_BUFFERS {
            self.idle.push_back(buffer);
        }
    }
}

/// An allocation with room to begin at a multiple of [`HUGE_PAGE_BYTES`].
struct Buffer {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl Buffer {
    /// Allocates address space; its pages come with the first read into them.
    fn new(len: usize) -> Self {
        let memory = vec![0; len + HUGE_PAGE_BYTES];
        let start = memory.as_ptr().align_offset(HUGE_PAGE_BYTES).min(HUGE_PAGE_BYTES);
        let mut buffer = Self { memory, start, len };
        if len >= HUGE_PAGE_BYTES {
            ask_for_huge_pages(buffer.bytes_mut());
        }
        buffer
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let (_, aligned) = self.memory.split_at_mut(self.start);
        aligned.split_at_mut(self.len).0
    }
}

/// Asks the kernel to back `bytes` with huge pages. Where it can't, nothing is lost but speed.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the kernel offers the advice by address")]
fn ask_for_huge_pages(bytes: &mut [u8]) {
    // SAFETY: the range is exactly that of a live, exclusively borrowed slice, and this advice changes
    // how the kernel backs the pages, never what they hold.
    let _ = unsafe {
        rustix::mm::madvise(bytes.as_mut_ptr().cast(), bytes.len(), rustix::mm::Advice::LinuxHugepage)
    };
}

/// Does nothing: other systems choose page sizes themselves.
#[cfg(not(target_os = "linux"))]
fn ask_for_huge_pages(_bytes: &mut [u8]) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direct_buffer_is_aligned_and_holds_a_block() {
        with_direct_buffer(|bytes| {
            assert_eq!(bytes.len(), BLOCK_BYTES);
            assert_eq!(bytes.as_ptr() as usize % HUGE_PAGE_BYTES, 0);
        });
    }

    #[test]
    fn buffers_lent_at_once_are_distinct() {
        with_copy_buffer(|first| {
            with_copy_buffer(|second| {
                first.fill(1);
                second.fill(2);
                assert!(first.iter().all(|&byte| byte == 1));
            });
        });
    }

    #[test]
    fn direct_buffers_take_turns() {
        let mut ring = Ring { idle: VecDeque::new(), made: 0 };
        for len in 1..=DIRECT_BUFFERS {
            assert!(ring.take().is_none());
            ring.give_back(Buffer::new(len));
        }
        for len in (1..=DIRECT_BUFFERS).cycle().take(3 * DIRECT_BUFFERS) {
            let buffer = ring.take().unwrap();
            assert_eq!(buffer.len, len);
            ring.give_back(buffer);
        }
    }

    #[test]
    fn more_buffers_than_the_ring_holds_are_not_kept() {
        let mut ring = Ring { idle: VecDeque::new(), made: 0 };
        for _ in 0..MAX_DIRECT_BUFFERS + 5 {
            assert!(ring.take().is_none());
        }
        for _ in 0..MAX_DIRECT_BUFFERS + 5 {
            ring.give_back(Buffer::new(1));
        }
        assert_eq!(ring.idle.len(), MAX_DIRECT_BUFFERS);
    }
}
