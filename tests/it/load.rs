//! Loading: what comes in is what is in the file, or an error says where it isn't.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ckpt::digest::{Algorithm, Digest};
use ckpt::format::safetensors::PROOF_OPENING;
use ckpt::io::ReadAt;
use ckpt::record::{BLOCK_BYTES, Proof, block_ranges};
use ckpt::save::Target;
use ckpt::tensor::TensorRef;
use ckpt::{
    Access, Code, Dtype, ErrorKind, Level, LoadOptions, Verdict, VerifyOptions, load, load_into, verify,
};
use tempfile::TempDir;

use crate::agreement::read::{Content, read};
use crate::agreement::{corpus, oracle};
use crate::provided;

/// Larger tensors aren't compared.
const LIMIT: u64 = 64 << 20;

/// All ways in: into this crate's memory, at the first look, and into memory that the caller provides.
fn ways() -> [LoadOptions; 4] {
    [options(Access::Eager), options(Access::Mapped), options(Access::Streamed), provided::options()]
}

fn options(access: Access) -> LoadOptions {
    LoadOptions::default().with_access(access)
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// Every tensor of a file as the format's own reader reads it, in order; none for one without elements.
fn as_read(bytes: &Vec<u8>) -> Vec<(String, Option<Vec<u8>>)> {
    match read(bytes).unwrap() {
        Content::Safetensors(header) => {
            let part = |tensor: &ckpt::format::safetensors::Tensor| {
                let mut part = vec![0; usize::try_from(tensor.end - tensor.start).unwrap()];
                bytes.read_exact_at(&mut part, tensor.start).unwrap();
                (tensor.info.name.clone(), Some(part))
            };
            // In the order of the data: a header may list them in any.
            let mut tensors: Vec<_> = header.tensors.iter().collect();
            tensors.sort_by_key(|tensor| (tensor.start, tensor.end));
            tensors.into_iter().map(part).collect()
        }
        Content::Torch(checkpoint) => {
            let mut tensors = Vec::new();
            let visit = |leaf: &ckpt::tensor::Leaf<'_>| {
                if let ckpt::tensor::Node::Tensor(tensor) = leaf.node {
                    let elements = checkpoint.read_tensor(bytes, tensor, LIMIT).ok().flatten();
                    tensors.push((leaf.path.to_owned(), elements));
                }
            };
            checkpoint.tree.walk(visit).unwrap();
            tensors
        }
        Content::Foreign => panic!("a foreign format"),
    }
}

/// Loads a file and holds every tensor against the format's own reader. Returns how many have elements.
fn agree(path: &Path, options: &LoadOptions) -> Result<usize, String> {
    let expected = as_read(&std::fs::read(path).unwrap());
    let state = load(path, options).map_err(|error| error.to_string())?;
    let tensors = state.tensors().map_err(|error| error.to_string())?;
    let names: Vec<_> = tensors.iter().map(TensorRef::name).collect();
    if !expected.iter().map(|(name, _)| name.as_str()).eq(names) {
        return Err("other names, or another order".to_owned());
    }
    let mut compared = 0;
    for ((name, expected), tensor) in expected.iter().zip(&tensors) {
        match (expected, tensor.bytes()) {
            (Some(expected), Ok(found)) if *expected == *found => compared += 1,
            (None, Err(_)) => {}
            (None, Ok(_)) if tensor.len_bytes() > LIMIT => {}
            (_, Err(error)) => return Err(format!("{name}: {error}")),
            _ => return Err(format!("{name}: other elements")),
        }
    }
    Ok(compared)
}

