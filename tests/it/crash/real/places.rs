//! Where a file may be: in memory, and on an overlay.

use std::fs;
use std::path::Path;

use super::kill::{assert_whole, leftovers, on_disk};
use super::mount::Mount;
use super::writer;

/// Saves twice, over what may be there already.
fn save_twice(directory: &Path) {
    let path = directory.join(writer::name());
    for generation in [1, 2] {
        let saved = writer::save(&path, generation).unwrap();
        assert_eq!(saved.bytes, fs::metadata(&path).unwrap().len());
        assert_whole(&path, [generation; 2], &directory.display().to_string());
        assert_eq!(leftovers(directory), [""; 0]);
    }
}

#[test]
fn a_file_in_memory() {
    if !Path::new("/dev/shm").is_dir() {
        return println!("left out: there is no /dev/shm");
    }
    save_twice(tempfile::tempdir_in("/dev/shm").unwrap().path());
}

#[test]
fn a_file_on_a_disk() {
    save_twice(on_disk().path());
}

/// The old file lies in the lower layer, which stays as it is.
#[test]
fn a_file_on_an_overlay() {
    let lower = on_disk();
    let below = lower.path().join(writer::name());
    writer::save(&below, 0).unwrap();
    match Mount::overlay(lower.path()) {
        Ok(mount) => save_twice(&mount.path()),
        Err(reason) => println!("left out: {reason}"),
    }
    assert_whole(&below, [0; 2], "the lower layer");
}
