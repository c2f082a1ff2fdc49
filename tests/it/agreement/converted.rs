//! PyTorch's checkpoints as safetensors files: other readers open them, and nothing is lost.

use std::path::PathBuf;

use ckpt::format::safetensors::{encode, read_header, structure};
use ckpt::format::torch::{Checkpoint, StorageData};
use ckpt::format::{EncodeOptions, Encoding};
use ckpt::io::write::PieceDigest;
use ckpt::record::{BLOCK_BYTES, block_ranges};
use ckpt::tensor::{Data, State};
use ckpt::{Verdict, VerifyOptions, verify};

use super::oracle;
use super::read::{Content, read};
use crate::dump;

/// Takes a checkpoint for a state; `None` where its bytes aren't in the file as they are in memory.
fn state<'f>(file: &'f [u8], checkpoint: &Checkpoint) -> Option<State<'f>> {
    if checkpoint.big_endian {
        return None;
    }
    let bytes = |place: &StorageData| match place {
        StorageData::At(range) => {
            file.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
        }
        StorageData::Deflated(_) => None,
        // Those of the storage that it is a part of are asked for.
        StorageData::PartOf(..) | StorageData::Missing => Some([].as_slice()),
    };
    let data = checkpoint.data.iter().map(|place| bytes(place).map(Data::from)).collect::<Option<_>>()?;
    Some(State::from_parts(checkpoint.tree.clone(), data))
}

/// Writes an encoding into memory: piece by piece, then the head.
fn write(encoding: &dyn Encoding, options: &EncodeOptions) -> Vec<u8> {
    let mut file = vec![0xaa; usize::try_from(encoding.len()).unwrap()];
    let mut digests = Vec::new();
    for piece in encoding.pieces() {
        let range = piece.offset..piece.offset + piece.source.len();
        let place = |at: u64| usize::try_from(at).unwrap();
        piece.source.read_at(&mut file[place(range.start)..place(range.end)], 0).unwrap();
        let blocks = block_ranges(&[range], BLOCK_BYTES).into_iter();
        let blocks = blocks
            .map(|block| options.algorithm.digest(&file[place(block.start)..place(block.end)]))
            .collect();
        digests.push(PieceDigest { blocks, crc32: None });
    }
    for (at, part) in encoding.finish(&digests).parts {
        let at = usize::try_from(at).unwrap();
        file[at..at + part.len()].copy_from_slice(&part);
    }
    file
}

/// Converts a checkpoint of the zoo, and holds what is read from the new file against what was there.
/// `None` where there is nothing to convert.
fn convert(path: PathBuf) -> Option<Result<Vec<u8>, String>> {
    let file = std::fs::read(path).ok()?;
    let Ok(Content::Torch(checkpoint)) = read(&file) else { return None };
    let state = state(&file, &checkpoint)?;
    let options = EncodeOptions::default();
    let encoding = match encode(&state, &options) {
        Ok(encoding) => encoding,
        Err(error) => return Some(Err(error.to_string())),
    };
    let converted = write(&encoding, &options);
    let contents = match read_header(&converted).and_then(|header| structure::read(&header)) {
        Ok(contents) => contents,
        Err(flaw) => return Some(Err(format!("not read back: {flaw}"))),
    };
    let data = contents.ranges.into_iter().map(|range| StorageData::At(range.unwrap_or_default())).collect();
    let (tree, findings) = (contents.tree, Vec::new());
    let again = Checkpoint { tree, data, big_endian: false, findings };
    let (ours, theirs) = (dump::torch(&converted, &again), dump::torch(&file, &checkpoint));
    Some(dump::differences(&ours, &theirs).map_or(Ok(converted), Err))
}

#[test]
fn what_pytorch_saved_is_kept_in_safetensors() {
    let zoo = match oracle::zoo() {
        Ok(zoo) => zoo,
        Err(reason) => return oracle::skip("what_pytorch_saved_is_kept_in_safetensors", &reason),
    };
    let directory = tempfile::tempdir().unwrap();
    let (mut paths, mut faults) = (Vec::new(), Vec::new());
    let mut refused = 0;
    for entry in zoo.entries() {
        let name = &entry.name;
        match convert(zoo.path(entry)) {
            None => {}
            // No tree: every reader that recurses would never end.
            Some(Err(fault)) if name.ends_with("/cyclic.pt") => {
                assert!(fault.contains("a value contains itself"), "{name}: {fault}");
                refused += 1;
            }
            Some(Err(fault)) => faults.push(format!("{name}: {fault}")),
            Some(Ok(file)) => {
                let path = directory.path().join(format!("{}.safetensors", name.replace('/', "-")));
                std::fs::write(&path, file).unwrap();
                paths.push(path);
            }
        }
    }
    assert_eq!(refused, 2, "one in each of PyTorch's formats");
    assert!(paths.len() > 150, "{} of the zoo's checkpoints were converted", paths.len());
    let answers = oracle::ask(&oracle::python().unwrap(), &paths);
    for path in &paths {
        let file = std::fs::read(path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        let header = read_header(&file).unwrap();
        let verdict = verify(path, &VerifyOptions::default()).verdict;
        if verdict != Verdict::Valid {
            faults.push(format!("{name}: {verdict:?}"));
        }
        match &answers[path].values {
            None => faults.push(format!("{name}: {:?}", answers[path].error)),
            Some(values) => {
                let ours = dump::safetensors(&file, &header);
                if let Some(difference) = dump::differences(&ours, &dump::from_json(values)) {
                    faults.push(format!("{name}: {difference}"));
                }
            }
        }
        if let Err(error) = safetensors::SafeTensors::deserialize(&file) {
            faults.push(format!("{name}: {error}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
