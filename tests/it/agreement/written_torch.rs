//! What ckpt writes, read by the real PyTorch, by libtorch's C++ side, and by programs that read ZIP.
//!
//! The states are those of the zoo: everything that PyTorch can save, read by ckpt and written again.

use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ckpt::digest::Crc32;
use ckpt::format::torch::{Checkpoint, Flavour, StorageData, encode};
use ckpt::format::{EncodeOptions, Encoding};
use ckpt::io::ReadAt;
use ckpt::io::write::PieceDigest;
use ckpt::record::{BLOCK_BYTES, Level, Position, block_ranges};
use ckpt::tensor::{Data, State};
use ckpt::{Verdict, VerifyOptions};
use serde_json::Value;

use super::oracle::{self, Zoo};
use super::read::{self, Content};
use crate::dump;

/// What can't be written for PyTorch's safe reader, though ckpt reads it, and the word that says why.
const REFUSED: &[(&str, &str)] = &[
    ("objects/*/cyclic.pt", "contains itself"),
    ("objects/*/int_huge.pt", "301 bytes"),
    ("objects/*/needs_frozenset.pt", "frozenset"),
    ("objects/*/needs_*.pt", "list of names"),
    ("objects/*/numpy_*.pt", "of type numpy."),
    ("objects/*/rebuild_from_numpy.pt", "of type numpy."),
    ("objects/*/whole_module.pt", "list of names"),
    ("trainer/*/rng_state.pth", "of type numpy."),
    ("trainer/*/training_args.bin", "list of names"),
];

/// Where what PyTorch reads from our file differs from what it read from its own, or from what ckpt reads.
const DIFFERS: &[(&str, &str)] = &[
    (
        "objects/*/tensor_subclass.pt",
        "an unknown class's tensor is read as a plain one, and so it is written",
    ),
    (
        "objects/*/quantized_sub_byte.pt",
        "PyTorch writes per_channel_affine for …_float_qparams, and guesses when it reads",
    ),
];

/// Writes an encoding into memory, as plainly as can be: the pieces, then the head.
fn bytes_of(encoding: &dyn Encoding, options: &EncodeOptions) -> Vec<u8> {
    let place = |at: u64| usize::try_from(at).expect("a test's file fits into memory");
    let mut file = vec![0; place(encoding.len())];
    let mut digests = Vec::new();
    for piece in encoding.pieces() {
        let end = piece.offset + piece.source.len();
        let target = &mut file[place(piece.offset)..place(end)];
        piece.source.read_at(target, 0).expect("memory can be read");
        let crc32 = Some(Crc32::of(target));
        let blocks = if piece.is_data { block_ranges(&[piece.offset..end], BLOCK_BYTES) } else { Vec::new() };
        let digest = |block: &std::ops::Range<u64>| {
            options.algorithm.digest(&file[place(block.start)..place(block.end)])
        };
        digests.push(PieceDigest { blocks: blocks.iter().map(digest).collect(), crc32 });
    }
    for (at, bytes) in encoding.finish(&digests).parts {
        file[place(at)..place(at) + bytes.len()].copy_from_slice(&bytes);
    }
    file
}

/// Takes a checkpoint that was read for a state.
fn state_of(source: &dyn ReadAt, checkpoint: &Checkpoint) -> State<'static> {
    let data = checkpoint.data.iter().map(|data| match data {
        StorageData::At(range) => {
            let mut bytes = vec![0; usize::try_from(range.end - range.start).expect("it fits")];
            source.read_exact_at(&mut bytes, range.start).expect("the zoo's files can be read");
            Data::from(bytes)
        }
        // A part's bytes are those of the whole, and a meta tensor has none.
        StorageData::PartOf(..) | StorageData::Missing => Data::from(Vec::new()),
        StorageData::Deflated(entry) => {
            let mut bytes = vec![0; usize::try_from(entry.stored).expect("it fits")];
            source.read_exact_at(&mut bytes, entry.data.start).expect("the zoo's files can be read");
            let mut inflated = Vec::new();
            flate2::read::DeflateDecoder::new(&bytes[..]).read_to_end(&mut inflated).expect("DEFLATE");
            Data::from(inflated)
        }
    });
    State::from_parts(checkpoint.tree.clone(), data.collect())
}

/// A file of the zoo, written again.
struct Written {
    name: String,
    path: PathBuf,
    /// What PyTorch read from its own file.
    values: Vec<dump::Leaf>,
}

fn options() -> EncodeOptions {
    let mut options = EncodeOptions::default();
    options.position = Some(Position::Step(12));
    options.metadata.insert("note".to_owned(), "written again".to_owned());
    options
}

