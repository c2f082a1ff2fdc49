//! Conversion: what was in the file is in the other one, or it is named.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ckpt::io::commit::Durability;
use ckpt::record::Position;
use ckpt::save::{ConvertOptions, Format, convert};
use ckpt::tensor::{State, TensorView, Value};
use ckpt::{Dtype, ErrorKind, LoadOptions, SaveOptions, load, save};
use tempfile::TempDir;

use crate::agreement::{corpus, oracle};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn open(path: &Path) -> State<'static> {
    load(path, &LoadOptions::default()).unwrap()
}

fn same(one: &Path, other: &Path) {
    let difference = open(one).same_as(&open(other)).unwrap();
    assert!(difference.is_none(), "{} and {}: {}", one.display(), other.display(), difference.unwrap());
}

fn bytes(len: u32) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(0x9E37_79B1) >> 24).to_le_bytes()[0]).collect()
}

fn view(dtype: Dtype, shape: &[u64]) -> TensorView<'static> {
    let count: u64 = shape.iter().product();
    let len = dtype.tensor_bytes(count).unwrap();
    TensorView::new(dtype, shape, bytes(u32::try_from(len).unwrap())).unwrap()
}

/// A training checkpoint, small.
fn training() -> State<'static> {
    let mut state = State::new();
    let model =
        vec![("w".into(), view(Dtype::F32, &[3, 5]).into()), ("b".into(), view(Dtype::Bf16, &[3]).into())];
    state.insert("model", Value::Map(model)).unwrap();
    state.alias("tied", "model.w").unwrap();
    let moments = Value::Map(vec![("exp_avg".into(), view(Dtype::F64, &[15]).into())]);
    state.insert("state", Value::Map(vec![(0.into(), moments)])).unwrap();
    state.insert("betas", Value::Tuple(vec![0.9.into(), f64::NAN.into()])).unwrap();
    state.insert("step", 12).unwrap();
    state
}

/// Every file that the project has, there and back.
#[test]
fn there_and_back_is_the_same() {
    let directory = TempDir::new().unwrap();
    let own = [
        "tests/data/small.pt",
        "tests/data/small.legacy.pt",
        "tests/data/small.safetensors",
        "samples/valid.pt",
    ];
    let mut files: Vec<PathBuf> = own.iter().map(|name| repository().join(name)).collect();
    let training_file = directory.path().join("training.pt");
    save(&training_file, &training(), &SaveOptions::default()).unwrap();
    files.push(training_file);
    for file in files {
        let (there, back) = (directory.path().join("there.safetensors"), directory.path().join("back.pt"));
        convert(&file, &there, &ConvertOptions::default()).unwrap();
        same(&file, &there);
        convert(&there, &back, &ConvertOptions::default()).unwrap();
        same(&there, &back);
        let again = directory.path().join("again.safetensors");
        convert(&back, &again, &ConvertOptions::default()).unwrap();
        assert!(fs::read(&there).unwrap() == fs::read(&again).unwrap(), "{}", file.display());
    }
}

/// Checkpoints of other programs: what converts is the same afterwards.
#[test]
fn the_corpus_converts_or_is_refused() {
    let corpus = match oracle::corpus() {
        Ok(corpus) => corpus,
        Err(reason) => return oracle::skip("converting the corpus", &reason),
    };
    let directory = TempDir::new().unwrap();
    let there = directory.path().join("there.safetensors");
    let mut converted = 0;
    for corpus::File { path: file, .. } in corpus::files(&corpus) {
        let small = fs::metadata(&file).is_ok_and(|metadata| metadata.len() < 32 << 20);
        let Some(state) = small.then(|| load(&file, &LoadOptions::default()).ok()).flatten() else {
            continue;
        };
        match convert(&file, &there, &ConvertOptions::default()) {
            Ok(_) => {
                let difference = open(&there).same_as(&state).unwrap();
                assert!(difference.is_none(), "{}: {}", file.display(), difference.unwrap());
                converted += 1;
            }
            Err(error) => assert_ne!(error.kind(), ErrorKind::Io, "{error}"),
        }
    }
    assert!(converted > 0);
}

#[test]
fn metadata_and_position_come_along() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    let options = SaveOptions::default().with_metadata("run", "7").with_position(Position::Step(12));
    save(&at("a.safetensors"), &training(), &options).unwrap();
    convert(&at("a.safetensors"), &at("b.pt"), &ConvertOptions::default()).unwrap();
    convert(&at("b.pt"), &at("c.safetensors"), &ConvertOptions::default()).unwrap();
    assert!(fs::read(at("a.safetensors")).unwrap() == fs::read(at("c.safetensors")).unwrap());
}

