//! What a crash leaves of a run: the checkpoints that were there, and the new one whole or not at all.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use ckpt::State;
use ckpt::io::commit::is_temporary;
use ckpt::manager::{CommitOptions, Manager, ManagerOptions, ResumeOptions, Run, SaveRequest, resume};
use ckpt::record::CheckpointId;
use ckpt::save::SaveOptions;

use super::disk::{FakeDisk, Way};
use super::fault::{Done, EIO, ENOSPC, Fault};
use super::image::Image;
use super::journal::{Effect, Journal, Method};
use super::power::{Cut, PowerLoss};
use super::survival::survivals;

/// Returns the name of a checkpoint.
fn id(step: u64) -> CheckpointId {
    CheckpointId { generation: 0, step }
}

fn state(step: u64) -> State<'static> {
    let mut state = State::new();
    let bytes = step.to_le_bytes().repeat(50);
    state.insert("w", ckpt::tensor::TensorView::new(ckpt::Dtype::U8, [400], bytes).unwrap()).unwrap();
    state
}

/// Opens the run of a disk. With one thread, calls come in the same order in every run.
fn open(disk: &FakeDisk) -> Manager {
    let options = ManagerOptions::default().with_save(SaveOptions::default().with_threads(1));
    Manager::on(Arc::new(disk.clone()), FakeDisk::DIRECTORY.as_ref(), options).unwrap()
}

fn save(manager: &Manager, step: u64) -> Result<(), ckpt::Error> {
    let request = SaveRequest::at(step).with_artifact("notes.txt", "fine");
    manager.save(request, &state(step)).map(drop)
}

/// Returns what is on a disk when these steps were saved.
fn image_of(steps: &[u64]) -> Image {
    let disk = FakeDisk::new(Image::default(), Way::Buffered);
    let manager = open(&disk);
    for step in steps {
        save(&manager, *step).unwrap();
    }
    drop(manager);
    assert_eq!(disk.open_files(), 0);
    disk.live()
}

/// What may be there, and what must.
struct Law<'l> {
    /// The steps that must be there.
    must: &'l [u64],
    /// The steps that may be.
    may: &'l [u64],
}

impl Law<'_> {
    /// Holds what is there against it: every checkpoint is whole, and the newest is what is resumed from.
    fn judge(&self, run: &Run) -> Result<(), String> {
        let list = run.list().map_err(|error| error.to_string())?;
        if let Some(listed) = list.iter().find(|listed| !listed.is_whole()) {
            return Err(format!("{} isn't whole: {:?}", listed.id, listed.finding));
        }
        let found: BTreeSet<u64> = list.iter().map(|listed| listed.id.step).collect();
        if let Some(step) = self.must.iter().find(|step| !found.contains(step)) {
            return Err(format!("{step} is gone"));
        }
        if let Some(step) = found.iter().find(|step| !self.must.contains(step) && !self.may.contains(step)) {
            return Err(format!("{step} was never saved"));
        }
        let resumed = resume(run, &ResumeOptions::default()).map_err(|error| error.to_string())?;
        let step = resumed.as_ref().map(ckpt::manager::Resumed::step);
        if step != found.last().copied() {
            return Err(format!("resumed from {step:?}, and there are {found:?}"));
        }
        let is_right = |resumed: ckpt::manager::Resumed| {
            let bytes = resumed.state.tensor("w").map(|tensor| tensor.bytes().unwrap().to_vec());
            resumed.skipped.is_empty() && bytes == Some(resumed.step().to_le_bytes().repeat(50))
        };
        if resumed.is_none_or(is_right) { Ok(()) } else { Err("another state was resumed".into()) }
    }
}

/// Lays out an image on the real disk.
pub(super) fn lay_out(image: &Image) -> tempfile::TempDir {
    let place = ["/dev/shm", "."].into_iter().find(|place| Path::new(place).is_dir()).unwrap();
    let directory = tempfile::tempdir_in(place).unwrap();
    for (path, bytes) in image.files() {
        let path = path.to_str().unwrap();
        let there = directory.path().join(path);
        if path.ends_with('/') { fs::create_dir(there).unwrap() } else { fs::write(there, &**bytes).unwrap() }
    }
    directory
}

