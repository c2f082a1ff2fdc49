//! Back from a checkpoint that can't be used to one that can.

use std::fs;

use ckpt::io::commit::{Durability, LocalDisk, write_small};
use ckpt::manager::{Manager, ResumeOptions, Resumed, latest};
use ckpt::record::{CheckpointId, Manifest};
use ckpt::{Code, Dtype, Error, ErrorKind, Level, LoadOptions};

use super::{STATE, assert_is, change, file, run_of, save_all, state};

/// What is done to the newest checkpoint, and how it is found out.
type Damage = (&'static str, fn(&Manager), Code);

const NEWEST: u64 = 300;

fn truncated(manager: &Manager) {
    change(&file(manager, NEWEST, STATE), |bytes| bytes.truncate(bytes.len() - 100));
}

fn flipped(manager: &Manager) {
    change(&file(manager, NEWEST, STATE), |bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 0x10;
    });
}

fn unfinished(manager: &Manager) {
    fs::remove_file(file(manager, NEWEST, Manifest::NAME)).unwrap();
}

/// Another checkpoint's file is sound, and isn't this one's.
fn mixed_up(manager: &Manager) {
    fs::copy(file(manager, 200, STATE), file(manager, NEWEST, STATE)).unwrap();
}

fn of_another_name(manager: &Manager) {
    fs::copy(file(manager, 200, Manifest::NAME), file(manager, NEWEST, Manifest::NAME)).unwrap();
}

const DAMAGES: [Damage; 7] = [
    ("truncated", truncated, Code::SizeMismatch),
    ("bit-flipped", flipped, Code::ChecksumMismatch),
    ("unfinished", unfinished, Code::ArtifactMissing),
    ("without its state", |m| fs::remove_file(file(m, NEWEST, STATE)).unwrap(), Code::ArtifactMissing),
    (
        "with a changed manifest",
        |m| {
            change(&file(m, NEWEST, Manifest::NAME), |bytes| bytes[40] ^= 1);
        },
        Code::IndexMalformed,
    ),
    (
        "with a changed note",
        |m| fs::write(file(m, NEWEST, "notes.txt"), "fime").unwrap(),
        Code::ChecksumMismatch,
    ),
    (
        "never written back",
        |m| {
            change(&file(m, NEWEST, STATE), |bytes| bytes.fill(0));
        },
        Code::AllZero,
    ),
];

#[test]
fn a_damaged_or_unfinished_newest_one_is_skipped_with_the_reason() {
    for (name, damage, code) in DAMAGES {
        let (_directory, manager) = run_of(&[100, 200, NEWEST]);
        damage(&manager);
        let resumed = manager.resume().unwrap_or_else(|error| panic!("{name}: {error}")).unwrap();
        assert_is(&resumed, 200);
        let [skipped] = &resumed.skipped[..] else { panic!("{name}: {:?}", resumed.skipped) };
        assert_eq!((skipped.id.step, skipped.finding.code), (NEWEST, code), "{name}: {skipped:?}");
        let latest = manager.latest(Level::Load).unwrap().unwrap();
        assert_eq!((latest.id, latest.skipped.len()), (resumed.id, 1), "{name}");
    }
}

/// Nothing is damaged where files were mixed up, by hand: which of them is meant is for people to say.
#[test]
fn mixed_up_files_stop_the_walk() {
    for (name, mix) in
        [("another's state", mixed_up as fn(&Manager)), ("another's manifest", of_another_name)]
    {
        let (_directory, manager) = run_of(&[100, 200, NEWEST]);
        mix(&manager);
        let error = manager.resume().unwrap_err();
        let code = error.finding().map(|finding| finding.code);
        assert_eq!((error.kind(), code), (ErrorKind::Incompatible, Some(Code::IndexDisagrees)), "{name}");
        assert!(error.to_string().contains("good one is step-0000000200"), "{name}: {error}");
        let resumed = manager.resume_with(&ResumeOptions::default().with_force()).unwrap().unwrap();
        assert_is(&resumed, 200);
        assert_eq!(resumed.skipped[0].finding.code, Code::IndexDisagrees, "{name}");
    }
}

