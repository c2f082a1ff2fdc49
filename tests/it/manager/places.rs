//! What is where in the directory of a run.

use std::fs;
use std::path::Path;

use ckpt::manager::Run;
use ckpt::record::{CheckpointId, Manifest};
use ckpt::{Code, State};

use super::{STATE, file, open, run_of};

/// Returns the names in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let names =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn the_layout_is_the_documented_one() {
    let (_directory, manager) = run_of(&[1200]);
    let run = manager.run();
    let id = CheckpointId { generation: 0, step: 1200 };
    run.pin(id, "for the paper").unwrap();
    assert_eq!(names(run.directory()), ["ckpt.json", "lock", "main"]);
    assert_eq!(names(run.branch()), ["pins", "step-0000001200"]);
    assert_eq!(names(&run.path(id)), ["manifest.json", "notes.txt", STATE]);
    assert_eq!(fs::read(run.directory().join("ckpt.json")).unwrap(), b"{\"layout\":1}\n");
    assert_eq!(fs::read(run.branch().join("pins/step-0000001200")).unwrap(), b"for the paper\n");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/layout.md");
    let page = fs::read_to_string(page).unwrap();
    for word in
        ["ckpt.json", "lock", "main/", "pins/", "step-", "manifest.json", STATE, "state.pt", ".tmp", "-g"]
    {
        assert!(page.contains(word), "docs/layout.md doesn't name {word}");
    }
    for field in serde_json::to_value(run.manifest(id).unwrap()).unwrap().as_object().unwrap().keys() {
        assert!(page.contains(&format!("`{field}`")), "docs/layout.md doesn't name the manifest's {field}");
    }
}

#[test]
fn a_later_layout_is_refused_before_anything_is_touched() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("ckpt.json"), "{\"layout\":2}").unwrap();
    let error = Run::open(directory.path()).unwrap_err().to_string();
    assert!(error.contains("layout 2") && error.contains("upgrade"), "{error}");
    assert_eq!(names(directory.path()), ["ckpt.json"]);
}

#[test]
fn what_is_no_checkpoint_is_no_checkpoint() {
    let (_directory, manager) = run_of(&[100, 200]);
    let branch = manager.run().branch();
    for name in ["step-300", "stage-1", ".ckpt-0123456789abcdef.tmp", "step-0000000300.old", "x"] {
        fs::create_dir(branch.join(name)).unwrap();
    }
    fs::write(branch.join("step-0000000400"), "a file").unwrap();
    fs::create_dir(branch.join("step-0000000500")).unwrap();
    fs::remove_file(file(&manager, 200, Manifest::NAME)).unwrap();
    let list = manager.list().unwrap();
    let found: Vec<_> = list
        .iter()
        .map(|listed| (listed.id.step, listed.finding.as_ref().map(|finding| finding.code)))
        .collect();
    let expected = [(100, None), (200, Some(Code::ArtifactMissing)), (500, Some(Code::ArtifactMissing))];
    assert_eq!(found, expected);
    assert!(list[0].bytes > 4000 && list[0].is_whole() && list[1].bytes == 0);
    let text = serde_json::to_string(&list).unwrap();
    let back: Vec<ckpt::record::Listed> = serde_json::from_str(&text).unwrap();
    assert_eq!(back, list);
}

#[test]
fn nothing_is_made_by_looking() {
    let directory = tempfile::tempdir().unwrap();
    let manager = open(&directory.path().join("a/b"));
    assert!(manager.list().unwrap().is_empty() && manager.resume().unwrap().is_none());
    assert!(manager.run().pins().unwrap().is_empty() && !manager.run().is_there().unwrap());
    assert!(names(directory.path()).is_empty());
    manager.save(1, &State::new()).unwrap();
    assert!(manager.run().is_there().unwrap());
}

#[test]
fn leftovers_go_with_the_lock_and_a_live_one_stays() {
    let (directory, manager) = run_of(&[100]);
    let leftover = manager.run().branch().join(".ckpt-00000000deadbeef.tmp");
    fs::create_dir(&leftover).unwrap();
    fs::write(leftover.join(STATE), "half").unwrap();
    let run = Run::open(&directory.path().join("run")).unwrap();
    if run.lock().is_err() {
        assert!(leftover.is_dir(), "another writer's lock is held");
    }
    manager.finish().unwrap();
    let lock = run.lock().unwrap();
    if lock.is_sure() {
        assert_eq!((lock.cleaned(), leftover.is_dir()), (1, false));
    } else {
        println!("skipped: locks in {} aren't sure", directory.path().display());
    }
    assert_eq!(run.ids().unwrap().len(), 1);
}

#[test]
fn a_pin_keeps_a_checkpoint() {
    let (_directory, manager) = run_of(&[100, 200]);
    let run = manager.run();
    let [first, second] = run.ids().unwrap()[..] else { panic!("two were saved") };
    run.pin(first, "best so far\n").unwrap();
    assert!(run.remove(first).unwrap_err().to_string().contains("pinned"));
    assert_eq!(run.list().unwrap()[0].pinned.as_deref(), Some("best so far"));
    assert!(run.unpin(first).unwrap() && !run.unpin(first).unwrap());
    assert!(run.remove(first).unwrap() && !run.remove(first).unwrap());
    assert_eq!(run.ids().unwrap(), [second]);
    assert_eq!(names(run.branch()), ["pins", "step-0000000200"]);
    assert!(run.pin(first, "too late").is_err());
}

#[cfg(unix)]
#[test]
fn the_branch_may_be_a_link_to_a_larger_disk() {
    let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let place = directory.path().join("run");
    fs::create_dir(&place).unwrap();
    std::os::unix::fs::symlink(other.path(), place.join("main")).unwrap();
    let manager = open(&place);
    manager.save(100, &State::new()).unwrap();
    assert_eq!(names(other.path()), ["step-0000000100"]);
    assert_eq!(manager.resume().unwrap().unwrap().step(), 100);
}