/// Returns what tells one image from another: of what is staged only whether it is there.
fn shape(image: &Image) -> Vec<(String, u64)> {
    let is_staged = |path: &str| path.split('/').any(|name| is_temporary(name.as_ref()));
    let mut shape = Vec::new();
    for (path, bytes) in image.files() {
        let path = path.to_str().unwrap();
        if !is_staged(path) {
            let digest = ckpt::digest::Crc32::of(bytes).value();
            shape.push((path.to_owned(), u64::from(digest)));
        } else if path.ends_with('/') {
            shape.push(("staged".to_owned(), 0));
        }
    }
    shape
}

/// Returns all images that a loss of power at these moments may leave, each once.
pub(super) fn images(journal: &Journal, cuts: &[Cut]) -> Vec<Image> {
    let (mut seen, mut images) = (HashSet::new(), Vec::new());
    for (number, cut) in cuts.iter().enumerate() {
        let loss = PowerLoss::at(journal, *cut);
        for survival in survivals(&loss, 6, number as u64) {
            let image = loss.image(&loss.key(&survival));
            if seen.insert(shape(&image)) {
                images.push(image);
            }
        }
    }
    images
}

pub(super) fn all_cuts(journal: &Journal) -> Vec<Cut> {
    let calls = journal.calls.len();
    (0..=calls).map(Cut::After).chain((0..calls).map(Cut::Midst)).collect()
}

/// Finds an image that breaks the law.
fn broken(journal: &Journal, cuts: &[Cut], law: &Law<'_>) -> Option<String> {
    images(journal, cuts).iter().find_map(|image| {
        let directory = lay_out(image);
        let judged = law.judge(&Run::open(directory.path()).unwrap());
        judged.err().map(|problem| format!("{problem}: {:?}", image.names()))
    })
}

/// Asserts that the law holds at every moment, and another one at the end.
fn assert_holds(journal: &Journal, during: &Law<'_>, after: &Law<'_>) -> usize {
    let cuts = all_cuts(journal);
    assert_eq!(broken(journal, &cuts, during), None);
    assert_eq!(broken(journal, &[Cut::After(journal.calls.len())], after), None);
    cuts.len()
}

#[test]
fn the_first_save_survives_every_cut() {
    let disk = FakeDisk::new(Image::default(), Way::Buffered);
    save(&open(&disk), 100).unwrap();
    let during = Law { must: &[], may: &[100] };
    let cuts = assert_holds(&disk.journal(), &during, &Law { must: &[100], may: &[] });
    println!("{cuts} moments");
}

#[test]
fn a_later_save_survives_every_cut() {
    for way in [Way::Buffered, Way::Direct(4096)] {
        let disk = FakeDisk::new(image_of(&[100]), way);
        save(&open(&disk), 200).unwrap();
        let during = Law { must: &[100], may: &[200] };
        assert_holds(&disk.journal(), &during, &Law { must: &[100, 200], may: &[] });
    }
}

#[test]
fn a_removal_survives_every_cut() {
    let disk = FakeDisk::new(image_of(&[100, 200]), Way::Buffered);
    let run = Run::on(Arc::new(disk.clone()), FakeDisk::DIRECTORY.as_ref()).unwrap();
    let lock = run.lock().unwrap();
    assert!(run.remove(id(100)).unwrap());
    drop(lock);
    let during = Law { must: &[200], may: &[100] };
    assert_holds(&disk.journal(), &during, &Law { must: &[200], may: &[] });
    let steps: Vec<_> = run.ids().unwrap().iter().map(|id| id.step).collect();
    assert_eq!(steps, [200]);
}

/// The next writer removes what a crash left, and goes on.
#[test]
fn after_every_cut_the_next_writer_goes_on() {
    let disk = FakeDisk::new(image_of(&[100]), Way::Buffered);
    save(&open(&disk), 200).unwrap();
    let journal = disk.journal();
    let mut leftovers = 0;
    for image in images(&journal, &all_cuts(&journal)) {
        let staged = |image: &Image| image.names().iter().any(|name| name.contains(".ckpt-"));
        leftovers += usize::from(staged(&image));
        let next = FakeDisk::new(image, Way::Buffered);
        save(&open(&next), 300).unwrap();
        assert!(!staged(&next.live()), "{:?}", next.live().names());
        let directory = lay_out(&next.live());
        Law { must: &[100, 300], may: &[200] }.judge(&Run::open(directory.path()).unwrap()).unwrap();
    }
    assert!(leftovers > 0);
}

