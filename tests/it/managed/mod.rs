//! Managed checkpoints, made file by file: what each kind of damage to the directory is called.

#[cfg(feature = "cli")]
mod command;
mod run;

use std::fs;
use std::path::{Path, PathBuf};

use ckpt::digest::Algorithm;
use ckpt::io::commit::Durability;
use ckpt::record::{Artifact, FormatKind, Manifest};
use ckpt::tensor::TensorView;
use ckpt::validate::inspect;
use ckpt::{
    Code, Dtype, Finding, Integrity, Level, Report, SaveOptions, State, Verdict, VerifyOptions, save, verify,
};
use tempfile::TempDir;

/// The checkpoint of most tests, and a later one.
const FIRST: &str = "step-0000001200";
const SECOND: &str = "step-0000001300";

/// A run in a directory of its own.
struct Place(TempDir);

impl Place {
    /// Makes a run with these checkpoints.
    fn with(names: &[&str]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(place.run().join("main/pins")).unwrap();
        fs::write(place.run().join("ckpt.json"), "{\"layout\":1}\n").unwrap();
        fs::write(place.run().join("lock"), "").unwrap();
        for name in names {
            place.checkpoint(name, "state.safetensors");
        }
        place
    }

    fn run(&self) -> PathBuf {
        self.0.path().join("run")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.run().join("main").join(name)
    }

    /// Makes a checkpoint of two tensors, whose elements are those of its step, and a further artifact.
    fn checkpoint(&self, name: &str, state: &str) -> PathBuf {
        let directory = self.at(name);
        fs::create_dir_all(&directory).unwrap();
        let mut manifest = Manifest::new(name.parse().unwrap());
        manifest.artifacts.push(save_state(&directory.join(state), manifest.id.step));
        let config = b"{\"lr\": 0.1}";
        fs::write(directory.join("config.json"), config).unwrap();
        let digest = format!("crc64-nvme:{}", Algorithm::Crc64Nvme.digest(config));
        manifest.artifacts.push(Artifact::new("config.json", config.len() as u64, digest));
        manifest.metrics.insert("val_loss".to_owned(), 0.5);
        manifest.metadata.insert("host".to_owned(), "a7".to_owned());
        write(&directory, &manifest);
        directory
    }
}

/// Saves a state, and returns its entry of the manifest.
fn save_state(path: &Path, step: u64) -> Artifact {
    let mut state = State::new();
    for name in ["model.weight", "model.bias"] {
        let bytes: Vec<u8> = step.to_le_bytes().repeat(200);
        state.insert(name, TensorView::new(Dtype::I64, [20, 10], bytes).unwrap()).unwrap();
    }
    let saved = save(path, &state, &SaveOptions::default().with_durability(Durability::None)).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    Artifact::new(name, saved.bytes, saved.proof.id()).with_proof(saved.validated)
}

fn write(directory: &Path, manifest: &Manifest) {
    fs::write(directory.join(Manifest::NAME), manifest.encode()).unwrap();
}

fn manifest(directory: &Path) -> Manifest {
    Manifest::parse(&fs::read(directory.join(Manifest::NAME)).unwrap()).unwrap()
}

fn check(path: &Path, level: Level) -> Report {
    verify(path, &VerifyOptions::default().with_threads(1).with_level(level))
}

#[track_caller]
fn fails(report: &Report, verdict: Verdict, code: Code, level: Level, file: &str) -> Finding {
    let reason = report.reason().unwrap_or_else(|| panic!("{report:?}"));
    let found = (report.verdict, reason.code, reason.level, reason.at.file.as_deref());
    assert_eq!(found, (verdict, code, level, Some(Path::new(file))), "{report:?}");
    reason.clone()
}

/// Damages a checkpoint, and returns what is found at the deepest level.
fn after(damage: impl FnOnce(&Path)) -> (Place, Report) {
    let place = Place::with(&[FIRST, SECOND]);
    damage(&place.at(FIRST));
    let report = check(&place.at(FIRST), Level::Load);
    (place, report)
}

#[test]
fn a_whole_one_is_valid_at_every_level() {
    for state in ["state.safetensors", "state.pt"] {
        let place = Place::with(&[]);
        let path = place.checkpoint(FIRST, state);
        for level in Level::ALL {
            let report = check(&path, level);
            assert_eq!((report.verdict, report.level), (Verdict::Valid, Some(level)), "{report:?}");
            assert_eq!((report.passed, report.format), (Some(level), FormatKind::Managed), "{report:?}");
            assert_eq!(report.findings, [], "{state} {level}");
            let deep = level >= Level::Load;
            assert_eq!(report.integrity, if deep { Integrity::Full } else { Integrity::None });
            let files = manifest(&path).bytes() + path.join(Manifest::NAME).metadata().unwrap().len();
            assert_eq!(report.bytes, files);
        }
        assert_eq!(check(&path, Level::Load).tensors, Some(2));
    }
}

