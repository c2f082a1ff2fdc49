//! Many pairs.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;

use super::gate::Gate;
use super::one::merge_pair;
use super::{MergeOptions, Pair};
use crate::Error;
use crate::record::Merged;

/// Merges pairs, a few at a time, and returns what became of each, in their order.
///
/// Each output is committed on its own: whoever is killed loses the pairs that were being merged, and no other. One bad pair
/// doesn't stop the others; once [`MergeOptions::cancel`] says so, none is begun any more. `done` hears, from any thread,
/// what became of a pair as soon as it is known, with its place.
///
/// Small inputs are merged at once as many as [`MergeOptions::threads`] says; of larger ones as many as have room in some 640
/// MiB of memory.
///
/// ```
/// use ckpt::features::merge::{MergeOptions, Pair, merge_all};
///
/// let pairs = [Pair::new("gone_a.pt", "gone_b.pt", "out.pt")];
/// let results = merge_all(&pairs, &MergeOptions::default(), &|place, result| {
///     if let Err(error) = result {
///         println!("pair {place}: {error}");
///     }
/// });
/// assert!(results[0].is_err());
/// ```
pub fn merge_all(
    pairs: &[Pair],
    options: &MergeOptions,
    done: &(dyn Fn(usize, &Result<Merged, Error>) + Sync),
) -> Vec<Result<Merged, Error>> {
    let repeated = repeated(pairs);
    let (gate, next) = (Gate::default(), Mutex::new(pairs.iter().enumerate()));
    let next = || next.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        let mut results = Vec::new();
        while let Some((place, pair)) = next() {
            let result = if repeated.contains(&place) {
                Err(Error::usage("another pair has the same output: nothing was merged for this one")
                    .at(&pair.out))
            } else {
                let _inside = gate.enter(pair, options);
                let begun = options.cancel.check().map_err(|error| Error::io(&pair.out, "merge it", error));
                begun.and_then(|()| merge_pair(pair, options))
            };
            done(place, &result);
            results.push((place, result));
        }
        results
    };
    let threads = options.threads.clamp(1, pairs.len().max(1));
    let mut results: Vec<_> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut results = work();
        for other in others {
            results.extend(other.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause)));
        }
        results
    });
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Returns the places of pairs whose output an earlier one has already.
fn repeated(pairs: &[Pair]) -> HashSet<usize> {
    let mut seen = HashSet::new();
    let places = pairs.iter().enumerate().filter(|(_, pair)| !seen.insert(resolved(&pair.out)));
    places.map(|(place, _)| place).collect()
}

/// Returns a path by which outputs can be compared: one file under two names is found where its directory is there.
fn resolved(path: &Path) -> PathBuf {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (path.canonicalize(), directory.canonicalize(), path.file_name()) {
        (Ok(path), ..) => path,
        (_, Ok(directory), Some(name)) => directory.join(name),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Cancel;

    #[test]
    fn no_pair_is_begun_once_the_work_is_cancelled() {
        let cancel = Cancel::default();
        cancel.cancel();
        let pairs = [Pair::new("a.pt", "b.pt", "one.pt"), Pair::new("a.pt", "b.pt", "other.pt")];
        let results = merge_all(&pairs, &MergeOptions::default().with_cancel(cancel), &|_, _| ());
        for (pair, result) in pairs.iter().zip(results) {
            let error = result.unwrap_err();
            assert_eq!(error.path(), Some(&*pair.out));
            assert!(error.to_string().contains("cancelled"), "{error}");
        }
    }
}
