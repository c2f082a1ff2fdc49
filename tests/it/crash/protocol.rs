//! The fake disk itself: does it show what is wrong with a save that leaves out a step?

use std::collections::BTreeSet;
use std::io;

use ckpt::io::commit::{Disk, Existing};

use super::disk::{FakeDisk, Way};
use super::fault::{Done, EIO, Fault};
use super::image::Image;
use super::journal::{Journal, Method};
use super::power::{Cut, PowerLoss};
use super::survival::survivals;

/// What a save may leave out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Steps {
    All,
    WithoutSync,
    WithoutDirectorySync,
    InPlace,
}

const OLD: [u8; 2000] = [b'o'; 2000];
const NEW: [u8; 3000] = [b'n'; 3000];

/// The least that a save must do, or less.
fn tiny_save(disk: &dyn Disk, steps: Steps) -> io::Result<()> {
    let (path, temporary) = (FakeDisk::path("a"), FakeDisk::path("a.tmp"));
    if steps == Steps::InPlace {
        disk.remove(&path)?;
    }
    let name = if steps == Steps::InPlace { &path } else { &temporary };
    let file = disk.create(name, 0o666)?;
    file.write_all_at(&NEW[..1500], 0)?;
    file.write_all_at(&NEW[1500..], 1500)?;
    if steps != Steps::WithoutSync {
        file.sync()?;
    }
    file.close()?;
    if steps != Steps::InPlace {
        disk.rename(&temporary, &path, Existing::Replace)?;
    }
    if steps != Steps::WithoutDirectorySync {
        disk.sync_directory(FakeDisk::DIRECTORY.as_ref())?;
    }
    Ok(())
}

fn disk() -> FakeDisk {
    FakeDisk::new(Image::default().with("a", OLD.to_vec()), Way::Buffered)
}

fn journal(steps: Steps) -> Journal {
    let disk = disk();
    tiny_save(&disk, steps).unwrap();
    assert_eq!(disk.open_files(), 0);
    assert_eq!(disk.live(), Image::default().with("a", NEW.to_vec()));
    disk.journal()
}

/// Says what `a` is after the power went.
fn outcomes(journal: &Journal, cuts: impl Iterator<Item = Cut>) -> BTreeSet<&'static str> {
    let mut outcomes = BTreeSet::new();
    for cut in cuts {
        let loss = PowerLoss::at(journal, cut);
        for survival in survivals(&loss, 20, 1) {
            let image = loss.image(&loss.key(&survival));
            outcomes.insert(match image.get("a") {
                None => "absent",
                Some(bytes) if bytes[..] == OLD => "old",
                Some(bytes) if bytes[..] == NEW => "new",
                Some(bytes) if bytes.is_empty() => "empty",
                Some(_) => "garbage",
            });
        }
    }
    outcomes
}

fn all_cuts(journal: &Journal) -> impl Iterator<Item = Cut> + use<> {
    let calls = journal.calls.len();
    (0..=calls).map(Cut::After).chain((0..calls).map(Cut::Midst))
}

fn end(journal: &Journal) -> impl Iterator<Item = Cut> + use<> {
    std::iter::once(Cut::After(journal.calls.len()))
}

#[test]
fn a_save_with_all_steps_leaves_the_old_or_the_new() {
    let journal = journal(Steps::All);
    assert_eq!(outcomes(&journal, all_cuts(&journal)), ["new", "old"].into());
    assert_eq!(outcomes(&journal, end(&journal)), ["new"].into());
}

#[test]
fn a_rename_before_the_sync_leaves_neither() {
    let journal = journal(Steps::WithoutSync);
    assert_eq!(outcomes(&journal, end(&journal)), ["empty", "garbage", "new"].into());
}

#[test]
fn a_rename_without_a_sync_of_the_directory_may_be_undone() {
    let journal = journal(Steps::WithoutDirectorySync);
    assert_eq!(outcomes(&journal, end(&journal)), ["new", "old"].into());
}

#[test]
fn writing_in_place_leaves_anything() {
    let journal = journal(Steps::InPlace);
    let all = ["absent", "empty", "garbage", "new", "old"].into();
    assert_eq!(outcomes(&journal, all_cuts(&journal)), all);
}

#[test]
fn names_survive_in_any_order_only_without_a_journal() {
    let disk = disk();
    for name in ["b", "c"] {
        disk.create(&FakeDisk::path(name), 0o666).unwrap().close().unwrap();
    }
    let journal = disk.journal();
    let loss = PowerLoss::at(&journal, Cut::After(journal.calls.len()));
    let names: BTreeSet<Vec<String>> =
        survivals(&loss, 0, 1).iter().map(|survival| loss.image(&loss.key(survival)).names()).collect();
    let expected = [vec!["a"], vec!["a", "b"], vec!["a", "b", "c"], vec!["a", "c"]];
    assert_eq!(names, expected.map(|names| names.into_iter().map(str::to_owned).collect()).into());
}

