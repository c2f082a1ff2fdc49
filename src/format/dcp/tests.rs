use std::path::Path;

use super::*;
use crate::Dtype;
use crate::format::torch::ReadOptions;
use crate::record::{Code, Finding, Verdict};

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/dcp").join(name)).unwrap()
}

fn read(bytes: &[u8]) -> Result<Metadata, Box<Finding>> {
    read_metadata(bytes, &ReadOptions::default())
}

fn place(shard: usize, range: std::ops::Range<u64>) -> Place {
    Place { shard, range, transforms: Vec::new(), proof: None, digest: None }
}

fn chunk(offsets: &[u64], sizes: &[u64], place: Option<Place>) -> Chunk {
    Chunk { offsets: offsets.to_vec(), sizes: sizes.to_vec(), place }
}

/// Replaces the one place where `old` stands. Lengths of texts are the caller's business.
fn with(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let places: Vec<_> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(old)).collect();
    assert_eq!(places.len(), 1, "{} stands at {places:?}", old.escape_ascii());
    [&bytes[..places[0]], new, &bytes[places[0] + old.len()..]].concat()
}

// A pickle by hand: text opcodes are readable, and mean what those of protocol 4 mean.

const PACKAGE: &str = "torch.distributed.checkpoint";

/// An object of a class in `metadata.py` or `filesystem.py`, with fields.
fn object(class: &str, fields: &[(&str, &str)]) -> String {
    let fields =
        fields.iter().map(|(name, value)| format!("S'{name}'\n{value}s")).collect::<Vec<_>>().concat();
    format!("c{PACKAGE}.{}\n(tR(d{fields}b", class.replace('.', "\n"))
}

fn size(lengths: &[i64]) -> String {
    let lengths = lengths.iter().map(|length| format!("I{length}\n")).collect::<Vec<_>>().concat();
    format!("ctorch\nSize\n(({lengths}ttR")
}

fn stored(path: &str, offset: i64, length: i64) -> String {
    let [offset, length] = [offset, length].map(|value| format!("I{value}\n"));
    let fields = [("relative_path", format!("S'{path}'\n")), ("offset", offset), ("length", length)];
    object("filesystem._StorageInfo", &fields.each_ref().map(|(name, value)| (*name, value.as_str())))
}

fn index(name: &str, offsets: &[i64]) -> String {
    object("metadata.MetadataIndex", &[("fqn", &format!("S'{name}'\n")), ("offset", &size(offsets))])
}

fn tensor(dtype: &str, lengths: &[i64], chunks: &[(&[i64], &[i64])]) -> String {
    let chunk = |(offsets, sizes): &(&[i64], &[i64])| {
        format!(
            "{}a",
            object("metadata.ChunkStorageMetadata", &[("offsets", &size(offsets)), ("sizes", &size(sizes))])
        )
    };
    let chunks = chunks.iter().map(chunk).collect::<Vec<_>>().concat();
    let properties = format!("c{PACKAGE}.metadata\nTensorProperties\n(tR(ctorch\n{dtype}\ntb");
    let fields = [("properties", properties), ("size", size(lengths)), ("chunks", format!("(l{chunks}"))];
    object("metadata.TensorStorageMetadata", &fields.each_ref().map(|(name, value)| (*name, value.as_str())))
}

fn metadata(values: &[(&str, String)], items: &[(String, String)], more: &[(&str, &str)]) -> Vec<u8> {
    let values =
        values.iter().map(|(name, value)| format!("S'{name}'\n{value}s")).collect::<Vec<_>>().concat();
    let items = items.iter().map(|(index, place)| format!("{index}{place}s")).collect::<Vec<_>>().concat();
    let (values, items) = (format!("(d{values}"), format!("(d{items}"));
    let mut fields = vec![("state_dict_metadata", values.as_str()), ("storage_data", items.as_str())];
    fields.extend(more);
    format!("{}.", object("metadata.Metadata", &fields)).into_bytes()
}

/// One tensor of two elements in one file.
fn one(path: &str, offset: i64, length: i64) -> Vec<u8> {
    let values = [("w", tensor("float32", &[2], &[(&[0], &[2])]))];
    metadata(&values, &[(index("w", &[0]), stored(path, offset, length))], &[])
}

#[track_caller]
fn refused(bytes: &[u8], verdict: Verdict, code: Code, word: &str) {
    let finding = read(bytes).unwrap_err();
    assert_eq!((finding.verdict, finding.code), (verdict, code), "{finding:?}");
    assert!(finding.message.contains(word), "{finding:?}");
}

