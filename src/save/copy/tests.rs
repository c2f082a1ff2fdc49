use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

use super::*;
use crate::error::ErrorKind;
use crate::record::{Code, Marker, Proof, Verdict};
use crate::save::{SaveOptions, SealOptions, save, seal};
use crate::tensor::{State, TensorView};
use crate::validate::{ProgressSink, VerifyOptions, verify};
use crate::{Dtype, Integrity};

struct Shelf(tempfile::TempDir);

impl Shelf {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Saves a state of this many bytes, and returns its proof.
    fn save(&self, name: &str, bytes: usize, options: &SaveOptions) -> Proof {
        let data: Vec<u8> = (0..bytes).map(|at| at.wrapping_mul(31).to_le_bytes()[0]).collect();
        let mut state = State::new();
        state.insert("w", TensorView::new(Dtype::U8, [bytes as u64], &data[..]).unwrap()).unwrap();
        save(&self.at(name), &state, options).unwrap().proof
    }

    /// Writes a safetensors file as others do: without a proof.
    fn foreign(&self, name: &str, value: u8) {
        let header = br#"{"w":{"dtype":"U8","shape":[1000],"data_offsets":[0,1000]}}"#;
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header);
        file.extend([value; 1000]);
        fs::write(self.at(name), file).unwrap();
    }

    fn copy(&self, from: &str, to: &str) -> Result<crate::record::Copied, crate::Error> {
        copy(&self.at(from), &self.at(to), &CopyOptions::default())
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.at(name)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        let mut names: Vec<String> =
            fs::read_dir(self.0.path()).unwrap().map(|entry| name(entry.unwrap())).collect();
        names.sort();
        names
    }
}

#[test]
fn a_copy_has_the_same_bytes_and_the_same_proof() {
    let shelf = Shelf::new();
    for (name, bytes) in [("small.safetensors", 10), ("large.safetensors", 9 << 20), ("a.pt", 5 << 20)] {
        shelf.save(name, bytes, &SaveOptions::default());
        let copied = shelf.copy(name, "copy").unwrap();
        assert!(shelf.read(name) == shelf.read("copy"), "{name}");
        assert_eq!((copied.files.len(), copied.bytes), (1, shelf.read(name).len() as u64));
        assert_eq!(copied.report.integrity, Integrity::Full);
    }
}

#[test]
fn into_a_directory_the_name_stays() {
    let shelf = Shelf::new();
    shelf.foreign("a.safetensors", 1);
    fs::create_dir(shelf.at("b")).unwrap();
    let copied = shelf.copy("a.safetensors", "b").unwrap();
    assert_eq!(copied.destination, shelf.at("b/a.safetensors"));
    assert_eq!(shelf.read("b/a.safetensors"), shelf.read("a.safetensors"));
}

#[test]
fn a_corrupted_source_is_refused_and_nothing_is_written() {
    let shelf = Shelf::new();
    shelf.save("a.safetensors", 5000, &SaveOptions::default());
    let mut bytes = shelf.read("a.safetensors");
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(shelf.at("a.safetensors"), bytes).unwrap();
    fs::write(shelf.at("b.safetensors"), b"old").unwrap();
    let error = shelf.copy("a.safetensors", "b.safetensors").unwrap_err();
    assert_eq!((error.kind(), error.finding().unwrap().code), (ErrorKind::Corrupted, Code::ChecksumMismatch));
    assert_eq!(shelf.read("b.safetensors"), b"old");
    assert_eq!(shelf.names(), ["a.safetensors", "b.safetensors"]);
}

#[test]
fn a_source_that_changes_meanwhile_is_not_copied() {
    let shelf = Shelf::new();
    shelf.foreign("a.safetensors", 1);
    let path = shelf.at("a.safetensors");
    let append = ProgressSink::new(move |_| {
        File::options().append(true).open(&path).unwrap().write_all(b"more").unwrap();
    });
    let options = CopyOptions::default().with_progress(append);
    let error = copy(&shelf.at("a.safetensors"), &shelf.at("b.safetensors"), &options).unwrap_err();
    assert_eq!(error.finding().unwrap().code, Code::ChangedWhileRead);
    assert_eq!(shelf.names(), ["a.safetensors"]);
}

#[test]
fn a_source_that_changes_between_check_and_copy_is_not_copied() {
    let shelf = Shelf::new();
    shelf.foreign("a.safetensors", 1);
    let options = CopyOptions::default();
    let copying = Copying::plan(&shelf.at("a.safetensors"), &shelf.at("b.safetensors"), &options).unwrap();
    let copying = copying.verify(&options);
    assert!(copying.refusal().is_none());
    shelf.foreign("other", 2);
    fs::rename(shelf.at("other"), shelf.at("a.safetensors")).unwrap();
    assert_eq!(copying.run(&options).unwrap_err().finding().unwrap().code, Code::ChangedWhileRead);
    assert_eq!(shelf.names(), ["a.safetensors"]);
}