fn check_all(paths: &[PathBuf]) {
    let is_valid = |path: &&PathBuf| verify(path, &VerifyOptions::default()).verdict == Verdict::Valid;
    let valid: Vec<_> = paths.iter().filter(is_valid).collect();
    assert!(!valid.is_empty());
    let mut compared = 0;
    let mut wrong = Vec::new();
    for path in valid {
        for options in ways() {
            match agree(path, &options) {
                Ok(count) => compared += count,
                Err(difference) => wrong.push(format!("{} {options:?}: {difference}", path.display())),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 0);
}

#[test]
fn what_is_valid_loads_with_the_same_values() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/valid.pt");
    check_all(&[samples, data("small.pt"), data("small.legacy.pt"), data("small.safetensors")]);
}

#[test]
fn what_is_valid_in_the_corpus_loads_with_the_same_values() {
    match oracle::corpus() {
        Ok(path) => {
            check_all(&corpus::files(&path).into_iter().map(|file| file.path).collect::<Vec<_>>());
        }
        Err(reason) => oracle::skip("loading the corpus", &reason),
    }
}

/// Makes a safetensors file that carries a proof, of two tensors that lie across windows. Returns it with its
/// data's ranges.
fn proven(directory: &TempDir) -> (PathBuf, Vec<std::ops::Range<u64>>) {
    let lens = [BLOCK_BYTES + 1000, 5000];
    let data: Vec<u8> =
        (0..lens[0] + lens[1]).map(|at| (at.wrapping_mul(0x9E37_79B9) >> 16).to_le_bytes()[0]).collect();
    let algorithm = Algorithm::Crc64Nvme;
    let zero = || Digest::from_hex(algorithm, "0000000000000000").unwrap();
    let mut proof = Proof {
        root: zero(),
        block_bytes: BLOCK_BYTES,
        writer: "test/1".into(),
        position: None,
        blocks: vec![zero(); 3],
    };
    let head = |proof: &Proof| {
        let mut text = format!(
            "{PROOF_OPENING}{}\",\"format\":\"pt\"}},\"a\":{{\"dtype\":\"U8\",\"shape\":[{}],\"data_offsets\":[0,{}]}},\"b\":{{\"dtype\":\"F32\",\"shape\":[1250],\"data_offsets\":[{},{}]}}}}",
            proof.encode(),
            lens[0],
            lens[0],
            lens[0],
            lens[0] + lens[1]
        );
        while (text.len() + 8) % 4096 != 0 {
            text.push(' ');
        }
        [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
    };
    let start = head(&proof).len() as u64;
    let ranges = vec![start..start + lens[0], start + lens[0]..start + lens[0] + lens[1]];
    let place = |at: u64| usize::try_from(at - start).unwrap();
    let digest = |range: &std::ops::Range<u64>| algorithm.digest(&data[place(range.start)..place(range.end)]);
    proof.blocks = block_ranges(&ranges, BLOCK_BYTES).iter().map(digest).collect();
    assert_eq!(proof.blocks.len(), 3);
    proof.root = algorithm.digest(&head(&proof));
    let path = directory.path().join("proven.safetensors");
    std::fs::write(&path, [head(&proof), data].concat()).unwrap();
    (path, ranges)
}

fn flip(path: &Path, offset: u64) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[usize::try_from(offset).unwrap()] ^= 4;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_proof_is_held_against_what_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let (path, ranges) = proven(&directory);
    for options in ways() {
        assert_eq!(agree(&path, &options), Ok(2));
    }
    let window = BLOCK_BYTES;
    for (at, tensor, block) in [
        (ranges[0].start, "a", ranges[0].start),
        (window - 1, "a", ranges[0].start),
        (window, "a", window),
        (ranges[1].start, "b", ranges[1].start),
        (ranges[1].end - 1, "b", ranges[1].start),
    ] {
        flip(&path, at);
        for options in [options(Access::Eager), provided::options()] {
            damaged(&load(&path, &options).unwrap_err(), tensor, block);
        }
        let state = load(&path, &options(Access::Mapped)).unwrap();
        for _ in 0..2 {
            damaged(&state.tensor(tensor).unwrap().bytes().unwrap_err(), tensor, block);
        }
        let other = if tensor == "a" { "b" } else { "a" };
        assert!(state.tensor(other).unwrap().bytes().is_ok());
        let only = options(Access::Eager).with_tensors(other.parse().unwrap());
        assert_eq!(load(&path, &only).unwrap().tensors().unwrap().len(), 1);
        assert!(load(&path, &options(Access::Eager).with_verify(false)).is_ok());
        flip(&path, at);
    }
    // A character of the padding, which no reader looks at.
    flip(&path, ranges[0].start - 1);
    for options in ways() {
        let error = load(&path, &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
    }
}

fn damaged(error: &ckpt::Error, tensor: &str, offset: u64) {
    assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
    let finding = error.finding().unwrap();
    assert_eq!((finding.code, finding.level), (Code::ChecksumMismatch, Level::Load));
    assert_eq!((finding.at.tensor.as_deref(), finding.at.offset), (Some(tensor), Some(offset)), "{error}");
}

#[test]
fn a_records_checksum_is_held_against_what_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.pt");
    let bytes = std::fs::read(data("small.pt")).unwrap();
    let archive = ckpt::format::torch::archive::TorchArchive::open(&bytes).unwrap();
    let mut storages = 0;
    for entry in
        archive.archive.entries.iter().filter(|entry| entry.name.contains("/data/") && entry.size > 0)
    {
        std::fs::write(&path, &bytes).unwrap();
        flip(&path, entry.data.end - 1);
        let error = load(&path, &options(Access::Eager)).unwrap_err();
        let finding = error.finding().unwrap();
        assert_eq!((error.kind(), finding.code), (ErrorKind::Corrupted, Code::ChecksumMismatch));
        assert_eq!(finding.at.record.as_deref(), Some(entry.name.as_str()));
        assert_eq!(finding.at.offset, Some(entry.data.start));
        assert!(finding.at.tensor.is_some());
        let state = load(&path, &options(Access::Mapped)).unwrap();
        let faults = state.tensors().unwrap().iter().filter(|tensor| tensor.bytes().is_err()).count();
        assert!(faults > 0);
        storages += 1;
    }
    assert!(storages > 0);
}

#[test]
fn a_file_that_is_replaced_stays_readable() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.pt");
    std::fs::copy(data("small.pt"), &path).unwrap();
    let expected = as_read(&std::fs::read(&path).unwrap());
    let state = load(&path, &options(Access::Mapped)).unwrap();
    let other = directory.path().join("other");
    std::fs::write(&other, b"x").unwrap();
    std::fs::rename(&other, &path).unwrap();
    for ((_, expected), tensor) in expected.iter().zip(state.tensors().unwrap()) {
        assert_eq!(expected.as_deref(), tensor.bytes().ok().as_deref());
    }
}

