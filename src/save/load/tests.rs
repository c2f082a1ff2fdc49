use super::checks::Checks;
use super::structure::{Place, Record, Structure};
use super::*;
use crate::digest::Crc32;
use crate::tensor::{Body, MapKind, Storage, Tensor};
use crate::{Dtype, ErrorKind};

/// A structure of one storage that is a record at an offset.
fn record(bytes: &[u8], start: u64) -> Structure {
    let range = start..start + bytes.len() as u64;
    let record = Record { name: Some("archive/data/0".into()), crc32: Some(Crc32::of(bytes).value()) };
    let nodes = vec![Node::Map(MapKind::Dict, None)];
    Structure {
        tree: Tree::new(nodes, Vec::new(), NodeId(0)),
        places: vec![Place::At(range, record)],
        big_endian: false,
        proof: None,
        format: FormatKind::TorchZip,
        metadata: BTreeMap::new(),
        records: None,
    }
}

#[test]
fn a_record_is_summed_over_windows_in_any_order() {
    let bytes: Vec<u8> =
        (0..9_u32 << 20).map(|at| (at.wrapping_mul(0x9E37_79B1) >> 24).to_le_bytes()[0]).collect();
    let start = 1000;
    let structure = record(&bytes, start);
    let window = usize::try_from(crate::record::BLOCK_BYTES).unwrap();
    for damage in [None, Some(0), Some(window), Some(bytes.len() - 1)] {
        let mut bytes = bytes.clone();
        if let Some(at) = damage {
            bytes[at] ^= 1;
        }
        let checks = Checks::new(&structure, &HashMap::new(), [StorageId(0)]);
        // Windows begin at multiples of their length in the file, not in the record.
        let first = window - 1000;
        checks.feed(start + (first + window) as u64, &bytes[first + window..]);
        checks.feed(0, &[9; 500]);
        for part in bytes[..first].chunks(77_777).enumerate() {
            checks.feed(start + (part.0 * 77_777) as u64, part.1);
        }
        checks.feed(start + first as u64, &bytes[first..first + window]);
        let finding = checks.finding();
        assert_eq!(finding.is_some(), damage.is_some());
        assert!(finding.is_none_or(|finding| finding.at.offset == Some(start)));
    }
}

#[test]
fn bytes_that_never_came_are_damage() {
    let structure = record(&[1, 2, 3], 8);
    let checks = Checks::new(&structure, &HashMap::new(), [StorageId(0)]);
    assert!(checks.finding().is_some());
}

/// A structure of one big-endian storage with tensors of these types.
fn big_endian(dtypes: &[Dtype]) -> Structure {
    let mut structure = record(&[0; 8], 0);
    let storage = Storage { key: "0".into(), dtype: None, bytes: 8, device: "cpu".into(), part_of: None };
    let tensor = |dtype: &Dtype| Node::Tensor(Box::new(Tensor::contiguous(*dtype, vec![1], StorageId(0))));
    structure.tree = Tree::new(dtypes.iter().map(tensor).collect(), vec![storage], NodeId(0));
    structure.big_endian = true;
    structure
}

#[test]
fn two_widths_in_one_big_endian_storage_are_refused() {
    let turns = |dtypes: &[Dtype]| convert::turns(&big_endian(dtypes));
    assert_eq!(turns(&[Dtype::F32, Dtype::I32, Dtype::C64]).unwrap()[&StorageId(0)], Dtype::F32);
    assert_eq!(turns(&[]).unwrap()[&StorageId(0)], Dtype::U8);
    assert_eq!(turns(&[Dtype::F32, Dtype::F64]).unwrap_err().verdict, crate::Verdict::Incompatible);
}

#[test]
fn a_file_that_ended_early_is_no_damage() {
    let error = faults::io_error(Path::new("model.pt"), std::io::ErrorKind::UnexpectedEof.into());
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("load it again"), "{error}");
}

#[test]
fn a_strided_tensor_does_not_fill_its_storage() {
    let tensor = Tensor::contiguous(Dtype::F32, vec![2, 3], StorageId(0));
    assert_eq!((tensor.contiguous_start(), tensor.len_bytes()), (Some(0), Some(24)));
    let body = Body::Strided { storage: StorageId(0), offset: 1, strides: vec![1, 2], quantizer: None };
    assert_eq!(Tensor::new(Dtype::F32, vec![2, 3], body).contiguous_start(), None);
}

/// Tells of the first bytes that were read, and reads no more.
#[test]
fn a_load_that_is_cancelled_reads_no_further_window() {
    use crate::io::Cancel;
    use crate::tensor::{State, TensorView};
    use crate::validate::ProgressSink;

    const BYTES: usize = 3 << 22;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.pt");
    let mut state = State::new();
    state.insert("w", TensorView::new(Dtype::U8, [BYTES as u64], vec![7; BYTES]).unwrap()).unwrap();
    crate::save(&path, &state, &crate::SaveOptions::default()).unwrap();
    let cancelled = || {
        let cancel = Cancel::default();
        let same = cancel.clone();
        let mut options =
            LoadOptions::default().with_threads(1).with_access(Access::Eager).with_cancel(cancel);
        options.progress = Some(ProgressSink::new(move |_| same.cancel()));
        options
    };
    let error = load(&path, &cancelled()).err().unwrap();
    assert!(error.kind() == ErrorKind::Io && error.to_string().contains("cancelled"), "{error}");
    let mut bytes = vec![0; BYTES];
    let target = Target { name: "w", dtype: Dtype::U8, shape: &[BYTES as u64], bytes: &mut bytes };
    let error = load_into(&path, &mut [target], &cancelled()).unwrap_err();
    assert!(error.to_string().contains("cancelled"), "{error}");
    assert!(bytes[0] == 7 && bytes[BYTES - 1] == 0, "it ended early");
}
