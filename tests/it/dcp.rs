//! Distributed checkpoints: directories that PyTorch wrote, whole and damaged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use ckpt::digest::Algorithm;
use ckpt::record::{FormatKind, Seal, TensorInfo};
use ckpt::validate::{Batch, Look, Requirement, discover, inspect, proof_of};
use ckpt::{
    Code, Dtype, Finding, Integrity, Level, Report, SaveOptions, State, Verdict, VerifyOptions, verify,
};
use tempfile::TempDir;

use crate::agreement::oracle;

/// The directories in `tests/data/dcp`: one process, two ranks, two ranks that each save for itself.
const WHOLE: [&str; 3] = ["alone", "ranks", "apart"];

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/dcp")
}

/// A copy of a directory, to be damaged. It has the times of a save: the metadata is the youngest.
struct Copy(TempDir);

impl Copy {
    fn of(directory: &Path) -> Self {
        let copy = Self(tempfile::tempdir().unwrap());
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort_by_key(|name| name.to_str().unwrap().ends_with(".metadata"));
        let now = SystemTime::now();
        for (number, name) in (0..).zip(&names) {
            fs::copy(directory.join(name), copy.0.path().join(name)).unwrap();
            copy.touch(name.to_str().unwrap(), now + Duration::from_secs(number));
        }
        copy
    }

    fn named(name: &str) -> Self {
        Self::of(&data().join(name))
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn touch(&self, name: &str, time: SystemTime) {
        fs::File::options().write(true).open(self.at(name)).unwrap().set_modified(time).unwrap();
    }

    /// Changes the bytes of a file, and leaves its time as it was.
    fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let time = fs::metadata(self.at(name)).unwrap().modified().unwrap();
        let mut bytes = fs::read(self.at(name)).unwrap();
        change(&mut bytes);
        fs::write(self.at(name), bytes).unwrap();
        self.touch(name, time);
    }

    fn check(&self) -> Report {
        self.check_at(Level::Load)
    }

    fn check_at(&self, level: Level) -> Report {
        verify(self.0.path(), &VerifyOptions::default().with_threads(2).with_level(level))
    }
}

/// Asserts the verdict, its reason, and how deep the check came; returns the reason.
#[track_caller]
fn fails(report: &Report, verdict: Verdict, code: Code, passed: Option<Level>) -> &Finding {
    let reason = report.reason().unwrap_or_else(|| panic!("{report:?}"));
    assert_eq!((report.verdict, reason.code, report.passed), (verdict, code, passed), "{report:?}");
    reason
}

#[track_caller]
fn valid(report: &Report) {
    assert_eq!(report.verdict, Verdict::Valid, "{report:?}");
}

fn codes(report: &Report) -> Vec<Code> {
    report.findings.iter().map(|finding| finding.code).collect()
}

// What is whole.