/// A file with a contiguous tensor, a transposed one, tied ones, and plain values: as `torch.save` writes it.
fn small() -> (PathBuf, BTreeMap<String, Vec<u8>>) {
    let path = data("small.pt");
    let tensors = as_read(&std::fs::read(&path).unwrap());
    (path, tensors.into_iter().filter_map(|(name, bytes)| Some((name, bytes?))).collect())
}

#[test]
fn some_tensors_are_loaded_and_the_others_left_out() {
    let (path, all) = small();
    let (name, bytes) = all.iter().next().unwrap();
    for options in ways() {
        let whole = load(&path, &options).unwrap();
        let state = load(&path, &options.clone().with_tensors(name.parse().unwrap())).unwrap();
        let tensors = state.tensors().unwrap();
        assert_eq!(tensors.iter().map(TensorRef::name).collect::<Vec<_>>(), [name]);
        assert_eq!(*tensors[0].bytes().unwrap(), **bytes);
        assert_eq!(state.tree().storages().len(), 1);
        let plain = |state: &ckpt::State<'_>| {
            let mut values = Vec::new();
            let visit = |leaf: &ckpt::tensor::Leaf<'_>| {
                if matches!(leaf.node, ckpt::tensor::Node::Int(_) | ckpt::tensor::Node::Text(_)) {
                    values.push(leaf.path.to_owned());
                }
            };
            state.tree().walk(visit).unwrap();
            values
        };
        assert_eq!(plain(&whole), plain(&state));
        let error = load(&path, &options.with_tensors("nothing.*".parse().unwrap())).unwrap_err();
        assert_eq!(error.finding().unwrap().code, Code::KeyMissing);
    }
}

