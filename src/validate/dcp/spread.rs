//! Work of very different sizes, spread over threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What is worth all threads at once: it is read in parallel inside, in the order of the disk.
const LARGE_BYTES: u64 = 64 << 20;

/// Does `work` for each of `sizes`, given its place and the number of threads that it may use, and returns the
/// results in the same order.
///
/// Large ones run one after another, each with all threads; the small ones side by side, each with one.
pub(super) fn spread<T: Send>(
    sizes: &[u64],
    threads: usize,
    work: impl Fn(usize, usize) -> T + Sync,
) -> Vec<T> {
    let threads = threads.max(1);
    let (large, small): (Vec<usize>, Vec<usize>) =
        (0..sizes.len()).partition(|&at| sizes.get(at).is_some_and(|size| *size >= LARGE_BYTES));
    let mut done: Vec<(usize, T)> = large.into_iter().map(|at| (at, work(at, threads))).collect();
    let next = AtomicUsize::new(0);
    let run = || {
        let mut own = Vec::new();
        while let Some(&at) = small.get(next.fetch_add(1, Ordering::Relaxed)) {
            own.push((at, work(at, 1)));
        }
        own
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(small.len())).map(|_| scope.spawn(run)).collect();
        done.extend(run());
        for other in others {
            done.extend(other.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause)));
        }
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_large_work_has_all_threads() {
        let sizes = [5, LARGE_BYTES, 7, 0, LARGE_BYTES + 1];
        for threads in [0, 1, 3, 8] {
            let results = spread(&sizes, threads, |at, inside| (at, inside));
            let all = threads.max(1);
            assert_eq!(results, [(0, 1), (1, all), (2, 1), (3, 1), (4, all)]);
        }
        assert!(spread(&[], 4, |at, _| at).is_empty());
    }
}