/// Each thing that is synced must be, and the cuts show it.
#[test]
fn a_save_that_leaves_out_a_sync_breaks_the_law() {
    let disk = FakeDisk::new(image_of(&[100]), Way::Buffered);
    save(&open(&disk), 200).unwrap();
    let journal = disk.journal();
    let target = |effect: &Effect| match effect {
        Effect::Synced(file) => Some((false, *file)),
        Effect::SyncedDirectory(directory) => Some((true, *directory)),
        _ => None,
    };
    let targets: BTreeSet<_> = journal.calls.iter().filter_map(|call| target(&call.effect)).collect();
    assert_eq!(targets.len(), 5, "three files, the staged directory, and the one that it is in");
    for one in targets {
        let mut without = journal.clone();
        without.calls.retain(|call| target(&call.effect) != Some(one));
        let during = Law { must: &[100], may: &[200] };
        let after = Law { must: &[100, 200], may: &[] };
        let end = [Cut::After(without.calls.len())];
        let is_broken = broken(&without, &all_cuts(&without), &during).is_some()
            || broken(&without, &end, &after).is_some();
        assert!(is_broken, "nothing is lost without {one:?}");
    }
}

/// Every call fails once, and the save is tried again.
#[test]
fn after_every_fault_the_old_is_there_and_another_try_goes_through() {
    let start = image_of(&[100]);
    let fine = FakeDisk::new(start.clone(), Way::Buffered);
    let before = fine.journal().calls.len();
    save(&open(&fine), 200).unwrap();
    let calls = fine.journal().calls;
    let mut gave_up = 0;
    for (number, call) in calls.iter().enumerate().skip(before) {
        for (error, done) in [(EIO, Done::Nothing), (ENOSPC, Done::Nothing), (EIO, Done::All)] {
            if done == Done::All && !matches!(call.method, Method::Rename | Method::SyncDirectory) {
                continue;
            }
            let what = format!("{:?} {:?}, {done:?}", call.method, call.name);
            let disk =
                FakeDisk::new(start.clone(), Way::Buffered).failing(Fault { call: number, error, done });
            let options = ManagerOptions::default().with_save(SaveOptions::default().with_threads(1));
            let manager = Manager::on(Arc::new(disk.clone()), FakeDisk::DIRECTORY.as_ref(), options);
            let Ok(manager) = manager else { continue };
            let first = save(&manager, 200);
            gave_up += usize::from(first.is_err());
            let ids = manager.run().ids().unwrap();
            assert!(ids.contains(&id(100)), "{what}");
            assert!(first.is_err() || ids.contains(&id(200)), "{what}");
            save(&manager, 200).unwrap_or_else(|error| panic!("{what}: {error}"));
            drop(manager);
            assert_eq!(disk.open_files(), 0, "{what}");
            let names = disk.live().names();
            assert!(!names.iter().any(|name| name.contains(".ckpt-")), "{what}: {names:?}");
            let directory = lay_out(&disk.live());
            Law { must: &[100, 200], may: &[] }.judge(&Run::open(directory.path()).unwrap()).unwrap();
        }
    }
    assert!(gave_up > 20, "{gave_up}");
}

/// Room that is missing is said before anything is made, with numbers.
#[test]
fn a_full_disk_is_said_with_numbers_and_nothing_is_staged() {
    let start = image_of(&[100]);
    let disk = FakeDisk::new(start.clone(), Way::Buffered).with_free(399);
    let error = save(&open(&disk), 200).unwrap_err().to_string();
    assert!(error.contains("it needs 404 bytes, and 399 are free"), "{error}");
    assert_eq!(disk.live(), start);
    assert!(!disk.journal().calls.iter().any(|call| call.method == Method::CreateDirectory));
}

/// A checkpoint that came to the name in the meantime stays as it is.
#[test]
fn a_name_is_given_once() {
    let disk = FakeDisk::new(image_of(&[100]), Way::Buffered);
    let run = Run::on(Arc::new(disk.clone()), FakeDisk::DIRECTORY.as_ref()).unwrap();
    let before = disk.live();
    let committed = ckpt::manager::commit(
        &run,
        id(100),
        None,
        &SaveRequest::at(100),
        &state(7),
        &CommitOptions::default(),
    );
    assert!(committed.unwrap_err().to_string().contains("none is written into again"));
    assert_eq!(disk.live(), before);
}
