//! Memory for large parts of a file, at addresses that suit direct reads.

use std::io;
use std::ops::Range;

use memmap2::MmapMut;

use super::plan::BLOCK_BYTES;

/// The alignment of a region, in bytes: the huge page of `x86_64` and of 4 KiB-paged aarch64. A window has a
/// whole number of them, so that no two threads touch the same one for the first time.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// The widest run of windows without wanted bytes that gets addresses all the same, in windows. Addresses cost
/// nothing; a region of its own costs a mapping, of which a process has some 65,000.
const MAX_IDLE_WINDOWS: u64 = 16;

/// Parts of a file, read into memory.
///
/// The memory stands for the file window by window: a byte's address is its offset modulo the size of a page,
/// so that a device can write straight to it. Windows that nothing was wanted of are addresses without memory.
#[derive(Debug)]
pub struct Arena {
    /// In the order of the file.
    regions: Vec<Region>,
}

/// A run of windows.
#[derive(Debug)]
struct Region {
    /// Where it begins in the file; a multiple of a window's length.
    start: u64,
    /// How long it is.
    len: usize,
    memory: MmapMut,
    /// How much of the memory lies before the first aligned address.
    lead: usize,
}

impl Arena {
    /// Makes room for spans, which are sorted.
    pub(super) fn new(spans: &[Range<u64>]) -> io::Result<Self> {
        let window = BLOCK_BYTES as u64;
        let mut runs: Vec<Range<u64>> = Vec::new();
        for span in spans.iter().filter(|span| !span.is_empty()) {
            let (first, end) = (span.start / window, span.end.div_ceil(window));
            match runs.last_mut() {
                Some(run) if first <= run.end.saturating_add(MAX_IDLE_WINDOWS) => run.end = run.end.max(end),
                _ => runs.push(first..end),
            }
        }
        let regions = runs.into_iter().map(|run| Region::new(run.start * window, run.end - run.start));
        Ok(Self { regions: regions.collect::<io::Result<_>>()? })
    }

    /// Returns the memory of each window, with where it begins in the file.
    pub(super) fn windows(&mut self) -> impl Iterator<Item = (u64, &mut [u8])> {
        self.regions.iter_mut().flat_map(|region| {
            let starts = (region.start..).step_by(BLOCK_BYTES);
            starts.zip(region.bytes_mut().chunks_mut(BLOCK_BYTES))
        })
    }

    /// Returns the bytes of a range of the file; `None` where it isn't within what was read.
    ///
    /// Bytes beside the ranges that were asked for are zero, or those of the file.
    pub fn get(&self, range: &Range<u64>) -> Option<&[u8]> {
        if range.is_empty() {
            return Some(&[]);
        }
        let after = self.regions.partition_point(|region| region.start <= range.start);
        let region = self.regions.get(after.checked_sub(1)?)?;
        region.memory.get(region.lead..)?.get(..region.len)?.get(region.places(range)?)
    }

    /// As [`Arena::get`], for who changes the bytes before others see them.
    pub fn get_mut(&mut self, range: &Range<u64>) -> Option<&mut [u8]> {
        let after = self.regions.partition_point(|region| region.start <= range.start);
        let region = self.regions.get_mut(after.checked_sub(1)?)?;
        let places = region.places(range)?;
        region.bytes_mut().get_mut(places)
    }
}

impl Region {
    /// Reserves addresses; their pages come with the first read into them.
    fn new(start: u64, windows: u64) -> io::Result<Self> {
        let too_large = || io::Error::from(io::ErrorKind::OutOfMemory);
        let len = usize::try_from(windows).ok().and_then(|windows| windows.checked_mul(BLOCK_BYTES));
        let len = len.ok_or_else(too_large)?;
        let room = len.checked_add(HUGE_PAGE_BYTES).ok_or_else(too_large)?;
        let memory = MmapMut::map_anon(room).map_err(|_| too_large())?;
        let lead = memory.as_ptr().align_offset(HUGE_PAGE_BYTES).min(HUGE_PAGE_BYTES);
        ask_for_huge_pages(&memory, lead, len);
        Ok(Self { start, len, memory, lead })
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let (_, aligned) = self.memory.split_at_mut(self.lead);
        aligned.split_at_mut(self.len).0
    }

    /// Returns where a range of the file lies in the region.
    fn places(&self, range: &Range<u64>) -> Option<Range<usize>> {
        let place = |at: u64| usize::try_from(at.checked_sub(self.start)?).ok();
        Some(place(range.start)?..place(range.end)?)
    }
}

/// Asks the kernel to back the memory with huge pages. Where it can't, nothing is lost but speed.
#[cfg(target_os = "linux")]
fn ask_for_huge_pages(memory: &MmapMut, lead: usize, len: usize) {
    memory.advise_range(memmap2::Advice::HugePage, lead, len).unwrap_or_default();
}

/// Does nothing: other systems choose page sizes themselves.
#[cfg(not(target_os = "linux"))]
fn ask_for_huge_pages(_memory: &MmapMut, _lead: usize, _len: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = BLOCK_BYTES as u64;

    #[test]
    fn addresses_are_aligned_like_offsets() {
        let mut arena = Arena::new(&[WINDOW + 5..3 * WINDOW]).unwrap();
        let windows: Vec<_> =
            arena.windows().map(|(start, bytes)| (start, bytes.as_ptr().addr(), bytes.len())).collect();
        assert_eq!(windows.len(), 2);
        for (start, address, len) in windows {
            assert_eq!(len, BLOCK_BYTES);
            assert_eq!(start % WINDOW, 0);
            assert_eq!(address % HUGE_PAGE_BYTES, 0);
        }
        arena.get_mut(&(WINDOW + 5..WINDOW + 7)).unwrap().fill(1);
        assert_eq!(arena.get(&(WINDOW + 4..WINDOW + 8)), Some(&[0, 1, 1, 0][..]));
    }

    #[test]
    fn what_was_not_wanted_is_not_there() {
        let far = 2 * MAX_IDLE_WINDOWS * WINDOW;
        let arena = Arena::new(&[WINDOW..WINDOW + 1, far..far + 1]).unwrap();
        assert_eq!(arena.regions.len(), 2);
        for range in [0..1, WINDOW - 1..WINDOW + 1, 2 * WINDOW..2 * WINDOW + 1, WINDOW..far + 1] {
            assert_eq!(arena.get(&range), None, "{range:?}");
        }
        assert_eq!(arena.get(&(far..far + 1)), Some(&[0][..]));
        assert_eq!(arena.get(&(9..9)), Some(&[][..]));
        assert_eq!(Arena::new(&[]).unwrap().get(&(0..1)), None);
    }

    #[test]
    fn more_than_there_are_addresses_is_an_error() {
        let error = Arena::new(&[0..1 << 62]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    }
}