/// Writes all of the zoo again, and returns with the files what was refused.
fn rewrite(zoo: &Zoo, directory: &Path, flavour: Flavour) -> (Vec<Written>, Vec<(String, String)>) {
    let (mut written, mut refused) = (Vec::new(), Vec::new());
    for (number, entry) in zoo.entries().iter().enumerate() {
        let Ok(bytes) = std::fs::read(zoo.path(entry)) else { continue };
        let Ok(Content::Torch(checkpoint)) = read::read(&bytes) else { continue };
        let Some(values) = entry.values.as_ref().or(entry.trusted.as_ref()) else { continue };
        if checkpoint.big_endian {
            continue;
        }
        let state = state_of(&bytes, &checkpoint);
        match encode(&state, &options(), flavour) {
            Ok(encoding) => {
                let path = directory.join(format!("{number}.pt"));
                std::fs::write(&path, bytes_of(&encoding, &options())).expect("a temporary directory");
                written.push(Written { name: entry.name.clone(), path, values: dump::from_json(values) });
            }
            Err(error) => refused.push((entry.name.clone(), error.to_string())),
        }
    }
    (written, refused)
}

fn matches(pattern: &str, name: &str) -> bool {
    globset::Glob::new(pattern).expect("the table's patterns are globs").compile_matcher().is_match(name)
}

/// What PyTorch reads from a file, in all its ways; or what is wrong with it.
type Opened = Result<Vec<dump::Leaf>, String>;

fn open(python: &Path, paths: &[PathBuf]) -> Vec<Opened> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/opened.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let list: Vec<_> = paths.iter().map(|path| path.to_str().expect("the files' names are UTF-8")).collect();
    let mut input = child.stdin.take().expect("the child has an input");
    input.write_all(list.join("\n").as_bytes()).expect("Python takes the list");
    drop(input);
    let output = child.wait_with_output().expect("Python ends");
    assert!(output.status.success(), "opened.py failed: {}", output.status);
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let answer = |line: &str| {
        let answer: Value = serde_json::from_str(line).expect("opened.py prints JSON");
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(dump::from_json(&answer["values"])),
        }
    };
    let answers: Vec<_> = text.lines().map(answer).collect();
    assert_eq!(answers.len(), paths.len(), "opened.py gives a line for each file");
    answers
}

/// Says how a file differs from what it was written from; from what PyTorch reads, and from what ckpt reads.
fn difference(file: &Written, opened: &Opened) -> Option<String> {
    let theirs = match opened {
        Ok(theirs) => theirs,
        Err(error) => return Some(error.clone()),
    };
    let bytes = std::fs::read(&file.path).expect("it was just written");
    dump::differences(theirs, &file.values).or_else(|| read::compare(&bytes, theirs).err())
}

#[test]
fn pytorch_reads_what_is_written() {
    let test = "PyTorch on written files";
    let (zoo, python) = match (oracle::zoo(), oracle::python()) {
        (Ok(zoo), Ok(python)) => (zoo, python),
        (Err(reason), _) | (_, Err(reason)) => return oracle::skip(test, &reason),
    };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (written, refused) = rewrite(zoo, directory.path(), Flavour::Full);
    assert!(written.len() > 200, "only {} files were written", written.len());
    let mut wrong = Vec::new();
    let mut needed = vec![false; REFUSED.len()];
    for (name, error) in &refused {
        match REFUSED.iter().position(|(files, word)| matches(files, name) && error.contains(word)) {
            Some(at) => needed[at] = true,
            None => wrong.push(format!("{name}: refused: {error}")),
        }
    }
    assert!(needed.iter().all(|needed| *needed), "not every refusal is needed: {needed:?}");
    let paths: Vec<_> = written.iter().map(|written| written.path.clone()).collect();
    for (file, opened) in written.iter().zip(open(&python, &paths)) {
        let difference = difference(file, &opened);
        let known = DIFFERS.iter().any(|(files, _)| matches(files, &file.name));
        if difference.is_some() != known || opened.is_err() {
            wrong.push(format!("{}: {difference:?}, known: {known}", file.name));
        }
        let report = ckpt::verify(&file.path, &VerifyOptions::default().with_level(Level::Load));
        if report.verdict != Verdict::Valid || !report.findings.is_empty() {
            wrong.push(format!("{}: {:?}", file.name, report.findings));
        }
    }
    assert!(wrong.is_empty(), "{} of {} files:\n{}", wrong.len(), written.len(), wrong.join("\n"));
}

