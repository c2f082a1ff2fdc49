//! How much the pairs that are being merged may have in memory together.

use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use super::{MergeOptions, Pair};

/// What the inputs of all pairs that are being merged may have in memory together, in bytes; a pair that needs more by
/// itself is merged alone.
const BUDGET: u64 = 640 << 20;
/// An input takes up to this many times its size: a pickle, and the floats that are read from it.
const TIMES: u64 = 2;

/// Lets as many pairs in as the memory is meant for.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// What those that were let in need.
    taken: Mutex<u64>,
    left: Condvar,
}

impl Gate {
    /// Waits until there is room for a pair.
    pub(super) fn enter(&self, pair: &Pair, options: &MergeOptions) -> Inside<'_> {
        let need = need(&pair.a, options).saturating_add(need(&pair.b, options));
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken > 0 && taken.saturating_add(need) > BUDGET {
            taken = self.left.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        *taken = taken.saturating_add(need);
        Inside { gate: self, need }
    }
}

/// A pair that was let in, until this is dropped.
#[derive(Debug)]
pub(super) struct Inside<'g> {
    gate: &'g Gate,
    need: u64,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut taken = self.gate.taken.lock().unwrap_or_else(PoisonError::into_inner);
        *taken = taken.saturating_sub(self.need);
        self.gate.left.notify_all();
    }
}

/// Returns what an input needs, at most, as far as its size says it: rows of larger ones stay in the file.
fn need(path: &Path, options: &MergeOptions) -> u64 {
    let bytes = path.metadata().map_or(0, |metadata| metadata.len());
    bytes.min(options.table.most_in_memory()).saturating_mul(TIMES)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;
    use crate::features::table::TableOptions;

    #[test]
    fn no_more_are_inside_than_there_is_room_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.pt");
        // Holes take no room on the disk.
        std::fs::File::create(&path).unwrap().set_len(BUDGET / TIMES / 4).unwrap();
        let pair = Pair::new(&path, &path, "out.pt");
        let table = TableOptions::default().with_eager_bytes(u64::MAX);
        let options = MergeOptions { table, ..MergeOptions::default() };
        let (gate, inside, most) = (Gate::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let pass = gate.enter(&pair, &options);
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(pass);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 2);
        // One that is too large for all of it gets in alone.
        std::fs::File::create(&path).unwrap().set_len(2 * BUDGET).unwrap();
        drop(gate.enter(&pair, &options));
        assert_eq!(*gate.taken.lock().unwrap(), 0);
    }
}