#[test]
fn what_pytorch_writes_is_valid_at_every_level() {
    for name in WHOLE {
        let copy = Copy::named(name);
        let size: u64 =
            fs::read_dir(copy.0.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        for level in Level::ALL {
            let report = copy.check_at(level);
            valid(&report);
            assert_eq!((report.level, report.passed), (Some(level), Some(level)), "{name}");
            assert_eq!((report.format, report.bytes), (FormatKind::TorchDistributed, size), "{name}");
            assert!(report.findings.is_empty(), "{report:?}");
            // The metadata has no checksum.
            let deep = if level >= Level::Load { Integrity::Partial } else { Integrity::None };
            assert_eq!(report.integrity, deep, "{name} {level}");
        }
        assert_eq!(copy.check().tensors, Some(if name == "alone" { 2 } else { 3 }));
    }
}

#[test]
fn the_fast_path_looks_at_no_item() {
    let copy = Copy::named("ranks");
    copy.change("__0_0.distcp", |bytes| bytes.fill(0));
    let report = verify(copy.0.path(), &VerifyOptions::default().without_contents());
    valid(&report);
    assert_eq!(codes(&report), [Code::ContentsNotChecked]);
}

#[test]
fn the_tensors_are_those_of_the_whole_state() {
    let tensor = |name: &str, dtype: Dtype, shape: &[u64], bytes: u64| TensorInfo {
        name: name.to_owned(),
        dtype,
        shape: shape.to_vec(),
        bytes,
    };
    let expected = [
        tensor("columns", Dtype::F32, &[3, 5], 60),
        tensor("rows", Dtype::F32, &[3, 5], 60),
        tensor("same", Dtype::I64, &[2], 16),
    ];
    for name in ["ranks", "apart"] {
        let info = inspect(&data().join(name)).unwrap();
        assert_eq!(info.format, FormatKind::TorchDistributed);
        let mut tensors = info.tensors;
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(tensors, expected, "{name}");
        assert_eq!(info.metadata.get("dcp.version").map(String::as_str), Some("1.0.0"));
        assert_eq!(info.metadata.contains_key("dcp.ranks"), name == "apart");
    }
    assert!(inspect(&Copy::named("alone").at("gone")).is_err());
}

#[test]
fn keys_are_asked_of_the_whole_state() {
    let check = |name: &str, requirement: &str| {
        let requirement: Requirement = requirement.parse().unwrap();
        verify(&data().join(name), &VerifyOptions::default().with_requirement(requirement))
    };
    for (name, requirement) in [
        ("ranks", "rows:f32"),
        ("ranks", "columns:f32[3,5]"),
        ("ranks", "step"),
        ("apart", "rows:f32[3,5]"),
        ("alone", "model"),
        ("alone", "model.*"),
        ("alone", "model.epoch"),
    ] {
        valid(&check(name, requirement));
    }
    let reports = [
        (check("ranks", "model"), Code::KeyMissing),
        (check("ranks", "rows:f16"), Code::DtypeMismatch),
        (check("ranks", "rows:f32[2,5]"), Code::ShapeMismatch),
    ];
    for (report, code) in reports {
        fails(&report, Verdict::Incompatible, code, Some(Level::Load));
    }
}

#[test]
fn a_directory_is_one_checkpoint_of_a_batch() {
    let place = tempfile::tempdir().unwrap();
    for name in WHOLE {
        let to = place.path().join(name);
        fs::create_dir(&to).unwrap();
        for entry in fs::read_dir(data().join(name)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    fs::remove_file(place.path().join("alone/.metadata")).unwrap();
    for entry in ["ranks/__0_0.distcp", "ranks/__1_0.distcp"] {
        fs::remove_file(place.path().join(entry)).unwrap();
    }
    for look in [Look::Contents, Look::Names] {
        let found = discover([place.path()], look);
        let names: Vec<_> =
            found.candidates.iter().map(|one| one.path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["alone", "apart", "ranks"], "{look:?}");
    }
    let found = discover([place.path()], Look::Contents);
    let verdicts: Vec<_> =
        Batch::new(found.candidates, VerifyOptions::default()).map(|report| report.verdict).collect();
    assert_eq!(verdicts, [Verdict::Corrupted, Verdict::Valid, Verdict::Corrupted]);
}

#[test]
fn the_metadata_stands_for_the_whole_and_a_shard_for_nothing() {
    let copy = Copy::named("ranks");
    let check = |name: &str| verify(&copy.at(name), &VerifyOptions::default());
    valid(&check(".metadata"));
    assert_eq!(check(".metadata").tensors, Some(3));
    let report = check("__0_0.distcp");
    fails(&report, Verdict::Incompatible, Code::ForeignFormat, None);
    assert_eq!(report.format, FormatKind::TorchDistributed);
}

// Damage.

#[test]
fn a_flipped_bit_in_a_shard_is_found_wherever_it_is() {
    let copy = Copy::named("alone");
    let len = fs::read(copy.at("__0_0.distcp")).unwrap().len();
    for at in (0..len).step_by(5) {
        let flip = |bytes: &mut Vec<u8>| bytes[at] ^= 1 << (at % 8);
        copy.change("__0_0.distcp", flip);
        let report = copy.check();
        assert_eq!(report.verdict, Verdict::Corrupted, "byte {at}: {report:?}");
        copy.change("__0_0.distcp", flip);
    }
    valid(&copy.check());
}

/// PyTorch loads it without a word: it checks no checksum.
#[test]
fn a_flipped_bit_in_a_tensor_is_told_with_its_name_and_place() {
    let copy = Copy::named("ranks");
    let bytes = fs::read(copy.at("__1_0.distcp")).unwrap();
    // The first elements of rank 1's columns.
    let data = [4.0_f32, 5.0].map(f32::to_le_bytes).concat();
    let at = bytes.windows(data.len()).position(|window| window == data).unwrap();
    copy.change("__1_0.distcp", |bytes| bytes[at] ^= 1);
    let report = copy.check();
    let reason = fails(&report, Verdict::Corrupted, Code::ChecksumMismatch, Some(Level::Container));
    assert_eq!(reason.at.file.as_deref(), Some(Path::new("__1_0.distcp")));
    assert_eq!((reason.at.tensor.as_deref(), reason.at.offset), (Some("columns"), Some(at as u64)));
    assert_eq!(reason.at.record.as_deref(), Some("archive/data/0"));
}

#[test]
fn a_cut_empty_or_missing_shard_is_found_at_the_first_level() {
    let copy = Copy::named("ranks");
    let whole = fs::read(copy.at("__1_0.distcp")).unwrap();
    for len in [whole.len() - 1, whole.len() / 2, 1] {
        copy.change("__1_0.distcp", |bytes| bytes.truncate(len));
        fails(&copy.check(), Verdict::Corrupted, Code::Truncated, None);
        copy.change("__1_0.distcp", |bytes| bytes.clone_from(&whole));
    }
    copy.change("__1_0.distcp", Vec::clear);
    let report = copy.check();
    let reason = fails(&report, Verdict::Corrupted, Code::Empty, None);
    assert_eq!(reason.at.file.as_deref(), Some(Path::new("__1_0.distcp")));
    fs::remove_file(copy.at("__1_0.distcp")).unwrap();
    for level in [Level::Size, Level::Load] {
        fails(&copy.check_at(level), Verdict::Corrupted, Code::ArtifactMissing, None);
    }
    fs::create_dir(copy.at("__1_0.distcp")).unwrap();
    fails(&copy.check(), Verdict::Incompatible, Code::NotRegular, None);
}

#[test]
fn a_shard_of_zeros_is_damaged() {
    let copy = Copy::named("ranks");
    copy.change("__0_0.distcp", |bytes| bytes.fill(0));
    fails(&copy.check(), Verdict::Corrupted, Code::AllZero, Some(Level::Size));
}

#[test]
fn damaged_metadata_is_found_at_the_first_level() {
    for (name, file) in [("ranks", ".metadata"), ("apart", "__1.metadata")] {
        let copy = Copy::named(name);
        let whole = fs::read(copy.at(file)).unwrap();
        copy.change(file, |bytes| bytes.truncate(whole.len() / 2));
        let report = copy.check_at(Level::Size);
        let reason = fails(&report, Verdict::Corrupted, Code::PickleDamaged, None);
        assert_eq!(reason.at.file.as_deref(), Some(Path::new(file)));
        copy.change(file, Vec::clear);
        fails(&copy.check(), Verdict::Corrupted, Code::Empty, None);
        copy.change(file, |bytes| *bytes = b"N.".to_vec());
        fails(&copy.check(), Verdict::Corrupted, Code::IndexMalformed, None);
    }
}

// Saves that weren't finished, and saves that were mixed.

#[test]
fn shards_without_metadata_were_never_finished() {
    let copy = Copy::named("ranks");
    fs::rename(copy.at(".metadata"), copy.at(".metadata.tmp")).unwrap();
    let report = copy.check();
    let reason = fails(&report, Verdict::Corrupted, Code::ArtifactMissing, None);
    assert!(reason.message.contains("'.metadata.tmp'"), "{reason:?}");
    assert!(report.bytes > 10_000, "{report:?}");
    fs::remove_file(copy.at(".metadata.tmp")).unwrap();
    fails(&copy.check(), Verdict::Corrupted, Code::ArtifactMissing, None);
}

#[test]
fn a_rank_whose_metadata_is_missing_is_named() {
    let copy = Copy::named("apart");
    fs::rename(copy.at("__0.metadata"), copy.at("kept")).unwrap();
    let report = copy.check();
    let reason = fails(&report, Verdict::Corrupted, Code::ArtifactMissing, None);
    assert_eq!(reason.at.file.as_deref(), Some(Path::new("__0.metadata")));
    fs::rename(copy.at("kept"), copy.at("__0.metadata")).unwrap();
    // Nothing says how many ranks there were, but for the tensors that they shared.
    fs::remove_file(copy.at("__1.metadata")).unwrap();
    let report = copy.check();
    let reason = fails(&report, Verdict::Corrupted, Code::DataLayout, None);
    assert_eq!(reason.at.tensor.as_deref(), Some("rows"));
    assert!(codes(&report).contains(&Code::Unlisted), "{report:?}");
}

#[test]
fn items_of_another_save_are_told_from_damage() {
    let copy = Copy::named("alone");
    fs::rename(copy.at("__0_0.distcp"), copy.at("kept")).unwrap();
    fs::rename(copy.at("__0_1.distcp"), copy.at("__0_0.distcp")).unwrap();
    fs::rename(copy.at("kept"), copy.at("__0_1.distcp")).unwrap();
    fails(&copy.check(), Verdict::Incompatible, Code::IndexDisagrees, Some(Level::Container));
}

#[test]
fn shards_that_are_younger_than_the_metadata_are_noted() {
    let copy = Copy::named("ranks");
    copy.touch("__0_0.distcp", SystemTime::now() + Duration::from_mins(1));
    let report = copy.check();
    valid(&report);
    assert_eq!(codes(&report), [Code::MetadataOlder]);
    assert!(report.findings[0].message.starts_with("1 of 2 shards"));
}

#[test]
fn what_the_metadata_has_not_is_noted() {
    let copy = Copy::named("ranks");
    fs::copy(copy.at("__0_0.distcp"), copy.at("__2_0.distcp")).unwrap();
    fs::write(copy.at("notes.txt"), "x").unwrap();
    copy.change("__0_0.distcp", |bytes| bytes.extend([0; 10]));
    let report = copy.check();
    valid(&report);
    assert_eq!(codes(&report), [Code::StrayBytes, Code::Unlisted]);
    assert_eq!(report.findings[1].at.file.as_deref(), Some(Path::new("__2_0.distcp")));
}

/// What PyTorch leaves when things go wrong, made by PyTorch itself (`tests/python/distributed.py`).
#[test]
fn pytorchs_own_failures_are_found() {
    let python = match oracle::python() {
        Ok(python) => python,
        Err(reason) => return oracle::skip("pytorchs_own_failures_are_found", &reason),
    };
    let place = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/distributed.py");
    let status = Command::new(python).arg(script).arg(place.path()).status().unwrap();
    assert!(status.success(), "{status}");
    let check = |name: &str| verify(&place.path().join(name), &VerifyOptions::default().with_threads(2));

    let whole = check("whole");
    valid(&whole);
    assert_eq!((whole.integrity, whole.tensors), (Integrity::Partial, Some(10)), "{whole:?}");
    assert!(whole.findings.is_empty(), "{whole:?}");
    // `dcp.save` reported success: three of the four threads had failed.
    let lost = check("lost");
    fails(&lost, Verdict::Corrupted, Code::RecordMissing, None);
    fails(&check("killed"), Verdict::Corrupted, Code::Truncated, None);
    fails(&check("first"), Verdict::Corrupted, Code::ArtifactMissing, None);
    // `dcp.load` loads the next three without a word.
    fails(&check("unrenamed"), Verdict::Incompatible, Code::IndexDisagrees, None);
    // All of the state is that of the later save, or a half of it: no byte of it says so.
    for (name, younger) in [("resaved", "1 of 1 shards"), ("mixed", "3 of 5 shards")] {
        let report = check(name);
        let note = report.findings.iter().find(|finding| finding.code == Code::MetadataOlder);
        assert!(note.is_some_and(|note| note.message.starts_with(younger)), "{report:?}");
    }
    fails(&check("reshaped"), Verdict::Incompatible, Code::IndexDisagrees, Some(Level::Container));
}

// Other writers.

/// Metadata by hand, of values in one file: text opcodes mean what those of protocol 4 mean.
fn metadata(items: &[(&str, usize, usize)], more: &str) -> Vec<u8> {
    const PACKAGE: &str = "torch.distributed.checkpoint";
    let values = items
        .iter()
        .map(|(name, ..)| format!("S'{name}'\nc{PACKAGE}.metadata\nBytesStorageMetadata\n(tRs"))
        .collect::<Vec<_>>()
        .concat();
    let places = items
        .iter()
        .map(|(name, offset, length)| {
            format!(
                "c{PACKAGE}.metadata\nMetadataIndex\n(tR(dS'fqn'\nS'{name}'\nsbc{PACKAGE}.filesystem\n_StorageInfo\n\
                 (tR(dS'relative_path'\nS'__0_0.distcp'\nsS'offset'\nI{offset}\nsS'length'\nI{length}\ns{more}bs"
            )
        })
        .collect::<Vec<_>>()
        .concat();
    format!(
        "c{PACKAGE}.metadata\nMetadata\n(tR(dS'state_dict_metadata'\n(d{values}sS'storage_data'\n(d{places}sb."
    )
    .into_bytes()
}

/// A directory with one file of items.
fn by_hand(items: &[(&str, usize, usize)], shard: &[u8], more: &str) -> Copy {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("__0_0.distcp"), shard).unwrap();
    fs::write(place.path().join(".metadata"), metadata(items, more)).unwrap();
    Copy::of(place.path())
}

/// An archive that ckpt wrote, with its proof.
fn proven(step: i64) -> Vec<u8> {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("item.pt");
    let mut state = State::new();
    state.insert("step", step).unwrap();
    ckpt::save(&path, &state, &SaveOptions::default()).unwrap();
    fs::read(path).unwrap()
}

#[test]
fn items_that_prove_themselves_are_held_to_their_proof() {
    let items = [proven(1), proven(2)];
    let len = items[0].len();
    let names = [("a", 0, len), ("b", len, items[1].len())];
    let copy = by_hand(&names, &items.concat(), "");
    let report = copy.check();
    valid(&report);
    assert_eq!((report.integrity, codes(&report)), (Integrity::Partial, vec![]), "{report:?}");
    for at in (0..items.concat().len()).step_by(7) {
        copy.change("__0_0.distcp", |bytes| bytes[at] ^= 0x10);
        let report = copy.check();
        assert_eq!(report.verdict, Verdict::Corrupted, "byte {at}: {report:?}");
        let value = if at < len { "'a'" } else { "'b'" };
        assert!(report.reason().unwrap().message.contains(value), "{report:?}");
        copy.change("__0_0.distcp", |bytes| bytes[at] ^= 0x10);
    }
}

/// What ckpt's own writer adds to the metadata: PyTorch's reader passes over it.
#[test]
fn an_item_of_another_save_is_told_by_its_proof() {
    let (item, other) = (proven(1), proven(2));
    let id = proof_of(&item).unwrap().proof.id();
    let named = format!("S'ckpt_proof'\nS'{id}'\ns");
    valid(&by_hand(&[("a", 0, item.len())], &item, &named).check());
    let report = by_hand(&[("a", 0, other.len())], &other, &named).check();
    fails(&report, Verdict::Incompatible, Code::IndexDisagrees, Some(Level::Size));
    let foreign = fs::read(data().join("../small.pt")).unwrap();
    let report = by_hand(&[("a", 0, foreign.len())], &foreign, &named).check();
    fails(&report, Verdict::Corrupted, Code::ProofDamaged, Some(Level::Size));
}

#[test]
fn bytes_of_others_are_held_to_their_digest() {
    let digest = Algorithm::Crc64Nvme.digest(b"no archive");
    let named = format!("S'ckpt_digest'\nS'crc64-nvme:{digest}'\ns");
    let copy = by_hand(&[("a", 0, 10)], b"no archive", &named);
    let report = copy.check();
    valid(&report);
    assert_eq!(report.integrity, Integrity::Partial);
    copy.change("__0_0.distcp", |bytes| bytes[3] ^= 1);
    fails(&copy.check(), Verdict::Corrupted, Code::ChecksumMismatch, Some(Level::Container));
}

#[test]
fn sealed_metadata_is_held_to_its_seal() {
    let copy = Copy::named("alone");
    let bytes = fs::read(copy.at(".metadata")).unwrap();
    let digest = Algorithm::Crc64Nvme.digest(&bytes);
    let seal = Seal::of_blocks(bytes.len() as u64, Algorithm::Crc64Nvme, vec![digest]);
    fs::write(copy.at(".metadata.seal"), seal.encode()).unwrap();
    valid(&copy.check());
    assert_eq!(copy.check().integrity, Integrity::Full);
    assert_eq!(copy.check_at(Level::Container).integrity, Integrity::None);
    // Another name for the tensor: without the seal, nothing would say so.
    let at = bytes.windows(12).position(|window| window == b"model.weight").unwrap();
    copy.change(".metadata", |bytes| bytes[at] ^= 1);
    fails(&copy.check(), Verdict::Corrupted, Code::ChecksumMismatch, None);
    fs::remove_file(copy.at(".metadata.seal")).unwrap();
    valid(&copy.check());
    assert_eq!(
        copy.check().integrity,
        Integrity::Partial,
        "nothing says whether the metadata is what it was"
    );
}

#[test]
fn items_that_overlap_are_damage_and_one_item_of_two_values_is_none() {
    let item = proven(1);
    let same = [("a", 0, item.len()), ("b", 0, item.len())];
    valid(&by_hand(&same, &item, "").check());
    let shifted = [("a", 0, item.len()), ("b", item.len() - 1, item.len())];
    let shard = [&item[..], &item[..]].concat();
    fails(&by_hand(&shifted, &shard, "").check(), Verdict::Corrupted, Code::EntriesOverlap, None);
}

#[test]
fn what_went_through_an_extension_is_looked_at_from_outside() {
    let copy = by_hand(&[("a", 0, 3), ("b", 3, 3)], b"zstzst", "S'transform_descriptors'\n(lS'zstd'\nas");
    let report = copy.check();
    valid(&report);
    assert_eq!((report.integrity, codes(&report)), (Integrity::None, vec![Code::ContentsNotChecked]));
    assert!(report.findings[0].message.ends_with("(in 2 items)"), "{report:?}");
}

#[test]
fn a_path_out_of_the_directory_is_refused() {
    let copy = by_hand(&[("a", 0, 1)], b"x", "");
    copy.change(".metadata", |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        *bytes = text.replace("S'__0_0.distcp'", "S'../secret'").into_bytes();
    });
    fails(&copy.check(), Verdict::Incompatible, Code::IndexMalformed, None);
}