/// Two directories change places, and what a loss of power leaves of `a` and of `b` is said by one file in each.
#[test]
fn a_swap_happens_or_does_not() {
    let image = Image::default().with("a/", Vec::new()).with("a/old", Vec::new());
    let disk = FakeDisk::new(image.with("b/", Vec::new()).with("b/new", Vec::new()), Way::Buffered);
    let (a, b) = (FakeDisk::path("a"), FakeDisk::path("b"));
    assert!(disk.rename(&a, &FakeDisk::path("c"), Existing::Swap).is_err(), "there is no c");
    disk.rename(&a, &b, Existing::Swap).unwrap();
    let left = |disk: &FakeDisk| {
        let journal = disk.journal();
        let loss = PowerLoss::at(&journal, Cut::After(journal.calls.len()));
        let images =
            survivals(&loss, 0, 1).into_iter().map(|survival| loss.image(&loss.key(&survival)).names());
        images.map(|names| names.join(" ")).collect::<BTreeSet<_>>()
    };
    let (before, after) = ("a/ a/old b/ b/new", "a/ a/new b/ b/old");
    assert_eq!(left(&disk), [after, before].map(str::to_owned).into());
    disk.sync_directory(FakeDisk::DIRECTORY.as_ref()).unwrap();
    assert_eq!(left(&disk), [after.to_owned()].into());
    let disk = disk.without_swaps();
    let error = disk.rename(&a, &b, Existing::Swap).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
}

/// A move to another directory is durable as a whole, with what it moves, once either of the two is synced.
#[test]
fn a_move_is_durable_with_what_was_moved() {
    for synced in ["", "b"] {
        let disk = FakeDisk::new(Image::default().with("b/", Vec::new()), Way::Buffered);
        disk.create_directory(&FakeDisk::path("b/c")).unwrap();
        disk.rename(&FakeDisk::path("b/c"), &FakeDisk::path("d"), Existing::Keep).unwrap();
        disk.sync_directory(&FakeDisk::path(synced)).unwrap();
        let journal = disk.journal();
        let loss = PowerLoss::at(&journal, Cut::After(journal.calls.len()));
        for survival in survivals(&loss, 0, 1) {
            assert_eq!(loss.image(&loss.key(&survival)).names(), ["b/", "d/"], "{synced}");
        }
    }
}

#[test]
fn each_call_fails_when_told_to() {
    let calls = journal(Steps::All).calls;
    for (number, call) in calls.iter().enumerate() {
        let disk = disk().failing(Fault { call: number, error: EIO, done: Done::Nothing });
        let error = tiny_save(&disk, Steps::All).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(EIO), "{:?}", call.method);
        assert_eq!(disk.open_files(), 0, "{:?}", call.method);
    }
}

#[test]
fn what_a_failed_sync_lost_no_later_sync_makes_durable() {
    let disk = disk().failing(Fault { call: 2, error: EIO, done: Done::Nothing });
    let file = disk.create(&FakeDisk::path("b"), 0o666).unwrap();
    file.write_all_at(b"bytes", 0).unwrap();
    file.sync().unwrap_err();
    file.sync().unwrap();
    disk.sync_directory(FakeDisk::DIRECTORY.as_ref()).unwrap();
    let journal = disk.journal();
    let loss = PowerLoss::at(&journal, Cut::After(journal.calls.len()));
    assert_eq!(loss.unsynced().len(), 1);
}

#[test]
fn half_a_write_and_a_flipped_bit_are_there() {
    for (done, left) in [(Done::Half, &b"abcd"[..]), (Done::Flipped, b"abcddfgh"), (Done::All, b"abcdefgh")] {
        let disk = disk().failing(Fault { call: 1, error: EIO, done });
        let file = disk.create(&FakeDisk::path("b"), 0o666).unwrap();
        assert_eq!(file.write_all_at(b"abcdefgh", 0).is_ok(), done == Done::Flipped);
        assert_eq!(disk.live().get("b").unwrap()[..], *left);
        assert_eq!(disk.journal().calls[1].method, Method::Write);
    }
}

#[test]
fn a_file_is_abandoned_once_it_is_closed() {
    let disk = disk();
    let path = FakeDisk::path("b");
    let file = disk.create(&path, 0o666).unwrap();
    assert!(!disk.remove_abandoned(&path).unwrap());
    drop(file);
    assert!(disk.remove_abandoned(&path).unwrap());
    assert!(disk.stat(&path).unwrap().is_none());
}

#[test]
fn a_direct_write_may_turn_out_to_be_buffered() {
    let disk = FakeDisk::new(Image::default(), Way::Pretended(4096)).with_free(100);
    let file = disk.create(&FakeDisk::path("b"), 0o666).unwrap();
    assert_eq!(file.alignment(), Some(4096));
    file.write_all_at(b"x", 0).unwrap();
    assert_eq!(file.alignment(), None);
    assert_eq!(disk.free_bytes(FakeDisk::DIRECTORY.as_ref()).unwrap(), 100);
    assert_eq!(file.allocate(101).unwrap_err().kind(), io::ErrorKind::StorageFull);
}
