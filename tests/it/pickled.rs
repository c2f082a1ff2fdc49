//! Pickles that somebody else made, in archives that prove themselves.

use std::path::Path;
use std::sync::Arc;

use ckpt::format::torch::Pickled;
use ckpt::save::{Format, save_pickled};
use ckpt::tensor::Data;
use ckpt::{
    Code, ErrorKind, Integrity, Level, LoadOptions, SaveOptions, Verdict, VerifyOptions, load, verify,
};

/// What `torch.save` makes of `{'w': tensor of storage 0, 'n': VALUE}`, up to the value.
const TENSOR: &[u8] =
    b"\x80\x02}q\0(X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\n\
    FloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x02tQK\0K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR\
    X\x01\0\0\0n";

/// An object that only who trusts the file may make: `argparse.Namespace()`.
const NAMESPACE: &[u8] = b"cargparse\nNamespace\n)\x81";

fn pickled(value: &[u8]) -> Pickled<'static> {
    let storage: Vec<u8> = [1.5_f32, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    Pickled::new([TENSOR, value, b"u."].concat(), vec![Data::new(Arc::new(storage))]).unwrap()
}

fn read_back(path: &Path, level: Level) -> ckpt::Report {
    verify(path, &VerifyOptions::default().with_level(level))
}

#[test]
fn an_object_is_kept_as_bytes_and_its_damage_is_seen() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.pt");
    let saved = save_pickled(&path, &pickled(NAMESPACE), &SaveOptions::default()).unwrap();
    assert_eq!(saved.validated, Some(Level::Container), "nobody may execute it to validate it");
    let report = read_back(&path, Level::Load);
    assert_eq!((report.verdict, report.integrity), (Verdict::Incompatible, Integrity::Full), "{report:?}");
    let error = load(&path, &LoadOptions::default()).unwrap_err();
    assert_eq!((error.kind(), error.finding().unwrap().code), (ErrorKind::Incompatible, Code::NeedsTrust));
    assert!(error.to_string().contains("argparse.Namespace"), "{error}");
    for at in saved.data.iter().map(|range| range.start) {
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[usize::try_from(at).unwrap()] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(read_back(&path, Level::Load).verdict, Verdict::Corrupted);
    }
}

#[test]
fn what_a_safe_reader_takes_is_read_back_as_deep_as_asked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.pt");
    let saved = save_pickled(&path, &pickled(b"K\x07"), &SaveOptions::default()).unwrap();
    assert_eq!(saved.validated, Some(Level::Load));
    let state = load(&path, &LoadOptions::default()).unwrap();
    assert_eq!(state.value("n").and_then(ckpt::tensor::Node::as_i64), Some(7));
    assert_eq!(state.tensor("w").unwrap().bytes().unwrap()[..4], 1.5_f32.to_le_bytes());
}

#[test]
fn a_pickle_that_lies_about_its_storages_replaces_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.pt");
    save_pickled(&path, &pickled(b"K\x07"), &SaveOptions::default()).unwrap();
    let before = std::fs::read(&path).unwrap();
    let short = Pickled::new(pickled(b"K\x08").pickle().to_vec(), vec![Data::from(vec![0; 4])]).unwrap();
    let error = save_pickled(&path, &short, &SaveOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left of it");
}

#[test]
fn other_formats_hold_no_pickles() {
    let directory = tempfile::tempdir().unwrap();
    for (name, format) in [("a.safetensors", None), ("a.pt", Some(Format::TorchFlat))] {
        let mut options = SaveOptions::default();
        options.format = format;
        let error = save_pickled(&directory.path().join(name), &pickled(b"N"), &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("end its name in .pt"), "{error}");
    }
}