#[test]
fn nothing_is_lost_silently() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    let mut state = training();
    state.insert("quarters", view(Dtype::F4, &[4])).unwrap();
    save(&at("a.safetensors"), &state, &SaveOptions::default()).unwrap();
    let error = convert(&at("a.safetensors"), &at("b.pt"), &ConvertOptions::default()).unwrap_err();
    assert!(error.kind() == ErrorKind::Usage && error.to_string().contains("'quarters'"), "{error}");
    assert!(!at("b.pt").exists());
    let lossy = ConvertOptions::default().with_losses();
    let converted = convert(&at("a.safetensors"), &at("b.pt"), &lossy).unwrap();
    let dropped: Vec<_> = converted.dropped.iter().map(|dropped| dropped.path.as_str()).collect();
    assert_eq!(dropped, ["quarters"]);
    assert!(open(&at("b.pt")).same_as(&training()).unwrap().is_none());
}

#[test]
fn a_flat_file_has_the_tensors_by_their_keys() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    save(&at("a.pt"), &training(), &SaveOptions::default()).unwrap();
    let flat = ConvertOptions::default().with_format(Format::TorchFlat);
    assert!(convert(&at("a.pt"), &at("flat.pt"), &flat).unwrap_err().to_string().contains("'step'"));
    let converted = convert(&at("a.pt"), &at("flat.pt"), &flat.with_losses()).unwrap();
    let dropped: Vec<_> = converted.dropped.iter().map(|dropped| dropped.path.as_str()).collect();
    assert_eq!(dropped, ["betas.0", "betas.1", "step", ""]);
    let (before, after) = (open(&at("a.pt")), open(&at("flat.pt")));
    let names: Vec<_> = after.tensors().unwrap().iter().map(|tensor| tensor.name().to_owned()).collect();
    assert_eq!(names, ["model.w", "model.b", "tied", "state.0.exp_avg"]);
    for tensor in after.tensors().unwrap() {
        assert_eq!(tensor.bytes().unwrap(), before.tensor(tensor.name()).unwrap().bytes().unwrap());
    }
    assert_eq!(after.tree().storages().len(), 3, "tied tensors stay tied");
}

#[test]
fn a_damaged_source_is_refused() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    save(&at("a.pt"), &training(), &SaveOptions::default()).unwrap();
    let mut file = fs::read(at("a.pt")).unwrap();
    let weight = bytes(60);
    let place = file.windows(60).position(|window| window == weight).unwrap();
    file[place] ^= 1;
    fs::write(at("a.pt"), file).unwrap();
    let error = convert(&at("a.pt"), &at("b.safetensors"), &ConvertOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupted);
    assert!(!at("b.safetensors").exists());
    let error = convert(&at("a.pt"), &at("a.pt"), &ConvertOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
}

#[test]
fn several_files_are_named_as_such() {
    let directory = TempDir::new().unwrap();
    let index = repository().join("tests/data/sharded/model.safetensors.index.json");
    let error = convert(&index, &directory.path().join("a.pt"), &ConvertOptions::default()).unwrap_err();
    assert!(error.to_string().contains("one by one"), "{error}");
}

/// The variable that tells this test's own process what to convert.
const CONVERT: &str = "CKPT_TEST_CONVERT";

/// The largest memory that the process has had so far, in MiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() >> 10
}

/// A file of 256 MiB is converted in a process of its own, which tells its peaks.
#[cfg(target_os = "linux")]
#[test]
fn memory_is_bounded_by_a_tensor() {
    if let Some(directory) = std::env::var_os(CONVERT) {
        let at = |name: &str| Path::new(&directory).join(name);
        let before = peak();
        convert(&at("a.safetensors"), &at("b.pt"), &ConvertOptions::default()).unwrap();
        convert(&at("b.pt"), &at("c.safetensors"), &ConvertOptions::default()).unwrap();
        println!("\ngrew by {} MiB", peak() - before);
        return;
    }
    let directory = TempDir::new().unwrap();
    let tensor = bytes(16 << 20);
    let mut state = State::new();
    for number in 0..16 {
        let view = TensorView::new(Dtype::F32, [1024, 4096], tensor.as_slice()).unwrap();
        state.insert(format!("layer.{number}"), view).unwrap();
    }
    let options = SaveOptions::default().without_validation().with_durability(Durability::None);
    save(&directory.path().join("a.safetensors"), &state, &options).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "convert::memory_is_bounded_by_a_tensor", "--nocapture"]);
    let output = child.env(CONVERT, directory.path()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let grown = told.lines().find_map(|line| line.strip_prefix("grew by ")?.strip_suffix(" MiB"));
    let grown: u64 = grown.unwrap_or_else(|| panic!("{told}")).parse().unwrap();
    assert!(grown <= 64 + 16, "{grown} MiB");
}
