use std::ops::Range;
use std::path::Path;

use super::*;
use crate::format::torch::Pickled;
use crate::io::{FileSource, ReadAt as _, ScanSource as _, Section};
use crate::record::{BLOCK_BYTES, Level};
use crate::save::{LoadOptions, SaveOptions, load};
use crate::tensor::{Data, State, TensorView};
use crate::validate::{VerifyOptions, proof_of, verify_source};
use crate::{Dtype, ErrorKind};

/// `{'w': <class of somebody>}`.
const CLASS: &[u8] = b"\x80\x02}q\0X\x01\0\0\0wcsomebody\nClass\ns.";

/// A state with one tensor of bytes, none like those of another seed.
fn state(len: usize, seed: u64) -> State<'static> {
    let mut state = State::new();
    let bytes: Vec<u8> =
        (seed..).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).take(len).collect();
    state.insert("w", TensorView::new(Dtype::U8, [len as u64], bytes).unwrap()).unwrap();
    state
}

fn is_valid(path: &Path, range: &Range<u64>, level: Level) -> bool {
    let source = FileSource::open(path).unwrap();
    let section = Section::new(&source, range.clone()).unwrap();
    verify_source(path, &section, &VerifyOptions::default().with_level(level)).is_valid()
}

/// Lengths around that of a window, and small ones between them.
const LENGTHS: [usize; 9] = [10, 3 << 20, 0, 9 << 20, 100_000, BLOCK_BYTES as usize, 1, 5_000_000, 4 << 10];

#[test]
fn each_item_is_a_checkpoint_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("series");
    let states: Vec<_> = LENGTHS.iter().zip(0..).map(|(len, seed)| state(*len, seed)).collect();
    let items: Vec<_> = states.iter().map(SeriesItem::State).collect();
    for algorithm in [crate::digest::Algorithm::Crc64Nvme, crate::digest::Algorithm::Blake3] {
        let saved = save_series(&path, &items, &SaveOptions::default().with_algorithm(algorithm)).unwrap();
        assert_eq!(saved.items.len(), items.len());
        assert_eq!(std::fs::metadata(&path).unwrap().len(), saved.bytes);
        for (item, state) in saved.items.iter().zip(&states) {
            assert!(item.is_proven && is_valid(&path, &item.range, Level::Load), "{item:?}");
            let options = LoadOptions::default().with_section(item.range.clone());
            let loaded = load(&path, &options).unwrap();
            assert_eq!(
                loaded.tensor("w").unwrap().bytes().unwrap(),
                state.tensor("w").unwrap().bytes().unwrap()
            );
            let source = FileSource::open(&path).unwrap().section(item.range.clone()).unwrap();
            assert_eq!(proof_of(&source).unwrap().proof.id(), item.digest);
        }
    }
}

#[test]
fn an_item_has_the_bytes_that_it_has_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (path, alone) = (directory.path().join("series"), directory.path().join("alone.pt"));
    let (first, second) = (state(5 << 20, 1), state(6 << 20, 2));
    let items = [SeriesItem::State(&first), SeriesItem::State(&second)];
    let saved = save_series(&path, &items, &SaveOptions::default()).unwrap();
    crate::save(&alone, &second, &SaveOptions::default()).unwrap();
    let (series, alone) = (std::fs::read(&path).unwrap(), std::fs::read(&alone).unwrap());
    let range = usize::try_from(saved.items[1].range.start).unwrap()..;
    assert!(series[range] == alone[..], "the second item isn't the file that it would be alone");
}

#[test]
fn what_is_small_shares_a_window() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("series");
    let states: Vec<_> = (0..100).map(|seed| state(8, seed)).collect();
    let items: Vec<_> = states.iter().map(SeriesItem::State).collect();
    let saved = save_series(&path, &items, &SaveOptions::default()).unwrap();
    let sum: u64 = saved.items.iter().map(|item| item.range.end - item.range.start).sum();
    assert!(saved.bytes < sum + 100 * 64, "{} bytes for {sum}", saved.bytes);
}

