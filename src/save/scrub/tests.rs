//! Runs over real files, by a clock that stands still.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::clock::tests::StillClock;
use super::memory::Memory;
use super::*;
use crate::record::{Code, Level, ScrubEnd, ScrubSummary, Verdict};
use crate::validate::{ProgressSink, VerifyOptions};

/// A safetensors file with one tensor of this many bytes, behind 72 bytes of header.
fn safetensors(bytes: usize) -> Vec<u8> {
    let header = format!("{{\"w\":{{\"dtype\":\"U8\",\"shape\":[{bytes}],\"data_offsets\":[0,{bytes}]}}}}");
    let mut file = 64_u64.to_le_bytes().to_vec();
    file.extend(format!("{header:64}").into_bytes());
    file.extend((0..bytes).map(|at| at.to_le_bytes()[0]));
    file
}

struct Shelf(tempfile::TempDir);

impl Shelf {
    fn with(files: &[&str]) -> Self {
        let shelf = Self(tempfile::tempdir().unwrap());
        for file in files {
            fs::write(shelf.at(file), safetensors(928)).unwrap();
        }
        shelf
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn memory(&self) -> Memory {
        Memory::parse(&fs::read(self.at(Scrub::MEMORY)).unwrap()).unwrap()
    }

    fn begin(&self, second: i64, options: ScrubOptions) -> Scrub {
        self.begin_by(&clock(second), options)
    }

    fn begin_by(&self, clock: &Arc<StillClock>, options: ScrubOptions) -> Scrub {
        Scrub::begin_at(self.0.path(), options, Arc::clone(clock) as Arc<dyn Clock>).unwrap()
    }

    /// Runs to the end; returns the names in the order in which they were read.
    fn run(&self, second: i64, options: ScrubOptions) -> (Vec<String>, ScrubSummary) {
        let mut scrub = self.begin(second, options);
        let names = scrub.by_ref().map(|report| name(&report.path)).collect();
        (names, scrub.finish().unwrap())
    }
}

fn clock(second: i64) -> Arc<StillClock> {
    Arc::new(StillClock::at(Timestamp::from_second(second).unwrap()))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// Changes a byte, and gives the file its time of modification back.
fn rot(path: &Path) {
    let time = fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn each_run_goes_on_where_the_last_one_ended() {
    let shelf = Shelf::with(&["a.safetensors", "b.safetensors", "c.safetensors"]);
    let one = || ScrubOptions::default().with_max_bytes(1);
    let names: Vec<_> = (1..=5).flat_map(|second| shelf.run(second, one()).0).collect();
    assert_eq!(names, ["a", "b", "c", "a", "b"].map(|name| format!("{name}.safetensors")));
    fs::write(shelf.at("d.safetensors"), safetensors(928)).unwrap();
    let (names, summary) = shelf.run(6, one());
    assert_eq!(names, ["d.safetensors"]);
    assert_eq!((summary.checkpoints, summary.checked, summary.left), (4, 1, 3));
    assert_eq!((summary.left_bytes, summary.ended), (3000, ScrubEnd::Bytes));
}

#[test]
fn what_was_verified_recently_is_passed_over_until_it_changes() {
    let shelf = Shelf::with(&["a.safetensors", "b.safetensors"]);
    let week = || ScrubOptions::default().with_rate(None).with_older_than(Duration::from_hours(24 * 7));
    assert_eq!(shelf.run(0, week()).1.valid, 2);
    assert_eq!(shelf.run(7 * 86_400 - 1, week()).1.recent, 2);
    fs::write(shelf.at("b.safetensors"), safetensors(900)).unwrap();
    assert_eq!(shelf.run(7 * 86_400 - 1, week()).0, ["b.safetensors"]);
    assert_eq!(shelf.run(7 * 86_400, week()).0, ["a.safetensors"]);
}

#[test]
fn bytes_that_change_in_silence_are_found() {
    let shelf = Shelf::with(&["a.safetensors"]);
    assert_eq!(shelf.run(1, ScrubOptions::default()).1.valid, 1);
    rot(&shelf.at("a.safetensors"));
    for second in [2, 3] {
        let mut scrub = shelf.begin(second, ScrubOptions::default());
        let report = scrub.next().unwrap();
        assert_eq!(
            (report.verdict, report.findings.last().unwrap().code),
            (Verdict::Corrupted, Code::ChecksumMismatch)
        );
        assert_eq!(scrub.finish().unwrap().corrupted, 1);
    }
    // What is known to be damaged is said again, until it is another file.
    let day = || ScrubOptions::default().with_older_than(Duration::from_hours(24));
    let (names, summary) = shelf.run(4, day());
    assert!(names.is_empty());
    assert_eq!(
        (name(&summary.standing[0].path), summary.standing[0].verdict),
        ("a.safetensors".into(), Verdict::Corrupted)
    );
    fs::write(shelf.at("a.safetensors"), safetensors(100)).unwrap();
    let (names, summary) = shelf.run(5, day());
    assert_eq!((names.len(), summary.valid, summary.standing.len()), (1, 1, 0));
}

#[test]
fn a_file_that_changes_while_it_is_read_was_not_verified() {
    let shelf = Shelf::with(&["a.safetensors"]);
    let path = shelf.at("a.safetensors");
    let append = ProgressSink::new(move |_| {
        File::options().append(true).open(&path).unwrap().write_all(b"more").unwrap();
    });
    let scrub = shelf.begin(1, ScrubOptions::default().with_progress(append));
    scrub.finish().unwrap();
    assert!(shelf.memory_text().is_none(), "nothing was read, and nothing is remembered");
    let path = shelf.at("a.safetensors");
    let append = ProgressSink::new(move |_| {
        File::options().append(true).open(&path).unwrap().write_all(b"more").unwrap();
    });
    shelf.run(1, ScrubOptions::default().with_progress(append));
    assert_eq!(shelf.memory().get("a.safetensors").unwrap().verified, None);
}

impl Shelf {
    fn memory_text(&self) -> Option<String> {
        fs::read_to_string(self.at(Scrub::MEMORY)).ok()
    }
}

#[test]
fn a_shallow_check_says_nothing_of_the_bytes() {
    let shelf = Shelf::with(&["a.safetensors"]);
    let shallow = VerifyOptions::default().with_level(Level::Container);
    shelf.run(1, ScrubOptions::default().with_verify(shallow));
    let entry = shelf.memory().get("a.safetensors").unwrap().clone();
    assert_eq!((entry.level, entry.contents), (Level::Container, None));
    let day = ScrubOptions::default().with_older_than(Duration::from_hours(24));
    assert_eq!(shelf.run(2, day).0, ["a.safetensors"]);
}

#[test]
fn a_run_that_is_killed_loses_nothing_that_was_written() {
    let shelf = Shelf::with(&["a.safetensors", "b.safetensors", "c.safetensors"]);
    let clock = clock(1);
    let mut scrub = shelf.begin_by(&clock, ScrubOptions::default());
    scrub.next().unwrap();
    clock.sleep(Duration::from_secs(1));
    scrub.next().unwrap();
    // As if it ended here: only what is on the disk goes on.
    let memory = shelf.at("memory-after-the-kill.json");
    fs::copy(shelf.at(Scrub::MEMORY), &memory).unwrap();
    let options = ScrubOptions::default().with_memory(memory).with_max_bytes(1);
    assert_eq!(shelf.run(10, options).0, ["c.safetensors"]);
    drop(scrub);
}

#[test]
fn two_at_once_are_one_too_many() {
    let shelf = Shelf::with(&["a.safetensors"]);
    let first = shelf.begin(1, ScrubOptions::default());
    let second = Scrub::begin(shelf.0.path(), ScrubOptions::default()).unwrap_err().to_string();
    assert!(second.contains(&format!("process {}", std::process::id())), "{second}");
    drop(first);
    assert!(Scrub::begin(shelf.0.path(), ScrubOptions::default()).is_ok());
}

#[test]
fn a_run_keeps_to_its_rate_and_its_time() {
    let shelf = Shelf::with(&[]);
    for name in ["a.safetensors", "b.safetensors", "c.safetensors"] {
        fs::write(shelf.at(name), safetensors(99_928)).unwrap();
    }
    let clock = clock(1);
    let options = ScrubOptions::default().with_rate(Some(10_000)).with_time(Duration::from_secs(25));
    let mut scrub = shelf.begin_by(&clock, options);
    assert_eq!(scrub.bytes_due(), 300_000);
    // Ten seconds each, and a little for the headers: the third would end after the time.
    assert_eq!(scrub.by_ref().count(), 2);
    let summary = scrub.finish().unwrap();
    assert_eq!((summary.ended, summary.left), (ScrubEnd::Time, 1));
    assert!((20_000..22_000).contains(&summary.elapsed_ms), "{}", summary.elapsed_ms);
    // The first is begun even where there is no time at all.
    let none = ScrubOptions::default().with_rate(Some(1)).with_time(Duration::ZERO);
    assert_eq!(shelf.run(100, none).0, ["c.safetensors"]);
}

#[test]
fn what_is_gone_is_forgotten_and_a_damaged_memory_is_put_aside() {
    let shelf = Shelf::with(&["a.safetensors", "b.safetensors"]);
    shelf.run(1, ScrubOptions::default());
    fs::remove_file(shelf.at("a.safetensors")).unwrap();
    assert_eq!(shelf.run(2, ScrubOptions::default()).1.forgotten, 1);
    assert!(shelf.memory().get("a.safetensors").is_none());
    fs::write(shelf.at(Scrub::MEMORY), b"{\"schema\":\"ckpt.scrub-memory/1\",\"checkpo").unwrap();
    let day = ScrubOptions::default().with_older_than(Duration::from_hours(24));
    let (names, summary) = shelf.run(3, day);
    assert_eq!((names.len(), summary.set_aside.is_some()), (1, true));
    assert!(shelf.memory().get("b.safetensors").unwrap().verified.is_some());
}

#[test]
fn a_directory_that_is_the_problem_is_an_error() {
    let shelf = Shelf::with(&[]);
    assert!(Scrub::begin(shelf.0.path(), ScrubOptions::default()).is_err());
    assert!(Scrub::begin(&shelf.at("gone"), ScrubOptions::default()).is_err());
    fs::write(shelf.at("a.pt"), b"x").unwrap();
    assert!(Scrub::begin(&shelf.at("a.pt"), ScrubOptions::default()).is_err());
}
