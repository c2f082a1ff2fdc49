use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use super::encoding::{Evidence, Series};
use super::{SavedItem, SavedSeries, SeriesItem};
use crate::Error;
use crate::format::read_vec;
use crate::io::commit::{Disk, Existing, LocalDisk, Temporary, clean_beside};
use crate::io::{ScanSource, Section};
use crate::record::{Code, Finding, Level};
use crate::save::store::{Plan, encode_options, not_as_it_was, refuse_existing, unlike, write};
use crate::save::{Format, SaveOptions};
use crate::validate::VerifyOptions;

/// The most threads that read back a series: the device is busy with as many.
const MOST_READERS: usize = 8;

/// Saves several checkpoints as one file, one behind the other: atomically, durably, and verified one by one.
///
/// As [`save`](crate::save()) in all else. Items of state are PyTorch archives; they can be loaded from where
/// [`SavedItem::range`] says ([`LoadOptions::with_section`](crate::LoadOptions)). Equal items give equal bytes.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("__0_0.distcp");
/// use ckpt::save::{SeriesItem, save_series};
/// use ckpt::{LoadOptions, State, load};
///
/// let (mut first, mut second) = (State::new(), State::new());
/// first.insert("step", 100)?;
/// second.insert("epoch", 3)?;
/// let items = [SeriesItem::State(&first), SeriesItem::State(&second)];
/// let saved = save_series(&path, &items, &Default::default())?;
///
/// let section = saved.items[1].range.clone();
/// let loaded = load(&path, &LoadOptions::default().with_section(section))?;
/// assert_eq!(loaded.value("epoch").and_then(|epoch| epoch.as_i64()), Some(3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`save`](crate::save()); or the options ask for another format, or for a marker.
pub fn save_series(
    path: &Path,
    items: &[SeriesItem<'_>],
    options: &SaveOptions,
) -> Result<SavedSeries, Error> {
    save_series_on(&LocalDisk, path, items, options)
}

/// As [`save_series`], on a disk of the caller's: see [`Disk`].
///
/// # Errors
///
/// As [`save_series`].
pub fn save_series_on(
    disk: &dyn Disk,
    path: &Path,
    items: &[SeriesItem<'_>],
    options: &SaveOptions,
) -> Result<SavedSeries, Error> {
    let start = Instant::now();
    check(options).map_err(|error| error.at(path))?;
    let series = Series::of(items, &encode_options(options)).map_err(|error| error.at(path))?;
    let existing = if options.overwrite { Existing::Replace } else { Existing::Keep };
    refuse_existing(disk, path, existing)?;
    clean_beside(disk, path);
    let mut temporary = Temporary::create(disk, path)?;
    let destination = temporary.destination().to_owned();
    temporary.reserve(series.len())?;
    let plan = Plan { pieces: series.pieces(), crc32: true, restarts: series.restarts(), len: series.len() };
    let evidence = write(&mut temporary, &plan, options, |digests| series.finish(digests))?;
    let ranges: Vec<_> = series.ranges().collect();
    if options.validate {
        validate(disk, &temporary, items, &ranges, &evidence, options)?;
    }
    temporary.commit(existing, options.durability)?;
    let saved = |(range, evidence): (Range<u64>, &Evidence)| {
        let is_proven = matches!(evidence, Evidence::Proof(_));
        SavedItem { range, digest: evidence.id(), is_proven }
    };
    Ok(SavedSeries {
        path: destination,
        bytes: series.len(),
        items: ranges.into_iter().zip(&evidence).map(saved).collect(),
        validated: options.validate.then_some(if items.iter().any(needs_trust) {
            options.level.min(Level::Container)
        } else {
            options.level
        }),
        elapsed: start.elapsed(),
    })
}

/// Refuses what a series can't have.
fn check(options: &SaveOptions) -> Result<(), Error> {
    if options.format.is_some_and(|format| format != Format::Torch) {
        return Err(Error::usage("only PyTorch archives are written one behind the other"));
    }
    if options.marker {
        return Err(Error::usage("a file of several checkpoints has no completion marker"));
    }
    Ok(())
}

/// Reads the temporary file back and verifies each item.
fn validate(
    disk: &dyn Disk,
    temporary: &Temporary<'_>,
    items: &[SeriesItem<'_>],
    ranges: &[Range<u64>],
    evidence: &[Evidence],
    options: &SaveOptions,
) -> Result<(), Error> {
    let path = temporary.destination();
    let failed = |error| Error::io(path, "read back what was written", error);
    let source = disk.open(temporary.path()).map_err(failed)?;
    let threads = options.threads.clamp(1, MOST_READERS);
    let readers = threads.min(items.len()).max(1);
    let mut verify = VerifyOptions::default().with_level(options.level).with_threads(threads / readers);
    verify.cancel.clone_from(&options.cancel);
    let work = Mutex::new(items.iter().zip(ranges.iter().zip(evidence)).enumerate());
    let drain = || loop {
        // A statement of its own: the lock must not live through the read.
        let next = work.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some((number, (item, (range, evidence)))) = next else { return Ok(()) };
        let found = Section::new(&*source, range.clone()).map_err(failed).and_then(|section| {
            finding(path, &section, evidence, needs_trust(item), &verify).map_err(failed)
        })?;
        if let Some(mut finding) = found {
            finding.message = format!("item {number}, at byte {}: {}", range.start, finding.message);
            return Err(Error::found(path, not_as_it_was(finding)));
        }
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..readers).map(|_| scope.spawn(drain)).collect();
        let own = drain();
        let join = |other: thread::ScopedJoinHandle<'_, _>| {
            other.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause))
        };
        others.into_iter().fold(own, |result, other| result.and(join(other)))
    })
}

/// Returns whether only who trusts an item may load it.
fn needs_trust(item: &SeriesItem<'_>) -> bool {
    matches!(item, SeriesItem::Pickled(pickled) if !pickled.is_safe())
}

/// Holds what was read back against what was written.
fn finding(
    path: &Path,
    section: &dyn ScanSource,
    evidence: &Evidence,
    needs_trust: bool,
    verify: &VerifyOptions,
) -> std::io::Result<Option<Finding>> {
    match evidence {
        Evidence::Proof(proof) => Ok(unlike(path, section, proof, needs_trust, verify)),
        Evidence::Digest(digest) => {
            let bytes = read_vec(section, 0..section.len())?;
            let other = || Finding::corrupted(Code::ChecksumMismatch, Level::Container, "it has other bytes");
            Ok((digest.algorithm().digest(&bytes) != *digest).then(other))
        }
    }
}