#[test]
fn what_is_required_is_looked_at_before_any_data() {
    let directory = tempfile::tempdir().unwrap();
    let (path, ranges) = proven(&directory);
    flip(&path, ranges[0].start);
    let required = options(Access::Eager).with_required("a:f32".parse().unwrap());
    let error = load(&path, &required).unwrap_err();
    assert_eq!((error.kind(), error.finding().unwrap().code), (ErrorKind::Incompatible, Code::DtypeMismatch));
    let required = options(Access::Eager).with_required("c".parse().unwrap());
    assert_eq!(load(&path, &required).unwrap_err().finding().unwrap().code, Code::KeyMissing);
}

#[test]
fn tensors_that_are_there_are_filled() {
    for name in ["small.pt", "small.legacy.pt", "small.safetensors"] {
        let path = data(name);
        let state = load(&path, &options(Access::Eager)).unwrap();
        let tensors: Vec<_> =
            state.tensors().unwrap().into_iter().filter(|tensor| tensor.bytes().is_ok()).collect();
        let mut memory: Vec<_> =
            tensors.iter().map(|tensor| vec![7; tensor.bytes().unwrap().len()]).collect();
        let mut targets: Vec<_> = tensors
            .iter()
            .zip(&mut memory)
            .map(|(tensor, bytes)| Target {
                name: tensor.name(),
                dtype: tensor.dtype(),
                shape: tensor.shape(),
                bytes,
            })
            .collect();
        assert!(!targets.is_empty());
        load_into(&path, &mut targets, &LoadOptions::default()).unwrap();
        for (tensor, bytes) in tensors.iter().zip(&memory) {
            assert_eq!(*tensor.bytes().unwrap(), **bytes, "{name} {}", tensor.name());
        }
    }
}

#[test]
fn nothing_is_touched_where_a_target_does_not_fit() {
    let directory = tempfile::tempdir().unwrap();
    let (path, ranges) = proven(&directory);
    let len = ranges[0].end - ranges[0].start;
    let mut a = vec![7; usize::try_from(len).unwrap()];
    let mut b = vec![7; 5000];
    for (name, dtype, shape, code) in [
        ("c", Dtype::F32, vec![1250], Some(Code::KeyMissing)),
        ("b", Dtype::I32, vec![1250], Some(Code::DtypeMismatch)),
        ("b", Dtype::F32, vec![2, 625], Some(Code::ShapeMismatch)),
    ] {
        let fits = Target { name: "a", dtype: Dtype::U8, shape: &[len], bytes: &mut a };
        let other = Target { name, dtype, shape: &shape, bytes: &mut b };
        let error = load_into(&path, &mut [fits, other], &LoadOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Incompatible);
        assert_eq!(error.finding().map(|finding| finding.code), code);
        assert!(a.iter().chain(&b).all(|byte| *byte == 7));
    }
    let short = Target { name: "b", dtype: Dtype::F32, shape: &[1250], bytes: &mut b[1..] };
    assert_eq!(load_into(&path, &mut [short], &LoadOptions::default()).unwrap_err().kind(), ErrorKind::Usage);
    flip(&path, ranges[1].start);
    let target = Target { name: "b", dtype: Dtype::F32, shape: &[1250], bytes: &mut b };
    let error = load_into(&path, &mut [target], &LoadOptions::default()).unwrap_err();
    damaged(&error, "b", ranges[1].start);
    assert!(error.to_string().contains("partly overwritten"), "{error}");
}

#[test]
fn what_is_no_file_of_one_checkpoint_is_refused_with_a_remedy() {
    for path in [data("sharded"), data("sharded").join("model.safetensors.index.json")] {
        let error = load(&path, &LoadOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("one by one"), "{error}");
    }
    let error = load(&data("missing.pt"), &LoadOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    let error = load(&data("make.py"), &LoadOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incompatible);
}

/// No damaged file makes it panic, and none gives other tensors than the sound one in silence.
#[test]
fn files_cut_anywhere_are_errors() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["small.pt", "small.legacy.pt", "small.safetensors"] {
        let bytes = std::fs::read(data(name)).unwrap();
        let path = directory.path().join(name);
        for len in (0..bytes.len()).step_by(41) {
            std::fs::write(&path, &bytes[..len]).unwrap();
            for options in ways() {
                let loaded = load(&path, &options);
                assert!(loaded.is_err(), "{name} cut at {len} loads");
            }
        }
    }
}
