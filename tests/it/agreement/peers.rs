//! Second opinions: the crates of the field on the same files.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use ckpt::format::safetensors::{Header, read_header};
use ckpt::format::zip::{Archive, LOCAL_SIGNATURE};
use pytorch_reader::PytorchReader;
use safetensors::SafeTensors;

use super::oracle;
use super::read::{Content, read};

/// A tensor's dtype, as the project names it, and shape.
type Kinds = BTreeMap<String, (String, Vec<u64>)>;

/// The stem of a file's name, of which the `zip` crate can't read the archive that `torch.save` makes:
/// it looks for the directory's beginning at the end record minus the directory's size, PyTorch has 76
/// bytes of ZIP64 records in between, and 46 + 21 + 9 bytes of a directory entry are just as many.
const STEM_THAT_ZIP_FAILS_ON: usize = 21;

fn corpus(test: &str) -> Vec<PathBuf> {
    match oracle::corpus() {
        Ok(corpus) => super::corpus::files(&corpus).into_iter().map(|file| file.path).collect(),
        Err(reason) => {
            oracle::skip(test, &reason);
            Vec::new()
        }
    }
}

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("the file can be read")
}

fn stem_length(path: &Path) -> usize {
    path.file_stem().map_or(0, std::ffi::OsStr::len)
}

/// Files on which ckpt and `pytorch-reader` differ, where both read them.
const PYTORCH_READER_DIFFERS: &[(&str, &str)] = &[];

#[test]
fn pytorch_reader_sees_the_same_tensors() {
    let mut compared = 0;
    for path in corpus("pytorch-reader on the corpus") {
        let bytes = bytes(&path);
        let Ok(Content::Torch(checkpoint)) = read(&bytes) else { continue };
        let Ok(theirs) = PytorchReader::new(&path) else { continue };
        let Ok(ours) = checkpoint.tensors() else { continue };
        let ours: Kinds = ours
            .into_iter()
            .map(|tensor| (tensor.name, (tensor.dtype.as_str().to_owned(), tensor.shape)))
            .collect();
        let kind = |tensor: &pytorch_reader::Tensor| {
            let shape = tensor.shape().iter().map(|&length| length as u64).collect();
            (format!("{:?}", tensor.dtype()).to_lowercase(), shape)
        };
        let theirs: Kinds =
            theirs.tensors().iter().map(|(name, tensor)| (name.clone(), kind(tensor))).collect();
        let known = PYTORCH_READER_DIFFERS.iter().find(|(file, _)| path.ends_with(file));
        assert_eq!(ours == theirs, known.is_none(), "{}: ours {ours:?}, theirs {theirs:?}", path.display());
        compared += 1;
    }
    assert!(compared == 0 || compared > 80, "only {compared} files were compared");
}

/// Files that the `safetensors` crate reads and ckpt refuses.
const SAFETENSORS_READS: &[(&str, &str)] = &[
    ("dup_key_escaped.safetensors", "a name twice: the crate takes the last"),
    ("dup_key_shape_differs.safetensors", "a name twice: the crate takes the last"),
    ("info_as_array.safetensors", "the specification asks for a map"),
    ("dtype_F6_E2M3.safetensors", "no framework has the dtype"),
    ("zero_times_huge.safetensors", "no framework has so large a dimension"),
];

#[test]
fn the_safetensors_crate_sees_the_same_tensors() {
    let mut needed = vec![false; SAFETENSORS_READS.len()];
    let mut compared = 0;
    for path in corpus("the safetensors crate on the corpus") {
        if path.extension().is_none_or(|extension| extension != "safetensors") {
            continue;
        }
        compared += 1;
        let bytes = bytes(&path);
        let known = SAFETENSORS_READS.iter().position(|(file, _)| path.ends_with(file));
        match (read_header(&bytes), SafeTensors::deserialize(&bytes)) {
            (Ok(ours), Ok(theirs)) => assert_same(&path, &bytes, &ours, &theirs),
            (Err(_), Err(_)) => {}
            (Err(flaw), Ok(_)) => {
                let at =
                    known.unwrap_or_else(|| panic!("{}: only the crate reads it: {flaw}", path.display()));
                needed[at] = true;
            }
            (Ok(_), Err(error)) => panic!("{}: only ckpt reads it: {error}", path.display()),
        }
    }
    assert!(compared == 0 || compared > 80, "only {compared} files were compared");
    assert!(compared == 0 || needed.iter().all(|needed| *needed), "not every entry is needed: {needed:?}");
}