#[test]
fn the_keys_are_the_states() {
    let place = Place::with(&[FIRST]);
    let require = |text: &str| VerifyOptions::default().with_requirement(text.parse().unwrap());
    assert!(verify(&place.at(FIRST), &require("model.*")).is_valid());
    let report = verify(&place.at(FIRST), &require("optimizer"));
    assert_eq!((report.verdict, report.reason().unwrap().code), (Verdict::Incompatible, Code::KeyMissing));
}

#[test]
fn no_marker_is_asked_for_and_the_fast_path_looks_at_sizes() {
    let place = Place::with(&[FIRST]);
    let mut options = VerifyOptions::default().with_threads(1);
    options.require_marker = true;
    assert!(verify(&place.at(FIRST), &options).is_valid());
    let fast = VerifyOptions::default().without_contents();
    let report = verify(&place.at(FIRST), &fast);
    let codes: Vec<_> = report.findings.iter().map(|finding| finding.code).collect();
    assert_eq!((report.verdict, codes), (Verdict::Valid, vec![Code::ContentsNotChecked]));
    fs::write(place.at(FIRST).join("config.json"), "{}").unwrap();
    let report = verify(&place.at(FIRST), &fast);
    fails(&report, Verdict::Corrupted, Code::SizeMismatch, Level::Size, "config.json");
}

#[test]
fn without_a_manifest_it_was_never_finished() {
    let (place, report) = after(|path| fs::remove_file(path.join("manifest.json")).unwrap());
    let reason = fails(&report, Verdict::Corrupted, Code::ArtifactMissing, Level::Size, "manifest.json");
    assert!(reason.message.contains("never finished"), "{reason:?}");
    assert_eq!(report.passed, None);
    // Elsewhere than in a run it is a directory like any other.
    fs::remove_file(place.run().join("ckpt.json")).unwrap();
    assert_eq!(check(&place.at(FIRST), Level::Load).format, FormatKind::Directory);
}

#[test]
fn every_damaged_bit_of_a_manifest_is_damage() {
    let place = Place::with(&[FIRST]);
    let path = place.at(FIRST).join("manifest.json");
    let text = fs::read(&path).unwrap();
    for at in (0..text.len()).step_by(7) {
        let mut damaged = text.clone();
        damaged[at] ^= 1;
        fs::write(&path, damaged).unwrap();
        assert_eq!(check(&place.at(FIRST), Level::Size).verdict, Verdict::Corrupted, "byte {at}");
        fs::write(&path, &text[..at]).unwrap();
        let report = check(&place.at(FIRST), Level::Size);
        fails(&report, Verdict::Corrupted, Code::IndexMalformed, Level::Size, "manifest.json");
    }
}

#[test]
fn a_later_layout_is_incompatible() {
    let (_place, report) = after(|path| fs::write(path.join("manifest.json"), "{\"layout\": 2}").unwrap());
    fails(&report, Verdict::Incompatible, Code::VersionTooNew, Level::Size, "manifest.json");
}

#[test]
fn a_manifest_that_leads_elsewhere_is_refused() {
    let (_place, report) = after(|path| {
        let mut manifest = manifest(path);
        manifest.artifacts[1].name = format!("../{SECOND}/config.json");
        write(path, &manifest);
    });
    fails(&report, Verdict::Incompatible, Code::IndexMalformed, Level::Size, "manifest.json");
}

#[test]
fn a_huge_manifest_is_not_read() {
    let (_place, report) = after(|path| {
        let file = fs::File::create(path.join("manifest.json")).unwrap();
        file.set_len(Manifest::MAX_BYTES + 1).unwrap();
    });
    fails(&report, Verdict::Incompatible, Code::TooComplex, Level::Size, "manifest.json");
}

#[test]
fn every_artifact_must_be_there_and_as_long() {
    for name in ["state.safetensors", "config.json"] {
        let (_place, report) = after(|path| fs::remove_file(path.join(name)).unwrap());
        fails(&report, Verdict::Corrupted, Code::ArtifactMissing, Level::Size, name);
        let (_place, report) = after(|path| {
            let text = fs::read(path.join(name)).unwrap();
            fs::write(path.join(name), &text[..text.len() - 1]).unwrap();
        });
        fails(&report, Verdict::Corrupted, Code::SizeMismatch, Level::Size, name);
        let (_place, report) = after(|path| {
            fs::remove_file(path.join(name)).unwrap();
            fs::create_dir(path.join(name)).unwrap();
        });
        fails(&report, Verdict::Incompatible, Code::NotRegular, Level::Size, name);
    }
}