/// Compiles the program that reads files as libtorch does; the error says why it can't.
fn compile(python: &Path, directory: &Path) -> Result<PathBuf, String> {
    if Command::new("g++").arg("--version").output().is_err() {
        return Err("there is no g++".to_owned());
    }
    let output = Command::new(python).args(["-c", "import torch; print(torch.__path__[0])"]).output();
    let output = output.expect("Python starts").stdout;
    let torch = PathBuf::from(String::from_utf8(output).expect("a path").trim_end());
    let program = directory.join("loadz");
    let include = |folder: &str| format!("-I{}", torch.join(folder).display());
    let library = torch.join("lib");
    let output = Command::new("g++")
        .args(["-std=c++20", "-w", &include("include"), &include("include/torch/csrc/api/include")])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cpp/loadz.cpp"))
        .arg("-o")
        .arg(&program)
        .arg(format!("-L{}", library.display()))
        .arg(format!("-Wl,-rpath,{}", library.display()))
        .args(["-Wl,--no-as-needed", "-ltorch", "-ltorch_cpu", "-lc10"])
        .output()
        .expect("g++ starts");
    assert!(output.status.success(), "loadz.cpp: {}", String::from_utf8_lossy(&output.stderr));
    Ok(program)
}

/// The tensors of a flat dict as `loadz.cpp` prints them, without their types.
fn lines(file: &Written) -> Vec<String> {
    let tensor = |leaf: &dump::Leaf| {
        let shape = leaf.value["shape"].as_array().expect("a tensor has a shape").iter();
        let shape: Vec<_> = shape.map(|length| format!("{length},")).collect();
        format!("{}\t{}\t{}\t{}", file.path.display(), leaf.path, shape.concat(), leaf.value["crc32"])
    };
    // The dict itself comes first.
    let tensors = file.values.iter().skip(1);
    let mut lines: Vec<_> = tensors.map(tensor).collect();
    lines.sort();
    lines
}

#[test]
fn libtorch_reads_the_flat_flavour() {
    let test = "libtorch on written files";
    let (zoo, python) = match (oracle::zoo(), oracle::python()) {
        (Ok(zoo), Ok(python)) => (zoo, python),
        (Err(reason), _) | (_, Err(reason)) => return oracle::skip(test, &reason),
    };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = match compile(&python, directory.path()) {
        Ok(program) => program,
        Err(reason) => return oracle::skip(test, &reason),
    };
    let (mut written, _) = rewrite(zoo, directory.path(), Flavour::Flat);
    // One of 64 GiB is no test of a reader that copies.
    written.retain(|file| file.name.starts_with("objects/") && !file.name.ends_with("/expanded_far.pt"));
    assert!(written.len() > 30, "only {} files were written", written.len());
    let output = Command::new(program).args(written.iter().map(|file| &file.path)).output();
    let output = output.expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).expect("the names are UTF-8");
    let mut theirs: Vec<_> = printed.lines().map(str::to_owned).collect();
    theirs.sort();
    let mut ours: Vec<_> = written.iter().flat_map(lines).collect();
    ours.sort();
    assert_eq!(ours, theirs);
}

/// Without Python: the ZIP readers of others, and another reader of PyTorch's files.
#[test]
fn other_readers_take_what_is_written() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for name in ["small.pt", "small.legacy.pt"] {
        let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name));
        let bytes = bytes.expect("the repository has it");
        let Ok(Content::Torch(checkpoint)) = read::read(&bytes) else { panic!("{name} is sound") };
        let state = state_of(&bytes, &checkpoint);
        let encoding = encode(&state, &options(), Flavour::Full).expect("it can be written");
        let file = bytes_of(&encoding, &options());
        let path = directory.path().join(name);
        std::fs::write(&path, &file).expect("a temporary directory");
        let mut archive = zip::ZipArchive::new(Cursor::new(&file)).expect("a ZIP archive");
        for number in 0..archive.len() {
            let mut entry = archive.by_index(number).expect("an entry");
            std::io::copy(&mut entry, &mut std::io::sink()).expect("its checksum is right");
        }
        let theirs = pytorch_reader::PytorchReader::new(&path).expect("pytorch-reader takes it");
        let ours = checkpoint.tensors().expect("a bounded tree");
        assert_eq!(theirs.tensors().len(), ours.len(), "{name}");
        for tensor in &ours {
            let shape: Vec<_> =
                theirs.tensors()[&tensor.name].shape().iter().map(|&length| length as u64).collect();
            assert_eq!(shape, tensor.shape, "{}", tensor.name);
        }
        match Command::new("unzip").arg("-tq").arg(&path).output() {
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
            Err(_) => oracle::skip("unzip on written files", "there is no unzip"),
        }
    }
}
