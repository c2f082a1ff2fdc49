//! Others at work on the same file: two who save it, and one who reads.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use ckpt::{Integrity, Verdict, VerifyOptions, verify};

use super::super::saving::{self, Format, Manner, Size};
use super::kill::{leftovers, on_disk};

/// The reader looks until this many saves were made.
const SAVES: u64 = 500;

/// How the two save: fast, so that much happens.
fn manner() -> Manner {
    Manner { marker: true, validate: false, durable: false, ..Manner::new(Format::Safetensors) }
}

/// Saves generation after generation until it is told to stop.
fn save_on_and_on(path: &Path, stop: &AtomicBool, saves: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        let generation = saves.fetch_add(1, Ordering::Relaxed) % 7;
        saving::save(path, generation, Size::Small, &manner()).unwrap();
    }
}

/// Verifies again and again, with the marker that must be there; returns how often, and what it found wrong.
fn look(path: &Path, saves: &AtomicU64) -> (usize, Vec<String>) {
    let mut options = VerifyOptions::default().with_threads(1);
    options.require_marker = true;
    let (mut looks, mut wrong) = (0, Vec::new());
    while saves.load(Ordering::Relaxed) < SAVES {
        let report = verify(path, &options);
        looks += 1;
        if (report.verdict, report.integrity) != (Verdict::Valid, Integrity::Full) {
            wrong.push(format!("{:?}", report.findings));
        }
    }
    (looks, wrong)
}

#[test]
fn a_reader_beside_two_writers_finds_a_whole_file_at_every_moment() {
    let directory = on_disk();
    let path = directory.path().join(saving::name(manner().format));
    saving::save(&path, 0, Size::Small, &manner()).unwrap();
    let (stop, saves) = (AtomicBool::new(false), AtomicU64::new(1));
    let (looks, wrong) = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| save_on_and_on(&path, &stop, &saves));
        }
        let found = look(&path, &saves);
        stop.store(true, Ordering::Relaxed);
        found
    });
    println!("{looks} looks beside {SAVES} saves");
    assert_eq!(wrong, [""; 0]);
    assert_eq!(leftovers(directory.path()), [""; 0]);
}
