//! Salvage: what the file proves is saved, and nothing else.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use ckpt::format::safetensors::{find_proof, read_header};
use ckpt::format::torch::archive::TorchArchive;
use ckpt::format::{Carried, Proven};
use ckpt::record::{Evidence, Salvaged};
use ckpt::save::{SalvageOptions, salvage};
use ckpt::tensor::{State, TensorView, Value};
use ckpt::{Dtype, LoadOptions, SaveOptions, VerifyOptions, load, save, verify};
use tempfile::TempDir;

/// A directory with a damaged file in it.
struct Place {
    directory: TempDir,
    name: &'static str,
}

impl Place {
    fn new(name: &'static str) -> Self {
        Self { directory: TempDir::new().unwrap(), name }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Saves a state whole, and returns its bytes.
    fn whole(&self, state: &State<'_>) -> Vec<u8> {
        let path = self.at(self.name);
        save(&path, state, &SaveOptions::default().with_metadata("run", "7")).unwrap();
        fs::read(path).unwrap()
    }

    /// Salvages these bytes; what comes out must be valid.
    fn salvage(
        &self,
        bytes: &[u8],
        options: &SalvageOptions,
    ) -> Result<(Salvaged, State<'static>), ckpt::Error> {
        fs::write(self.at(self.name), bytes).unwrap();
        let out = self.at("out.pt");
        let salvaged = salvage(&self.at(self.name), &out, options)?;
        assert!(verify(&out, &VerifyOptions::default()).reason().is_none());
        Ok((salvaged, load(&out, &LoadOptions::default()).unwrap()))
    }

    fn proven(&self, bytes: &[u8]) -> Proven {
        let bytes = bytes.to_vec();
        let carried = if Path::new(self.name).extension().is_some_and(|extension| extension == "pt") {
            TorchArchive::open(&bytes).unwrap().find_proof(&bytes)
        } else {
            find_proof(&bytes, &read_header(&bytes).unwrap())
        };
        let Ok(Carried::Proof(proven)) = carried else { panic!("no proof") };
        *proven
    }
}

fn missing(salvaged: &Salvaged) -> Vec<&str> {
    salvaged.missing.iter().map(|missing| missing.name.as_str()).collect()
}

fn view(seed: u32, len: u32) -> TensorView<'static> {
    let byte = |at: u32| {
        let mixed = at.wrapping_mul(0x9E37_79B1).wrapping_add(seed.wrapping_mul(0x85EB_CA6B));
        let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x2C1B_3C6D);
        (mixed >> 24).to_le_bytes()[0]
    };
    TensorView::new(Dtype::U8, [u64::from(len)], (0..len).map(byte).collect::<Vec<_>>()).unwrap()
}

const NAMES: [&str; 4] = ["a", "b.c", "list.0", "tail"];

/// Four tensors of several blocks together, and plain values.
fn state() -> State<'static> {
    let mut state = State::new();
    state.insert("a", view(1, 3 << 20)).unwrap();
    state.insert("b", Value::Map(vec![("c".into(), view(2, 5 << 20).into())])).unwrap();
    state.insert("list", Value::List(vec![view(3, 777).into(), 5.into()])).unwrap();
    state.insert("tail", view(4, 1 << 20)).unwrap();
    state.insert("step", 12).unwrap();
    state
}

/// The tensor whose bytes lie in a range, by name.
fn owner(file: &[u8], range: &Range<u64>) -> String {
    let start = usize::try_from(range.start).unwrap();
    let sample = &file[start..start + 64.min(usize::try_from(range.end - range.start).unwrap())];
    let state = state();
    let has = |name: &&str| {
        let bytes = state.tensor(name).unwrap().bytes().unwrap().into_owned();
        bytes.windows(sample.len()).any(|window| window == sample)
    };
    NAMES.into_iter().find(has).unwrap().to_owned()
}

