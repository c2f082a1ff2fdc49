//! A writer is killed at random moments.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use ckpt::{Integrity, Verdict, VerifyOptions, verify};

use super::super::random::Random;
use super::writer::{self, Progress, Writer};

/// How often.
const KILLS: usize = 520;

/// The longest time that a writer lives after its first save began, in microseconds.
const LONGEST_LIFE: u64 = 80_000;

/// Where files are on a disk, and not in memory.
pub(super) fn on_disk() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Asserts that the file is one of two generations, with a true marker.
pub(super) fn assert_whole(path: &Path, generations: [u64; 2], what: &str) -> u64 {
    let mut options = VerifyOptions::default().with_threads(1);
    options.require_marker = true;
    let report = verify(path, &options);
    assert_eq!(report.verdict, Verdict::Valid, "{what}: {:?}", report.reason());
    assert_eq!(report.integrity, Integrity::Full, "{what}");
    let bytes = fs::read(path).unwrap();
    let found = generations.into_iter().find(|generation| *writer::file(*generation) == bytes);
    found.unwrap_or_else(|| panic!("{what}: the file is none of the generations {generations:?}"))
}

/// Returns the names of a directory that aren't the file's or its marker's.
pub(super) fn leftovers(directory: &Path) -> Vec<String> {
    let name = writer::name();
    let known = [name.to_owned(), format!("{name}.done"), "lost+found".to_owned()];
    let names =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !known.contains(name)).collect()
}

/// Starts a writer, and kills it after a while.
fn kill_one(path: &Path, first: u64, life: Duration) -> Progress {
    let mut writer = Writer::start(path, first, u64::MAX);
    assert!(writer.wait_for_begin(), "the writer doesn't begin: {:?}", writer.finish());
    thread::sleep(life);
    writer.kill()
}

/// What came of the kills.
#[derive(Debug, Default)]
struct Tally {
    /// How many hit a save.
    in_midst: usize,
    /// How many of those came after the new file had its name.
    after_rename: usize,
    /// How many left a temporary file.
    with_leftovers: usize,
    /// How many saves were finished between them.
    finished: u64,
}

impl Tally {
    fn add(&mut self, progress: &Progress, first: u64, there: u64, leftovers: &[String]) {
        self.in_midst += usize::from(progress.is_in_midst());
        self.after_rename += usize::from(progress.is_in_midst() && progress.began == Some(there));
        self.with_leftovers += usize::from(!leftovers.is_empty());
        self.finished += progress.saved.map_or(0, |saved| saved + 1 - first);
    }
}

#[test]
fn a_killed_writer_leaves_the_old_file_or_the_new() {
    let directory = on_disk();
    let path = directory.path().join(writer::name());
    writer::save(&path, 0).unwrap();
    let (mut random, mut tally) = (Random::new(7), Tally::default());
    let (mut there, mut next) = (0, 1);
    for kill in 0..KILLS {
        let progress = kill_one(&path, next, Duration::from_micros(random.below(LONGEST_LIFE)));
        let what = format!("kill {kill}, {progress:?}");
        assert_eq!(progress.error, None, "{what}");
        let began = progress.began.expect("it was waited for");
        there = assert_whole(&path, [progress.saved.unwrap_or(there), began], &what);
        let left = leftovers(directory.path());
        tally.add(&progress, next, there, &left);
        if progress.saved.is_some() {
            // Of the file and of its marker, of the save that was killed; a finished one removes older ones.
            assert!(left.len() <= 2, "{what}: leftovers aren't removed: {left:?}");
        }
        next = began + 1;
        if kill % 20 == 0 {
            writer::save(&path, next).unwrap();
            assert_eq!(leftovers(directory.path()), [""; 0], "{what}: left by a save after the kill");
            (there, next) = (next, next + 1);
        }
    }
    println!("killed {KILLS} times: {tally:?}");
    assert!(tally.in_midst * 4 > KILLS, "too few kills hit a save: {tally:?}");
}