#[test]
fn what_pytorch_writes_is_read() {
    let read = read(&fixture("ranks/.metadata")).unwrap();
    assert_eq!(read.version.as_deref(), Some("1.0.0"));
    assert_eq!(read.save_id.as_deref(), Some("00000000-0000-4000-8000-000000000000"));
    assert_eq!(read.strays, 0);
    let mut shards = read.shards.clone();
    shards.sort();
    assert_eq!(shards, ["__0_0.distcp", "__1_0.distcp"]);
    let names: Vec<_> = read.tensors.iter().map(|tensor| (tensor.name.as_str(), &*tensor.shape)).collect();
    assert_eq!(names, [("rows", &[3, 5][..]), ("columns", &[3, 5]), ("same", &[2])]);
    let columns = &read.tensors[1];
    assert_eq!(columns.dtype, Dtype::F32);
    let sizes: Vec<_> = columns.chunks.iter().map(|chunk| (&*chunk.offsets, &*chunk.sizes)).collect();
    assert_eq!(sizes, [(&[0, 0][..], &[3, 3][..]), (&[0, 3], &[3, 2])]);
    let places = columns.chunks.iter().map(|chunk| chunk.place.as_ref().unwrap());
    let shards: Vec<_> = places.map(|place| read.shards[place.shard].as_str()).collect();
    assert_eq!(shards, ["__0_0.distcp", "__1_0.distcp"]);
    assert_eq!(read.values.len(), 1);
    assert_eq!(read.values[0].name, "step");
    assert!(read.values[0].place.is_some());
}

#[test]
fn a_metadata_file_by_hand_is_read() {
    let expected = Metadata {
        tensors: vec![Tensor {
            name: "w".to_owned(),
            dtype: Dtype::F32,
            shape: vec![2],
            chunks: vec![chunk(&[0], &[2], Some(place(0, 5..12)))],
        }],
        shards: vec!["__0_0.distcp".to_owned()],
        ..Metadata::default()
    };
    assert_eq!(read(&one("__0_0.distcp", 5, 7)).unwrap(), expected);
}

/// Protocols 2 and 5 write other opcodes for the same.
#[test]
fn old_classes_and_other_protocols_are_read() {
    let new = one("a", 0, 1);
    let text = String::from_utf8(new.clone()).unwrap();
    let old = text.replace(
        "torch.distributed.checkpoint.metadata\nTensorProperties",
        "torch.distributed._shard.sharded_tensor.metadata\nTensorProperties",
    );
    assert_eq!(read(old.as_bytes()), read(&new));
    let framed = [&b"\x80\x05\x95\0\0\0\0\0\0\0\0"[..], &new].concat();
    assert_eq!(read(&framed), read(&new));
}

#[test]
fn what_has_no_place_is_told_and_what_has_no_owner_is_counted() {
    let values = [
        ("w", tensor("float32", &[2], &[(&[0], &[1]), (&[1], &[1])])),
        ("step", object("metadata.BytesStorageMetadata", &[])),
    ];
    let items = [(index("w", &[1]), stored("a", 0, 1)), (index("step", &[]), stored("a", 1, 1))];
    let read = read(&metadata(&values, &items, &[])).unwrap();
    let places: Vec<_> = read.tensors[0].chunks.iter().map(|chunk| chunk.place.is_some()).collect();
    assert_eq!(places, [false, true]);
    // An item of a tensor without dimensions isn't that of a value.
    assert_eq!((read.values[0].place.clone(), read.strays), (None, 1));
}

#[test]
fn paths_that_lead_elsewhere_are_refused() {
    for path in ["../__0_0.distcp", "/etc/passwd", "a/../../b", "..", "", "C:\\\\a", "a\\x00b"] {
        refused(&one(path, 0, 1), Verdict::Incompatible, Code::IndexMalformed, "path");
    }
}

#[test]
fn names_outside_of_the_list_need_trust() {
    let call = ("planner_data", "cposix\nsystem\n(S'id'\ntR");
    let bytes = metadata(&[], &[], &[call]);
    refused(&bytes, Verdict::Incompatible, Code::NeedsTrust, "'posix.system'");
    let options = ReadOptions::default().with_allowed_globals(["posix.system".to_owned()]);
    assert!(read_metadata(&bytes, &options).unwrap().tensors.is_empty());
}

#[test]
fn a_later_version_is_incompatible() {
    let version = |word: &str| metadata(&[], &[], &[("version", &format!("S'{word}'\n"))]);
    assert_eq!(read(&version("1.9")).unwrap().version.as_deref(), Some("1.9"));
    refused(&version("2.0.0"), Verdict::Incompatible, Code::ContainerTooNew, "2.0.0");
    refused(&version("x"), Verdict::Corrupted, Code::IndexMalformed, "no version");
}

