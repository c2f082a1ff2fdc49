//! A disk that is full.

use std::fs;
use std::io::Write;
use std::path::Path;

use super::kill::{assert_whole, leftovers};
use super::mount::{Kind, Mount};
use super::writer;

/// Fills a file system until nothing more goes in; then gives `free` bytes back.
fn fill(directory: &Path, free: u64) {
    let mut file = fs::File::create(directory.join("filler")).unwrap();
    let block = vec![0xff; 64 << 10];
    while file.write_all(&block).is_ok() {}
    file.sync_all().ok();
    let len = file.metadata().unwrap().len();
    file.set_len(len - free).unwrap();
    file.sync_all().unwrap();
}

#[test]
fn a_full_disk_keeps_the_old_file() {
    let mount = match Mount::new(&Kind::EXT4) {
        Ok(mount) => mount,
        Err(reason) => return println!("left out: {reason}"),
    };
    let path = mount.path().join(writer::name());
    writer::save(&path, 0).unwrap();
    fill(&mount.path(), 300_000);
    for generation in 1..4 {
        let needed = writer::file(generation).len();
        let error = writer::save(&path, generation).unwrap_err().to_string();
        println!("on a full disk: {error}");
        assert!(error.contains(&needed.to_string()), "the bytes that are needed aren't named: {error}");
        let free: Option<u64> = numbers(&error).find(|number| (1..needed as u64).contains(number));
        assert!(free.is_some(), "the bytes that are free aren't named: {error}");
        assert_whole(&path, [0; 2], "on a full disk");
        assert_eq!(leftovers(&mount.path()), ["filler"]);
    }
    fs::remove_file(mount.path().join("filler")).unwrap();
    writer::save(&path, 1).unwrap();
    assert_whole(&path, [1; 2], "with room again");
}

/// Returns the numbers in a text.
fn numbers(text: &str) -> impl Iterator<Item = u64> {
    text.split(|character: char| !character.is_ascii_digit()).filter_map(|digits| digits.parse().ok())
}
