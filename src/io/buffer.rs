//! The buffers that blocks are read into: aligned, on huge pages, and used again.
//!
//! Three facts decide this file. Direct I/O wants aligned memory. A device takes a read in far larger
//! requests from huge pages than from scattered small ones. And memory that is touched for the first
//! time is slow, on a virtual machine slower than the disk: so buffers go back to a pool that lives as
//! long as the process.

use std::sync::{Mutex, PoisonError};

use super::plan::BLOCK_BYTES;

/// The alignment of a buffer, in bytes: the huge page of `x86_64` and of 4 KiB-paged aarch64.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// How many buffers the pool keeps. Those beyond are freed when they come back.
const POOL_BUFFERS: usize = 16;

static POOL: Mutex<Vec<Buffer>> = Mutex::new(Vec::new());

/// Lends a buffer of [`BLOCK_BYTES`] bytes, aligned to 2 MiB, with arbitrary content.
pub(super) fn with_buffer<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    let pooled = POOL.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut buffer = pooled.unwrap_or_else(Buffer::new);
    let result = work(buffer.bytes_mut());
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    if pool.len() < POOL_BUFFERS {
        pool.push(buffer);
    }
    result
}

/// An allocation with room to begin at a multiple of [`HUGE_PAGE_BYTES`].
struct Buffer {
    memory: Vec<u8>,
    start: usize,
}

impl Buffer {
    /// Allocates address space; its pages come with the first read into them.
    fn new() -> Self {
        let memory = vec![0; BLOCK_BYTES + HUGE_PAGE_BYTES];
        let start = memory.as_ptr().align_offset(HUGE_PAGE_BYTES).min(HUGE_PAGE_BYTES);
        let mut buffer = Self { memory, start };
        ask_for_huge_pages(buffer.bytes_mut());
        buffer
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let (_, aligned) = self.memory.split_at_mut(self.start);
        aligned.split_at_mut(BLOCK_BYTES).0
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
    fn a_buffer_is_aligned_and_of_block_size() {
        with_buffer(|bytes| {
            assert_eq!(bytes.len(), BLOCK_BYTES);
            assert_eq!(bytes.as_ptr() as usize % HUGE_PAGE_BYTES, 0);
        });
    }

    #[test]
    fn buffers_lent_at_once_are_distinct() {
        with_buffer(|first| {
            with_buffer(|second| {
                first.fill(1);
                second.fill(2);
                assert!(first.iter().all(|&byte| byte == 1));
            });
        });
    }
}