#[test]
fn values_of_wrong_types_are_malformed() {
    let whole = one("a", 0, 1);
    let place = stored("a", 0, 1);
    let properties = "(ctorch\nfloat32\ntb";
    for (old, new, word) in [
        (place.as_str(), "N", "_StorageInfo"),
        ("S'relative_path'\nS'a'\n", "S'relative_path'\nI5\n", "no text"),
        ("S'relative_path'\n", "S'relative_pat'\n", "'relative_path'"),
        ("S'offset'\nI0\n", "S'offset'\nI-1\n", "negative"),
        ("S'length'\nI1\n", "S'length'\nS'1'\n", "no integer"),
        (properties, "(I5\ntb", "no dtype"),
        (properties, "Nb", "no dtype"),
        ("S'size'\n", "S'sizf'\n", "'size'"),
        ("S'chunks'\n(l", "S'chunks'\n(d", "dict"),
        ("S'fqn'\nS'w'\n", "S'fqn'\nN", "'fqn'"),
        ("S'storage_data'\n", "S'storage_datb'\n", "'storage_data'"),
    ] {
        let bytes = with(&whole, old.as_bytes(), new.as_bytes());
        let finding = read(&bytes).unwrap_err();
        assert!(finding.message.contains(word), "{finding:?}");
        assert_eq!(finding.verdict, Verdict::Corrupted, "{finding:?}");
    }
    refused(&one("a", i64::MAX, 1), Verdict::Corrupted, Code::IndexMalformed, "ends where no file can");
    refused(b"\x80\x04N.", Verdict::Corrupted, Code::IndexMalformed, "'NoneType'");
    refused(&[&whole[..], b"x"].concat(), Verdict::Corrupted, Code::PickleDamaged, "1 bytes follow");
}

#[test]
fn chunks_lie_within_their_tensor() {
    for (offsets, sizes) in
        [(&[1][..], &[2][..]), (&[0], &[3]), (&[i64::MAX], &[1]), (&[0, 0], &[1, 1]), (&[], &[])]
    {
        let values = [("w", tensor("float32", &[2], &[(offsets, sizes)]))];
        refused(&metadata(&values, &[], &[]), Verdict::Corrupted, Code::IndexMalformed, "lies outside");
    }
    let negative = [("w", tensor("float32", &[2], &[(&[-1], &[2])]))];
    refused(&metadata(&negative, &[], &[]), Verdict::Corrupted, Code::IndexMalformed, "no size");
    let huge = [("w", tensor("float32", &[i64::MAX, i64::MAX], &[]))];
    refused(&metadata(&huge, &[], &[]), Verdict::Corrupted, Code::IndexMalformed, "larger than any");
    let deep = [("w", tensor("float32", &[1; 65], &[]))];
    refused(&metadata(&deep, &[], &[]), Verdict::Corrupted, Code::IndexMalformed, "65 dimensions");
}

/// A list of a thousand chunks costs a file some kilobytes, and every further tensor that shares it some bytes.
#[test]
fn what_is_shared_too_often_is_refused() {
    let one: (&[i64], &[i64]) = (&[0], &[0]);
    let shared = tensor("float32", &[2], &vec![one; 1_000]);
    let more = (0..20_000).map(|at| format!("S'{at}'\ng9\ns")).collect::<Vec<_>>().concat();
    let values = format!("(dS'w'\n{shared}p9\ns{more}");
    let fields = [("state_dict_metadata", values.as_str()), ("storage_data", "(d")];
    let bytes = format!("{}.", object("metadata.Metadata", &fields));
    refused(bytes.as_bytes(), Verdict::Incompatible, Code::TooComplex, "too often");
}

#[test]
fn objects_have_few_fields() {
    let fields = (0..100).map(|at| format!("S'{at}'\nNs")).collect::<Vec<_>>().concat();
    let bytes = with(&one("a", 0, 1), b"S'fqn'\n", format!("{fields}S'fqn'\n").as_bytes());
    refused(&bytes, Verdict::Corrupted, Code::IndexMalformed, "too many");
}

#[test]
fn every_prefix_is_refused() {
    let bytes = fixture("ranks/.metadata");
    for end in 0..bytes.len() {
        let finding = read(&bytes[..end]).unwrap_err();
        assert_eq!(finding.verdict, Verdict::Corrupted, "{end}: {finding:?}");
    }
}

/// No flipped bit may do more than be told, or mean another description.
#[test]
fn every_flipped_bit_is_read_without_fault() {
    let bytes = fixture("alone/.metadata");
    let whole = read(&bytes).unwrap();
    let mut told = 0;
    for at in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[at / 8] ^= 1 << (at % 8);
        told += usize::from(read(&damaged).map_or(true, |metadata| metadata != whole));
    }
    assert!(told > bytes.len() * 4, "{told} of {}", bytes.len() * 8);
}

#[test]
fn deep_and_endless_values_are_no_matter() {
    let deep = format!("{}N{}", "(".repeat(100_000), "t".repeat(100_000));
    assert!(read(&metadata(&[], &[], &[("planner_data", &deep)])).is_ok());
    refused(b"(lp0\ng0\na.", Verdict::Corrupted, Code::IndexMalformed, "Metadata");
    let own = format!("{}p1\n(dS'storage_data'\ng1\nsb.", object("metadata.Metadata", &[]));
    refused(own.as_bytes(), Verdict::Corrupted, Code::IndexMalformed, "no map");
}