#[test]
fn what_is_no_state_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("series");
    let pickled = Pickled::new(CLASS.to_vec(), vec![Data::from(vec![7_u8; 30])]).unwrap();
    let items = [SeriesItem::Bytes(b"somebody's own"), SeriesItem::Pickled(&pickled), SeriesItem::Bytes(b"")];
    let saved = save_series(&path, &items, &SaveOptions::default()).unwrap();
    let [own, class, empty] = &saved.items[..] else { panic!("three items") };
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(&bytes[..own.range.end as usize], b"somebody's own");
    let digest = crate::digest::Algorithm::Crc64Nvme.digest(b"somebody's own");
    assert_eq!((own.is_proven, &own.digest), (false, &format!("crc64-nvme:{digest}")));
    assert!(class.is_proven && is_valid(&path, &class.range, Level::Container));
    assert!(empty.range.is_empty());
}

#[test]
fn an_archive_is_taken_up_as_it_is() {
    let mut state = State::new();
    state.insert("a", TensorView::new(Dtype::U8, [3], vec![1, 2, 3]).unwrap()).unwrap();
    state.insert("b", TensorView::new(Dtype::U8, [2], vec![4, 5]).unwrap()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (path, again) = (directory.path().join("a.pt"), directory.path().join("b.pt"));
    crate::save(&path, &state, &SaveOptions::default()).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let pickled = Pickled::of_archive(bytes.clone()).unwrap();
    crate::save::save_pickled(&again, &pickled, &SaveOptions::default()).unwrap();
    assert!(std::fs::read(&again).unwrap() == bytes);
    let at = bytes.windows(3).position(|part| part == [1, 2, 3]).unwrap();
    let damaged: Vec<_> = bytes.iter().enumerate().map(|(i, byte)| byte ^ u8::from(i == at)).collect();
    assert!(Pickled::of_archive(damaged).is_none());
    assert!(Pickled::of_archive(b"no archive".to_vec()).is_none());
}

#[test]
fn damage_is_found_in_the_item_that_it_is_in() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("series");
    let states: Vec<_> = [100, 5 << 20, 200].iter().zip(0..).map(|(len, seed)| state(*len, seed)).collect();
    let items: Vec<_> = states.iter().map(SeriesItem::State).collect();
    let saved = save_series(&path, &items, &SaveOptions::default()).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let at = usize::try_from(saved.items[1].range.end - (2 << 20)).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let valid: Vec<_> = saved.items.iter().map(|item| is_valid(&path, &item.range, Level::Load)).collect();
    assert_eq!(valid, [true, false, true]);
    let options = LoadOptions::default().with_access(crate::save::Access::Eager);
    let error = load(&path, &options.with_section(saved.items[1].range.clone())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupted);
}

#[test]
fn a_cut_file_is_corrupted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("series");
    let state = state(100, 1);
    let saved = save_series(&path, &[SeriesItem::State(&state)], &SaveOptions::default()).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let error = load(&path, &LoadOptions::default().with_section(saved.items[0].range.clone())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupted);
    assert!(error.to_string().contains("the file has"), "{error}");
}

#[test]
fn what_a_series_cannot_have_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("series");
    let mut marker = SaveOptions::default();
    marker.marker = true;
    for options in [marker, SaveOptions::default().with_format(crate::save::Format::Safetensors)] {
        assert_eq!(save_series(&path, &[], &options).unwrap_err().kind(), ErrorKind::Usage);
    }
    std::fs::write(&path, "old").unwrap();
    let mut keep = SaveOptions::default();
    keep.overwrite = false;
    assert!(save_series(&path, &[], &keep).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    let source = FileSource::open(&path).unwrap();
    assert!(source.checksum(&[0..source.len()], &crate::io::ScanOptions::default()).is_ok());
}