#[test]
fn marker_and_seal_come_along_and_never_vouch_for_other_bytes() {
    let shelf = Shelf::new();
    let proof = shelf.save("a.safetensors", 5000, &SaveOptions::default().with_marker());
    shelf.foreign("b.safetensors", 1);
    seal(&shelf.at("b.safetensors"), &SealOptions::default()).unwrap();
    fs::write(shelf.at("b.safetensors.done"), b"").unwrap();
    // The old file has both, the new one brings a marker alone: the old seal is not of its bytes.
    let copied = shelf.copy("a.safetensors", "b.safetensors").unwrap();
    assert_eq!((copied.files[0].marker, copied.files[0].seal), (true, false));
    let marker = Marker::parse(&shelf.read("b.safetensors.done")).unwrap();
    assert_eq!((marker.proof, marker.or), (Some(proof.id()), None));
    assert!(!shelf.at("b.safetensors.seal").exists());
    assert_eq!(verify(&shelf.at("b.safetensors"), &VerifyOptions::default()).verdict, Verdict::Valid);

    shelf.foreign("c.safetensors", 2);
    let sealed = seal(&shelf.at("c.safetensors"), &SealOptions::default()).unwrap();
    let copied = shelf.copy("c.safetensors", "b.safetensors").unwrap();
    assert_eq!((copied.files[0].marker, copied.files[0].seal), (true, true));
    assert_eq!(Some(&copied.files[0].digest), sealed.digest.as_ref());
    assert_eq!(shelf.read("b.safetensors.seal"), shelf.read("c.safetensors.seal"));
    let report = verify(&shelf.at("b.safetensors"), &VerifyOptions::default());
    assert_eq!((report.verdict, report.integrity), (Verdict::Valid, Integrity::Full));
}

#[test]
fn a_seal_that_does_not_hold_is_not_copied_even_without_a_check() {
    let shelf = Shelf::new();
    shelf.foreign("a.safetensors", 1);
    seal(&shelf.at("a.safetensors"), &SealOptions::default()).unwrap();
    shelf.foreign("a.safetensors", 2);
    let unchecked = VerifyOptions { skip_contents: true, ..VerifyOptions::default() };
    let options = CopyOptions::default().with_verify(unchecked);
    let error = copy(&shelf.at("a.safetensors"), &shelf.at("b.safetensors"), &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupted);
    assert_eq!(shelf.names(), ["a.safetensors", "a.safetensors.seal"]);
}

#[test]
fn what_would_lose_something_is_refused() {
    let shelf = Shelf::new();
    shelf.foreign("a.safetensors", 1);
    shelf.foreign("b.safetensors", 2);
    fs::hard_link(shelf.at("a.safetensors"), shelf.at("same.safetensors")).unwrap();
    for to in ["a.safetensors", "same.safetensors", "."] {
        let error = shelf.copy("a.safetensors", to).unwrap_err();
        assert!(error.to_string().contains("same file"), "{error}");
    }
    let options = CopyOptions::default().without_overwriting();
    let error = copy(&shelf.at("a.safetensors"), &shelf.at("b.safetensors"), &options).unwrap_err();
    assert!(error.to_string().contains("already"), "{error}");
    assert!(shelf.copy("a.safetensors", "gone/b.safetensors").is_err());
    assert!(shelf.copy("gone", "b.safetensors").is_err());
}

/// A sharded checkpoint of two files of one tensor each.
fn sharded(shelf: &Shelf) {
    for (name, tensor) in [("m-1.safetensors", "a"), ("m-2.safetensors", "b")] {
        let mut state = State::new();
        state.insert(tensor, TensorView::new(Dtype::U8, [4], &[7_u8; 4][..]).unwrap()).unwrap();
        save(&shelf.at(name), &state, &SaveOptions::default()).unwrap();
    }
    let index =
        r#"{"metadata": {"total_size": 8}, "weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}"#;
    fs::write(shelf.at("m.safetensors.index.json"), index).unwrap();
}

#[test]
fn a_sharded_checkpoint_is_copied_whole_or_not_at_all() {
    let shelf = Shelf::new();
    sharded(&shelf);
    fs::create_dir(shelf.at("to")).unwrap();
    let copied = shelf.copy("m.safetensors.index.json", "to").unwrap();
    let last = copied.files.last().unwrap();
    assert_eq!((copied.files.len(), &last.destination), (3, &copied.destination));
    let copy = verify(&copied.destination, &VerifyOptions::default());
    assert_eq!((copy.verdict, copy.integrity), (Verdict::Valid, Integrity::Full));
    // Once more: nothing of it is replaced.
    let error = shelf.copy("m.safetensors.index.json", "to").unwrap_err();
    assert!(error.to_string().contains("empty directory"), "{error}");
    assert!(
        shelf.copy("m.safetensors.index.json", "new").unwrap_err().to_string().contains("existing directory")
    );

    // Where the last file can't be copied, the first ones go as well.
    fs::create_dir(shelf.at("again")).unwrap();
    let options = CopyOptions::default();
    let copying = Copying::plan(&shelf.at("m.safetensors.index.json"), &shelf.at("again"), &options).unwrap();
    let copying = copying.verify(&options);
    File::options()
        .append(true)
        .open(shelf.at("m-1.safetensors"))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    assert!(copying.run(&options).is_err());
    assert_eq!(fs::read_dir(shelf.at("again")).unwrap().count(), 0);
}

#[test]
fn a_trainers_directory_is_copied_as_one() {
    let shelf = Shelf::new();
    fs::create_dir(shelf.at("checkpoint-5")).unwrap();
    shelf.save("checkpoint-5/model.safetensors", 100, &SaveOptions::default());
    fs::write(shelf.at("checkpoint-5/trainer_state.json"), r#"{"global_step": 5}"#).unwrap();
    fs::write(shelf.at("checkpoint-5/README.md"), b"").unwrap();
    let copied = shelf.copy("checkpoint-5", "copy").unwrap();
    assert_eq!(copied.files.last().unwrap().destination, shelf.at("copy/trainer_state.json"));
    assert_eq!(fs::read_dir(shelf.at("copy")).unwrap().count(), 3);
    fs::create_dir(shelf.at("checkpoint-5/global_step5")).unwrap();
    let error = shelf.copy("checkpoint-5", "more").unwrap_err();
    assert!(error.to_string().contains("cp -a"), "{error}");
    assert!(!shelf.at("more").exists());
}