#[test]
fn a_damaged_block_is_one_missing_tensor() {
    for name in ["file.safetensors", "file.pt"] {
        let place = Place::new(name);
        let whole = place.whole(&state());
        let blocks = place.proven(&whole).blocks();
        assert!(blocks.len() > NAMES.len());
        for block in &blocks {
            let mut damaged = whole.clone();
            damaged[usize::try_from(block.end - 1).unwrap()] ^= 0x10;
            let (salvaged, saved) = place.salvage(&damaged, &SalvageOptions::default()).unwrap();
            let expected = owner(&whole, block);
            assert_eq!(missing(&salvaged), [expected.as_str()]);
            assert_eq!((salvaged.saved, salvaged.evidence), (3, Evidence::Proof));
            let before = state();
            for tensor in NAMES.into_iter().filter(|name| **name != expected) {
                let bytes = saved.tensor(tensor).unwrap().bytes().unwrap();
                assert!(bytes == before.tensor(tensor).unwrap().bytes().unwrap());
            }
            assert!(saved.tensor(&expected).is_none() && saved.value("step") == before.value("step"));
            // The list keeps its shape.
            assert_eq!(saved.value("list.1"), before.value("list.1"));
        }
    }
}

#[test]
fn a_whole_file_is_saved_whole() {
    for name in ["file.safetensors", "file.pt"] {
        let place = Place::new(name);
        let (salvaged, saved) = place.salvage(&place.whole(&state()), &SalvageOptions::default()).unwrap();
        assert!(salvaged.missing.is_empty() && salvaged.unproven.is_empty());
        assert!(saved.same_as(&state()).unwrap().is_none());
    }
}

/// Of a file that was cut, exactly those tensors are saved whose data lies before the end.
#[test]
fn a_cut_file_gives_what_is_before_the_cut() {
    for name in ["file.safetensors", "file.pt"] {
        let place = Place::new(name);
        let whole = place.whole(&state());
        let data = place.proven(&whole).data;
        let ends: Vec<u64> =
            data.iter().flat_map(|range| [range.end - 1, range.end, range.end + 1]).collect();
        for end in ends {
            let cut = &whole[..usize::try_from(end).unwrap().min(whole.len())];
            let kept: Vec<_> = data.iter().filter(|range| range.end <= end).collect();
            let salvaged = place.salvage(cut, &SalvageOptions::default());
            if kept.is_empty() {
                assert!(salvaged.is_err(), "{name} {end}");
                continue;
            }
            let (salvaged, saved) = salvaged.unwrap();
            assert_eq!(salvaged.saved, kept.len() as u64, "{name} {end}");
            assert_eq!(saved.value("step"), state().value("step"));
            for range in kept {
                assert!(saved.tensor(&owner(&whole, range)).is_some(), "{name} {end}");
            }
        }
        // Within the head.
        let first = usize::try_from(data[0].start).unwrap();
        for end in [0, 1, 9, first / 2] {
            assert!(place.salvage(&whole[..end], &SalvageOptions::default()).is_err(), "{name} {end}");
        }
    }
}