/// Says that all these steps are as they would be if the job had died in the middle of everything.
#[test]
fn several_are_skipped_one_after_the_other() {
    let (_directory, manager) = run_of(&[100, 200, NEWEST, 400, 500]);
    flipped(&manager);
    change(&file(&manager, 400, STATE), |bytes| bytes.truncate(5000));
    fs::remove_file(file(&manager, 500, Manifest::NAME)).unwrap();
    fs::create_dir(file(&manager, 600, "")).unwrap();
    let resumed = manager.resume().unwrap().unwrap();
    assert_is(&resumed, 200);
    let skipped: Vec<_> = resumed.skipped.iter().map(|one| (one.id.step, one.finding.code)).collect();
    let expected = [
        (600, Code::ArtifactMissing),
        (500, Code::ArtifactMissing),
        (400, Code::SizeMismatch),
        (300, Code::ChecksumMismatch),
    ];
    assert_eq!(skipped, expected);
    let text = serde_json::to_string(&resumed.skipped[0]).unwrap();
    assert!(text.starts_with(r#"{"id":"step-0000000600","path":"#), "{text}");
}

/// Asks for weights as they are here, and saves other ones as the newest.
fn with_an_incompatible_newest(steps: &[u64]) -> (tempfile::TempDir, Manager, ResumeOptions) {
    let (directory, manager) = run_of(steps);
    manager.save(1000, &state(1000, Dtype::I32)).unwrap();
    let options = ResumeOptions::default().with_required("model.weight:f32[500]".parse().unwrap());
    (directory, manager, options)
}

#[test]
fn an_incompatible_newest_one_stops_and_names_the_next_good_one() {
    let (_directory, manager, options) = with_an_incompatible_newest(&[100, 200, NEWEST]);
    flipped(&manager);
    let error = manager.resume_with(&options).unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Incompatible, "{text}");
    assert!(text.contains("step-0000001000") && text.contains("good one is step-0000000200"), "{text}");
    let looked = latest(manager.run(), &options).unwrap_err();
    assert_eq!(looked.kind(), ErrorKind::Incompatible, "{looked}");
    let resumed = manager.resume_with(&options.clone().with_force()).unwrap().unwrap();
    assert_is(&resumed, 200);
    let codes: Vec<_> = resumed.skipped.iter().map(|skipped| skipped.finding.code).collect();
    assert_eq!(codes, [Code::DtypeMismatch, Code::ChecksumMismatch]);
}

#[test]
fn without_a_good_one_that_is_said_and_never_nothing() {
    let (_directory, manager, options) = with_an_incompatible_newest(&[NEWEST]);
    flipped(&manager);
    let text = manager.resume_with(&options).unwrap_err().to_string();
    assert!(text.contains("no older one is good"), "{text}");
    let text = manager.resume_with(&options.with_force()).unwrap_err().to_string();
    assert!(text.contains("the newest of 2 checkpoints, and none of them"), "{text}");

    let (_directory, manager) = run_of(&[NEWEST]);
    unfinished(&manager);
    let error = manager.resume().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupted);
    assert!(error.to_string().contains("the only checkpoint"), "{error}");
}

#[test]
fn a_manifest_of_a_later_layout_is_no_damage() {
    let (_directory, manager) = run_of(&[100, NEWEST]);
    fs::write(file(&manager, NEWEST, Manifest::NAME), r#"{"layout": 2}"#).unwrap();
    let error = manager.resume().unwrap_err();
    assert_eq!(error.finding().map(|finding| finding.code), Some(Code::VersionTooNew));
    assert!(error.to_string().contains("step-0000000100"), "{error}");
}

/// What can't be read says nothing of the bytes: they may be there again tomorrow.
#[cfg(unix)]
#[test]
fn what_cannot_be_read_stops_as_well() {
    let (_directory, manager) = run_of(&[100, NEWEST]);
    let path = file(&manager, NEWEST, STATE);
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&path, &path).unwrap();
    let error = manager.resume().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert!(error.to_string().contains("good one is step-0000000100"), "{error}");
    let resumed = manager.resume_with(&ResumeOptions::default().with_force()).unwrap().unwrap();
    assert_is(&resumed, 100);
    assert_eq!(resumed.skipped[0].finding.code, Code::IoError);
}

/// A lower level believes more.
#[test]
fn each_level_looks_as_deep_as_it_says() {
    let step = |result: Result<Option<Resumed>, Error>| result.unwrap().unwrap().step();
    let at = |level| ResumeOptions::default().with_level(level);
    let latest = |manager: &Manager, level| manager.latest(level).unwrap().unwrap().id.step;
    for (damage, found_at) in [(flipped as fn(&Manager), Level::Load), (truncated, Level::Size)] {
        let (_directory, manager) = run_of(&[100, 200, NEWEST]);
        damage(&manager);
        for level in Level::ALL {
            let expected = if level < found_at { NEWEST } else { 200 };
            assert_eq!(step(manager.resume_with(&at(level))), expected, "{level}");
            assert_eq!(latest(&manager, level), expected, "{level}");
        }
    }
}

#[test]
fn a_part_can_be_loaded() {
    let (_directory, manager) = run_of(&[100]);
    let load = LoadOptions::default().with_tensors("model.*".parse().unwrap());
    let resumed = manager.resume_with(&ResumeOptions::default().with_load(load)).unwrap().unwrap();
    assert_is(&resumed, 100);
    assert_eq!(resumed.manifest.metrics["loss"].to_string(), "0.5");
    assert_eq!(fs::read(resumed.path.join("notes.txt")).unwrap(), b"fine");
}

/// A manifest that others made may name anything; its digest is easily made.
#[test]
fn a_manifest_leads_nowhere_else() {
    let (directory, manager) = run_of(&[100, 200]);
    let outside = directory.path().join("outside");
    fs::copy(file(&manager, 200, STATE), &outside).unwrap();
    let id = CheckpointId { generation: 0, step: 200 };
    let mut manifest = manager.run().manifest(id).unwrap();
    manifest.artifacts[0].name = "../../../outside".to_owned();
    let path = file(&manager, 200, Manifest::NAME);
    write_small(&LocalDisk, &path, manifest.encode().as_bytes(), Durability::Full).unwrap();
    let error = manager.resume().unwrap_err();
    assert_eq!(error.finding().map(|finding| finding.code), Some(Code::IndexDisagrees), "{error}");

    manifest.artifacts.clear();
    write_small(&LocalDisk, &path, manifest.encode().as_bytes(), Durability::Full).unwrap();
    assert_eq!(manager.resume().unwrap().unwrap().skipped[0].finding.code, Code::ArtifactMissing);
}

#[test]
fn one_of_torch_is_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let save = ckpt::SaveOptions::default().with_format(ckpt::save::Format::Torch);
    let manager =
        Manager::open(directory.path(), ckpt::manager::ManagerOptions::default().with_save(save)).unwrap();
    save_all(&manager, &[100, 200]).unwrap();
    change(&file(&manager, 200, "state.pt"), |bytes| {
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
    });
    let resumed = manager.resume().unwrap().unwrap();
    assert_is(&resumed, 100);
    assert_eq!(resumed.skipped.len(), 1);
}