fn assert_same(path: &Path, bytes: &[u8], ours: &Header, theirs: &SafeTensors<'_>) {
    assert_eq!(ours.tensors.len(), theirs.len(), "{}", path.display());
    for tensor in &ours.tensors {
        let other = theirs.tensor(&tensor.info.name).expect("the crate has the tensor");
        let shape: Vec<u64> = other.shape().iter().map(|&length| length as u64).collect();
        let place = format!("{}: {}", path.display(), tensor.info.name);
        assert_eq!(tensor.info.shape, shape, "{place}");
        assert_eq!(tensor.info.dtype.safetensors_name(), Some(other.dtype().to_string().as_str()), "{place}");
        let range = usize::try_from(tensor.start).unwrap()..usize::try_from(tensor.end).unwrap();
        assert!(bytes[range] == *other.data(), "{place}: other bytes");
    }
}

#[test]
fn the_zip_crate_sees_the_same_entries() {
    let mut compared = 0;
    for path in corpus("the zip crate on the corpus") {
        let bytes = bytes(&path);
        let Some(ours) = bytes.starts_with(&LOCAL_SIGNATURE).then(|| Archive::open(&bytes).ok()).flatten()
        else {
            continue;
        };
        compared += 1;
        match zip::ZipArchive::new(Cursor::new(&bytes)) {
            Ok(theirs) => assert_same_entries(&path, &ours, theirs),
            Err(error) => {
                let known = stem_length(&path) == STEM_THAT_ZIP_FAILS_ON;
                assert!(known, "{}: only ckpt reads it: {error}", path.display());
            }
        }
    }
    assert!(compared == 0 || compared > 150, "only {compared} archives were compared");
}

fn assert_same_entries(path: &Path, ours: &Archive, mut theirs: zip::ZipArchive<Cursor<&Vec<u8>>>) {
    assert_eq!(ours.entries.len(), theirs.len(), "{}", path.display());
    for (at, entry) in ours.entries.iter().enumerate() {
        let other = theirs.by_index_raw(at).expect("the crate has the entry");
        let place = format!("{}: {}", path.display(), entry.name);
        assert_eq!(entry.name, other.name().expect("a sound name"), "{place}");
        assert_eq!((entry.size, entry.stored), (other.size(), other.compressed_size()), "{place}");
        assert_eq!(entry.crc32.unwrap_or(0), other.crc32(), "{place}");
        assert_eq!(Some(entry.data.start), other.data_start(), "{place}");
    }
}

/// PyTorch's archives open here whatever the length of the file's name, and so they are checked by our
/// own reader. When this fails at the second assertion, the crate is mended.
#[test]
fn stems_of_21_characters_are_read_where_the_zip_crate_fails() {
    let zoo = match oracle::zoo() {
        Ok(zoo) => zoo,
        Err(reason) => return oracle::skip("stems of every length", &reason),
    };
    let stems = zoo.entries().iter().filter(|entry| entry.name.starts_with("stems/"));
    let mut lengths = 0;
    for entry in stems {
        let path = zoo.path(entry);
        let bytes = bytes(&path);
        assert!(Archive::open(&bytes).is_ok(), "{}", entry.name);
        let theirs = zip::ZipArchive::new(Cursor::new(&bytes));
        assert_eq!(
            theirs.is_err(),
            stem_length(&path) == STEM_THAT_ZIP_FAILS_ON,
            "{}: {theirs:?}",
            entry.name
        );
        lengths += 1;
    }
    assert!(lengths >= 40, "only {lengths} stems");
}