/// PyTorch's own archives say sizes and checksums behind the data.
#[test]
fn an_archive_of_pytorch_is_read_without_its_directory() {
    let place = Place::new("file.pt");
    let whole = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/small.pt")).unwrap();
    let archive = TorchArchive::open(&whole).unwrap();
    let entries: Vec<_> =
        archive.archive.entries.iter().filter(|entry| entry.name.contains("/data/")).collect();
    let last = entries.iter().map(|entry| entry.data.end).max().unwrap();
    let count = load(
        &{
            fs::write(place.at("whole.pt"), &whole).unwrap();
            place.at("whole.pt")
        },
        &LoadOptions::default(),
    )
    .unwrap()
    .tensors()
    .unwrap()
    .len() as u64;
    // The directory is gone, and all descriptors are there.
    let cut = &whole[..usize::try_from(last).unwrap() + 24];
    let (salvaged, _) = place.salvage(cut, &SalvageOptions::default()).unwrap();
    assert_eq!((salvaged.saved, salvaged.missing.len(), salvaged.evidence), (count, 0, Evidence::Crc32));
    // One byte of a storage, with and without the directory.
    for end in [whole.len(), cut.len()] {
        let mut damaged = whole[..end].to_vec();
        damaged[usize::try_from(last).unwrap() - 1] ^= 1;
        let (salvaged, _) = place.salvage(&damaged, &SalvageOptions::default()).unwrap();
        assert!(!salvaged.missing.is_empty() && salvaged.saved < count);
        assert_eq!(salvaged.saved + salvaged.missing.len() as u64, count);
    }
    // The last descriptor is cut off: nothing proves the last storage.
    let cut = &whole[..usize::try_from(last).unwrap()];
    let (salvaged, _) = place.salvage(cut, &SalvageOptions::default()).unwrap();
    assert!(!salvaged.missing.is_empty());
    let (salvaged, _) = place.salvage(cut, &SalvageOptions::default().with_unproven()).unwrap();
    assert!(salvaged.missing.is_empty() && !salvaged.unproven.is_empty());
}

#[test]
fn any_byte_of_a_small_archive_may_be_damaged() {
    let place = Place::new("file.pt");
    let mut small = State::new();
    for name in ["a", "b"] {
        small.insert(name, view(9, 100)).unwrap();
    }
    let whole = place.whole(&small);
    for at in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x21;
        if let Ok((salvaged, saved)) = place.salvage(&damaged, &SalvageOptions::default()) {
            assert!(salvaged.unproven.is_empty());
            for tensor in saved.tensors().unwrap() {
                assert!(
                    tensor.bytes().unwrap() == small.tensor(tensor.name()).unwrap().bytes().unwrap(),
                    "{at}"
                );
            }
        }
    }
}

#[test]
fn what_nothing_proves_is_saved_only_on_demand() {
    let place = Place::new("file.safetensors");
    let header = b"{\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"x\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}}";
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(b"1234567");
    let error = place.salvage(&bytes, &SalvageOptions::default()).unwrap_err();
    assert!(error.to_string().contains("nothing proves"), "{error}");
    let (salvaged, saved) = place.salvage(&bytes, &SalvageOptions::default().with_unproven()).unwrap();
    assert_eq!((&salvaged.unproven[..], missing(&salvaged)), (&["w".to_owned()][..], vec!["x"]));
    assert_eq!(&*saved.tensor("w").unwrap().bytes().unwrap(), b"1234");
}

/// A name was damaged: the proof's digests still fit the data.
#[test]
fn a_damaged_head_proves_no_name() {
    let place = Place::new("file.safetensors");
    let mut bytes = place.whole(&state());
    let name = bytes.windows(6).position(|window| window == b"\"tail\"").unwrap();
    bytes[name + 1] = b'T';
    assert!(place.salvage(&bytes, &SalvageOptions::default()).is_err());
    let (salvaged, _) = place.salvage(&bytes, &SalvageOptions::default().with_unproven()).unwrap();
    assert_eq!((salvaged.evidence, salvaged.unproven.len(), salvaged.saved), (Evidence::DamagedProof, 4, 4));
    assert_eq!(salvaged.notes.len(), 1);
}

#[test]
fn the_new_file_says_what_it_is() {
    let place = Place::new("file.safetensors");
    let whole = place.whole(&state());
    let cut = &whole[..whole.len() - 1];
    fs::write(place.at("file.safetensors"), cut).unwrap();
    let out = place.at("out.safetensors");
    salvage(&place.at("file.safetensors"), &out, &SalvageOptions::default()).unwrap();
    let metadata = read_header(&fs::read(&out).unwrap()).unwrap().metadata;
    let told = ["salvaged-from", "salvaged-missing", "run"].map(|key| metadata[key].as_str());
    assert_eq!(told, ["file.safetensors", "1", "7"]);
}