#[test]
fn every_damaged_byte_of_an_artifact_is_found() {
    for (name, code) in
        [("state.safetensors", Code::ChecksumMismatch), ("config.json", Code::ChecksumMismatch)]
    {
        let (_place, report) = after(|path| {
            let mut text = fs::read(path.join(name)).unwrap();
            *text.last_mut().unwrap() ^= 1;
            fs::write(path.join(name), text).unwrap();
        });
        fails(&report, Verdict::Corrupted, code, Level::Load, name);
        assert_eq!(report.passed, Some(Level::Container));
    }
}

#[test]
fn a_whole_file_of_another_checkpoint_is_incompatible() {
    let (place, report) = after(|path| {
        fs::copy(path.with_file_name(SECOND).join("state.safetensors"), path.join("state.safetensors"))
            .unwrap();
    });
    fails(&report, Verdict::Incompatible, Code::IndexDisagrees, Level::Container, "state.safetensors");
    // One of another size is told apart from a damaged one as well.
    let mut state = State::new();
    state.insert("w", TensorView::new(Dtype::U8, [3], vec![1, 2, 3]).unwrap()).unwrap();
    save(&place.at(FIRST).join("state.safetensors"), &state, &SaveOptions::default()).unwrap();
    let report = check(&place.at(FIRST), Level::Load);
    fails(&report, Verdict::Incompatible, Code::IndexDisagrees, Level::Size, "state.safetensors");
}

#[test]
fn a_file_that_lost_its_proof_is_no_longer_the_one() {
    let place = Place::with(&[FIRST]);
    let path = place.at(FIRST);
    let header = br#"{"w":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}"#;
    let foreign = [&(header.len() as u64).to_le_bytes()[..], header, &[1, 2, 3]].concat();
    fs::write(path.join("state.safetensors"), &foreign).unwrap();
    let mut manifest = manifest(&path);
    manifest.artifacts[0].bytes = foreign.len() as u64;
    write(&path, &manifest);
    let report = check(&path, Level::Load);
    fails(&report, Verdict::Corrupted, Code::ProofDamaged, Level::Container, "state.safetensors");
}

#[test]
fn a_digest_of_a_later_kind_proves_nothing() {
    let (_place, report) = after(|path| {
        let mut manifest = manifest(path);
        manifest.artifacts[1].digest = "crc128:00".to_owned();
        write(path, &manifest);
    });
    assert_eq!((report.verdict, report.integrity), (Verdict::Valid, Integrity::Partial), "{report:?}");
    assert_eq!(report.findings[0].code, Code::ProofUnknown);
}

#[test]
fn a_name_in_the_history_is_the_manifests() {
    let place = Place::with(&[FIRST]);
    for (name, is_valid) in [("step-0000001400", false), ("step-0000001200-g1", false), ("best", true)] {
        fs::rename(place.at(FIRST), place.at(name)).unwrap();
        let report = check(&place.at(name), Level::Load);
        assert_eq!((report.format, report.is_valid()), (FormatKind::Managed, is_valid), "{report:?}");
        if !is_valid {
            let reason =
                fails(&report, Verdict::Incompatible, Code::IndexDisagrees, Level::Size, "manifest.json");
            assert!(reason.message.contains(name) && reason.message.contains(FIRST), "{reason:?}");
        }
        fs::rename(place.at(name), place.at(FIRST)).unwrap();
    }
}

#[test]
fn further_files_are_noted() {
    let (_place, report) = after(|path| {
        for name in ["notes.txt", "state.safetensors.done", ".hidden"] {
            fs::write(path.join(name), "").unwrap();
        }
        fs::create_dir(path.join("logs")).unwrap();
    });
    let unlisted = |finding: &&Finding| finding.code == Code::Unlisted;
    let files: Vec<_> =
        report.findings.iter().filter(unlisted).map(|finding| finding.at.file.clone().unwrap()).collect();
    assert_eq!((report.verdict, files), (Verdict::Valid, vec!["logs".into(), "notes.txt".into()]));
}

#[test]
fn other_files_called_manifest_make_no_checkpoint() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("manifest.json"), "{\"name\": \"app\", \"icons\": []}").unwrap();
    assert_eq!(check(place.path(), Level::Load).format, FormatKind::Directory);
}

#[test]
fn info_is_of_the_state_and_the_manifest() {
    let place = Place::with(&[]);
    for state in ["state.safetensors", "state.pt"] {
        let path = place.checkpoint(FIRST, state);
        let info = inspect(&path).unwrap();
        assert_eq!((info.format, info.tensors.len()), (FormatKind::Managed, 2));
        assert_eq!(info.bytes, manifest(&path).bytes());
        for (key, value) in [("ckpt.checkpoint", FIRST), ("host", "a7"), ("metric.val_loss", "0.5")] {
            assert_eq!(info.metadata.get(key).map(String::as_str), Some(value), "{:?}", info.metadata);
        }
    }
    fs::remove_file(place.at(FIRST).join("manifest.json")).unwrap();
    assert!(inspect(&place.at(FIRST)).is_err());
}
