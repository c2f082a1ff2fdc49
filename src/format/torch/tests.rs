use super::archive::{TorchArchive, begins_like_torch};
use super::*;
use crate::format::zip::tests::{Style, deflated, zip};
use crate::format::{Flaw, detect};
use crate::record::{FormatKind, Verdict};
use crate::tensor::Node;

/// The pickle of one float tensor of two elements in storage `0`, saved from `device`.
fn pickle_of(rebuild: &str, storage: &str) -> Vec<u8> {
    format!("ctorch._utils\n_rebuild_tensor_v2\n({storage}{rebuild}I00\nNtR.").into_bytes()
}

fn floats(key: &str, count: u32, device: &str) -> String {
    format!("(S'storage'\nctorch\nFloatStorage\nS'{key}'\nS'{device}'\nI{count}\ntQ")
}

fn two_floats() -> Vec<u8> {
    pickle_of("I0\n(I2\nt(I1\nt", &floats("0", 2, "cpu"))
}

const DATA: [u8; 8] = [0, 0, 0x80, 0x3f, 0, 0, 0, 0x40];

/// A whole checkpoint's records; `change` may add, drop or replace some.
fn records<'a>(pickle: &'a [u8], change: &[(&'a str, Option<&'a [u8]>)]) -> Vec<u8> {
    let mut all: Vec<(&str, &[u8])> =
        vec![("a/data.pkl", pickle), ("a/byteorder", b"little"), ("a/data/0", &DATA), ("a/version", b"3\n")];
    for (name, content) in change {
        all.retain(|(other, _)| other != name);
        all.extend(content.map(|content| (*name, content)));
    }
    zip(Style::Torch, &all).bytes
}

fn open(bytes: &[u8]) -> TorchArchive {
    TorchArchive::open(&bytes.to_vec()).unwrap_or_else(|flaw| panic!("{flaw}"))
}

#[track_caller]
fn found<T: std::fmt::Debug>(read: Result<T, Flaw>, code: Code, verdict: Verdict, word: &str) -> Finding {
    let Err(Flaw::Found(finding)) = read else { panic!("{read:?}") };
    assert_eq!((finding.code, finding.verdict), (code, verdict), "{finding:?}");
    assert!(finding.message.contains(word), "'{word}' isn't in {finding:?}");
    *finding
}

fn read(bytes: &[u8]) -> (Checkpoint, Vec<Finding>) {
    open(bytes).read(&bytes.to_vec(), &ReadOptions::default()).unwrap_or_else(|flaw| panic!("{flaw}"))
}

// The ZIP archive.

#[test]
fn a_checkpoint_is_read() {
    let pickle = two_floats();
    let bytes = records(&pickle, &[]);
    let archive = open(&bytes);
    assert_eq!(archive.kind, FormatKind::TorchZip);
    assert_eq!(archive.metadata["version"], "3");
    assert!(!archive.is_tagged());
    let (checkpoint, findings) = read(&bytes);
    assert_eq!(findings, []);
    let tensors = checkpoint.tensors().unwrap();
    assert_eq!((tensors[0].name.as_str(), tensors[0].shape.as_slice(), tensors[0].bytes), ("", &[2][..], 8));
    let Node::Tensor(tensor) = checkpoint.tree.node(checkpoint.tree.root()) else { panic!("no tensor") };
    assert_eq!(checkpoint.read_tensor(&bytes, tensor, 8).unwrap().unwrap(), DATA);
    assert_eq!(checkpoint.read_tensor(&bytes, tensor, 7).unwrap(), None, "larger than the limit");
}

#[test]
fn views_are_read_in_order_and_big_endian_ones_turned() {
    let pickle = pickle_of("I0\n(I2\nI2\nt(I0\nI1\nt", &floats("0", 2, "cpu"));
    let turned: Vec<u8> = DATA.chunks(4).flat_map(|element| element.iter().rev()).copied().collect();
    let bytes = records(&pickle, &[("a/byteorder", Some(b"big")), ("a/data/0", Some(&turned))]);
    let (checkpoint, _) = read(&bytes);
    assert!(checkpoint.big_endian);
    let Node::Tensor(tensor) = checkpoint.tree.node(checkpoint.tree.root()) else { panic!("no tensor") };
    let elements = checkpoint.read_tensor(&bytes, tensor, 100).unwrap().unwrap();
    assert_eq!(elements, [DATA, DATA].concat());
}

#[test]
fn deflated_records_are_read() {
    let pickle = two_floats();
    let bytes = deflated(&[("a/data.pkl", &pickle[..]), ("a/data/0", &DATA), ("a/version", b"3\n")]).bytes;
    let (checkpoint, findings) = read(&bytes);
    assert_eq!(findings, []);
    assert!(matches!(checkpoint.data[0], StorageData::Deflated(_)));
    let id = crate::tensor::StorageId(0);
    assert_eq!(checkpoint.read_storage(&bytes, id).unwrap(), DATA);
}

#[test]
fn a_pickle_that_inflates_beyond_measure_is_too_complex() {
    let pickle = [two_floats(), vec![0; 40 << 20]].concat();
    let bytes = deflated(&[("a/data.pkl", &pickle[..]), ("a/version", b"3\n")]).bytes;
    let read = open(&bytes).read(&bytes, &ReadOptions::default());
    let finding = found(read, Code::TooComplex, Verdict::Incompatible, "would decompress");
    assert_eq!(finding.at.record.as_deref(), Some("a/data.pkl"));
}

#[test]
fn every_kind_of_archive_is_told_by_its_records() {
    for (names, kind) in [
        (&["a/data.pkl", "a/version"][..], FormatKind::TorchZip),
        (&["a/data.pkl", "a/constants.pkl", "a/version"], FormatKind::TorchScript),
        (&["a/archive_format", "a/data/weights/0"], FormatKind::TorchExport),
        (&["a/archive_version"], FormatKind::TorchExport),
        (&["x.npy", "y.npy"], FormatKind::Npz),
        (&["x.npy", "readme"], FormatKind::Zip),
        (&["word/document.xml"], FormatKind::Zip),
        (&["data.pkl", "version"], FormatKind::Zip),
        (&[], FormatKind::Zip),
    ] {
        let entries: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, &b"3\n"[..])).collect();
        let bytes = zip(Style::Plain, &entries).bytes;
        assert_eq!(open(&bytes).kind, kind, "{names:?}");
        assert_eq!(begins_like_torch(&bytes), names.first() == Some(&"a/data.pkl"), "{names:?}");
    }
}

#[test]
fn records_that_must_be_there() {
    let pickle = two_floats();
    for (name, word) in [("a/data.pkl", "'data.pkl' is missing"), ("a/version", "'version' is missing")] {
        let bytes = records(&pickle, &[(name, None)]);
        let finding = found(TorchArchive::open(&bytes), Code::RecordMissing, Verdict::Corrupted, word);
        assert_eq!((finding.level, finding.at.record.as_deref()), (Level::Container, Some(name)));
    }
    // Files of before 1.8 or so have no byte order.
    assert_eq!(read(&records(&pickle, &[("a/byteorder", None)])).1, []);
}

#[test]
fn versions_from_1_to_10_are_known() {
    let pickle = two_floats();
    let with = |version: &'static [u8]| records(&pickle, &[("a/version", Some(version))]);
    for version in [&b"1"[..], b"10\n"] {
        assert_eq!(open(&records(&pickle, &[("a/version", Some(version))])).kind, FormatKind::TorchZip);
    }
    for (version, code) in [
        (&b"11\n"[..], Code::ContainerTooNew),
        (b"0\n", Code::ContainerVersion),
        (b"99999999999999999999\n", Code::ContainerVersion),
        (b"three", Code::ContainerVersion),
        (b"", Code::ContainerVersion),
        (b"-1", Code::ContainerVersion),
    ] {
        let finding = found(TorchArchive::open(&with(version)), code, Verdict::Incompatible, "version is");
        assert_eq!(finding.at.record.as_deref(), Some("a/version"));
    }
}

#[test]
fn a_byte_order_that_no_writer_writes_is_unknown() {
    let pickle = two_floats();
    let bytes = records(&pickle, &[("a/byteorder", Some(b"middle\x1b"))]);
    let finding = found(
        TorchArchive::open(&bytes),
        Code::ByteOrderUnknown,
        Verdict::Incompatible,
        "'middle\\u{1b}': neither little nor big",
    );
    assert_eq!(finding.at.record.as_deref(), Some("a/byteorder"));
}

#[test]
fn two_folders_in_one_archive_are_ambiguous() {
    let pickle = two_floats();
    let bytes = records(&pickle, &[("b/data.pkl", Some(b"N."))]);
    let finding = found(TorchArchive::open(&bytes), Code::Ambiguous, Verdict::Incompatible, "folder 'a/'");
    assert_eq!(finding.at.record.as_deref(), Some("b/data.pkl"));
}

#[test]
fn a_zero_byte_in_a_name_is_ambiguous() {
    let pickle = two_floats();
    let bytes = records(&pickle, &[("a/data/0\0x", Some(b"other"))]);
    let finding = found(TorchArchive::open(&bytes), Code::Ambiguous, Verdict::Incompatible, "zero byte");
    assert_eq!(finding.at.record.as_deref(), Some("a/data/0\0x"));
    // In another's archive it is none of our business.
    assert_eq!(open(&zip(Style::Plain, &[("x\0y", b"1")]).bytes).kind, FormatKind::Zip);
}

#[test]
fn storages_without_record_or_of_another_size_are_found() {
    let pickle = two_floats();
    let (checkpoint, findings) = read(&records(&pickle, &[("a/data/0", None)]));
    assert_eq!((findings[0].code, findings[0].verdict), (Code::RecordMissing, Verdict::Corrupted));
    assert_eq!(findings[0].at.record.as_deref(), Some("a/data/0"));
    assert!(matches!(checkpoint.data[0], StorageData::Missing));
    let (_, findings) = read(&records(&pickle, &[("a/data/0", Some(&DATA[..7]))]));
    assert_eq!((findings[0].code, findings[0].level), (Code::StorageSize, Level::Load));
    assert_eq!(findings[0].message, "the record has 7 bytes, but its tensors were saved with 8");
    // A meta tensor has no data by nature.
    let meta = pickle_of("I0\n(I2\nt(I1\nt", &floats("0", 2, "meta"));
    assert_eq!(read(&records(&meta, &[("a/data/0", None)])).1, []);
}

#[test]
fn a_pickle_without_its_checksum_is_not_read() {
    let pickle = two_floats();
    let mut bytes = records(&pickle, &[]);
    let start = usize::try_from(open(&bytes).archive.entries[0].data.start).unwrap();
    bytes[start] ^= 1;
    let read = open(&bytes).read(&bytes, &ReadOptions::default());
    let finding = found(read, Code::ChecksumMismatch, Verdict::Corrupted, "was stored for them");
    assert_eq!((finding.at.offset, finding.at.record.as_deref()), (Some(start as u64), Some("a/data.pkl")));
}

#[test]
fn a_vouched_pickle_is_never_called_damaged() {
    for (pickle, code) in [
        (&b"garbage"[..], Code::PickleInvalid),
        (b"K", Code::PickleInvalid),
        (b"\x97.", Code::PickleInvalid),
        (&[&b"})"[..], &[0x85; 20], b"Ns."].concat(), Code::TooComplex),
        (&pickle_of("I0\n(I3\nt(I1\nt", &floats("0", 2, "cpu")), Code::TensorOutOfBounds),
        (b"cposix\nsystem\n(tR\x7f", Code::NeedsTrust),
    ] {
        let bytes = records(pickle, &[]);
        let read = open(&bytes).read(&bytes, &ReadOptions::default());
        let finding = found(read, code, Verdict::Incompatible, "");
        assert_eq!((finding.level, finding.at.record.as_deref()), (Level::Load, Some("a/data.pkl")));
    }
}

#[test]
fn what_a_user_should_know_is_noted() {
    let pickle = pickle_of("I0\n(I2\nt(I1\nt", &floats("0", 2, "cuda:1"));
    let (checkpoint, _) = read(&records(&pickle, &[]));
    let codes: Vec<Code> = checkpoint.findings.iter().map(|finding| finding.code).collect();
    // Text opcodes aren't of the protocol that PyTorch reads.
    assert_eq!(codes, [Code::TorchRefuses, Code::DeviceTag]);
    assert!(checkpoint.findings[1].message.contains("cuda:1"));
    let hostile = records(b"\x80\x02cposix\nsystem\n)R.", &[]);
    let (checkpoint, _) = read(&hostile);
    assert_eq!(checkpoint.findings[0].code, Code::NeedsTrust);
    assert_eq!(checkpoint.findings[0].verdict, Verdict::Incompatible);
    assert!(checkpoint.findings[0].message.contains("'posix.system'"));
    let options = ReadOptions::default().with_allowed_globals(["posix.system".to_owned()]);
    let (checkpoint, _) = open(&hostile).read(&hostile, &options).unwrap();
    let codes: Vec<_> = checkpoint.findings.iter().map(|finding| (finding.code, finding.verdict)).collect();
    assert_eq!(codes, [(Code::GlobalAllowed, Verdict::Valid), (Code::TorchRefuses, Verdict::Valid)]);
}

#[test]
fn a_million_unsafe_names_make_no_million_findings() {
    let names: Vec<String> = (0..1000).map(|number| format!("cm\nC{number}\n0")).collect();
    let bytes = records(format!("{}N.", names.concat()).as_bytes(), &[]);
    let (checkpoint, _) = read(&bytes);
    let unsafe_names = checkpoint.findings.iter().filter(|finding| finding.code == Code::NeedsTrust);
    assert_eq!(unsafe_names.count(), 21);
}

#[test]
fn ckpts_own_records_tag_an_archive() {
    let pickle = two_floats();
    assert!(open(&records(&pickle, &[("a/ckpt/proof", Some(b"x"))])).is_tagged());
}

// The five pickles of before 1.6.

const HEAD: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.";

fn old(system: &[u8], values: &[u8], keys: &[u8], rest: &[u8]) -> Vec<u8> {
    [HEAD, system, values, keys, rest].concat()
}

/// How many elements, and their bytes.
fn stored(count: i64, bytes: &[u8]) -> Vec<u8> {
    [&count.to_le_bytes(), bytes].concat()
}

fn read_old(bytes: &[u8]) -> Result<Checkpoint, Flaw> {
    legacy::read(&bytes.to_vec(), &ReadOptions::default())
}

#[test]
fn an_old_file_is_read() {
    let bytes = old(b"}.", &two_floats(), b"(lS'0'\na.", &stored(2, &DATA));
    assert_eq!(detect(&bytes).unwrap(), FormatKind::TorchLegacy);
    let checkpoint = read_old(&bytes).unwrap();
    let start = bytes.len() as u64 - 8;
    assert!(matches!(&checkpoint.data[0], StorageData::At(range) if *range == (start..start + 8)));
    let Node::Tensor(tensor) = checkpoint.tree.node(checkpoint.tree.root()) else { panic!("no tensor") };
    assert_eq!(checkpoint.read_tensor(&bytes, tensor, 100).unwrap().unwrap(), DATA);
}

#[test]
fn old_views_are_read_from_their_whole() {
    let storage = "(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI2\n(S'v'\nI1\nI1\nttQ";
    let values = pickle_of("I0\n(I1\nt(I1\nt", storage);
    let bytes = old(b"}.", &values, b"(lS'0'\na.", &stored(2, &DATA));
    let checkpoint = read_old(&bytes).unwrap();
    let Node::Tensor(tensor) = checkpoint.tree.node(checkpoint.tree.root()) else { panic!("no tensor") };
    assert_eq!(checkpoint.read_tensor(&bytes, tensor, 100).unwrap().unwrap(), DATA[4..]);
}

#[test]
fn bytes_behind_an_old_file_are_noted() {
    let mut bytes = old(b"}.", &two_floats(), b"(lS'0'\na.", &stored(2, &DATA));
    let end = bytes.len() as u64;
    bytes.extend(b"more");
    let findings = read_old(&bytes).unwrap().findings;
    let note = findings.iter().find(|finding| finding.code == Code::StrayBytes).unwrap();
    assert_eq!((note.verdict, note.at.offset), (Verdict::Valid, Some(end)));
    assert!(note.message.starts_with("4 bytes follow"));
}

#[test]
fn each_of_the_five_pickles_is_looked_at_for_unsafe_names() {
    let evil = b"cposix\nsystem\n(S'id'\ntR0";
    let (values, keys, data) = (two_floats(), b"(lS'0'\na.", stored(2, &DATA));
    let head = |first: &[u8], second: &[u8]| {
        [&HEAD[..14], first, b".\x80\x02M\xe9\x03", second, b".", b"}.", &values, keys, &data].concat()
    };
    let within = |pickle: &[u8]| [evil, pickle].concat();
    for bytes in [
        head(evil, b""),
        head(b"", evil),
        old(&within(b"}."), &values, keys, &data),
        old(b"}.", &within(&values), keys, &data),
        old(b"}.", &values, &within(keys), &data),
    ] {
        let checkpoint = read_old(&bytes).unwrap_or_else(|flaw| panic!("{}: {flaw}", bytes.escape_ascii()));
        let finding = &checkpoint.findings[0];
        assert_eq!((finding.code, finding.verdict), (Code::NeedsTrust, Verdict::Incompatible));
        assert!(finding.message.contains("'posix.system'"), "{finding:?}");
    }
}

#[test]
fn each_way_in_which_an_old_file_is_damaged() {
    let (values, keys, data) = (two_floats(), &b"(lS'0'\na."[..], stored(2, &DATA));
    let damaged = |bytes: Vec<u8>, code: Code, word: &str| {
        let finding = found(read_old(&bytes), code, Verdict::Corrupted, word);
        (finding.at.offset, finding.at.record)
    };
    let whole = old(b"}.", &values, keys, &data);
    let before = whole.len() - data.len();
    let cut = damaged(whole[..whole.len() - 1].to_vec(), Code::Truncated, "1 bytes before storage '0' does");
    assert_eq!(cut.0, Some(whole.len() as u64 - 1));
    damaged(whole[..before].to_vec(), Code::Truncated, "16 bytes before");
    damaged(whole[..before - 1].to_vec(), Code::PickleDamaged, "ends within");
    damaged(whole[..20].to_vec(), Code::PickleDamaged, "ends within");
    let wrong = old(b"}.", &values, keys, &stored(3, &DATA));
    assert_eq!(damaged(wrong, Code::StorageSize, "3 elements here, and 2").0, Some(before as u64));
    damaged(old(b"}.", &values, keys, &stored(-1, &DATA)), Code::StorageSize, "-1 elements here");
    damaged(old(b"}.", &values, b"(lS'1'\na.", &data), Code::PickleDamaged, "'1', which no tensor uses");
    damaged(old(b"}.", &values, b"(l.", &data), Code::RecordMissing, "storage '0' is in no list");
    damaged(old(b"}.", &values, b"N.", &data), Code::PickleDamaged, "no list of strings");
    damaged(old(b"}.", &values, b"(lI0\na.", &data), Code::PickleDamaged, "no list of strings");
    let mut protocol = whole.clone();
    protocol[18] = 0;
    damaged(protocol, Code::PickleDamaged, "the protocol isn't 1001");
    let mut magic = whole;
    magic[4] = 0;
    damaged(magic, Code::PickleDamaged, "magic number");
}

#[test]
fn old_files_of_every_protocol_are_told() {
    assert!(legacy::looks_like(HEAD));
    assert!(legacy::looks_like(b"L119547037146038801333356L\n.I1001\n."));
    let framed = [b"\x80\x04\x95\x0d\0\0\0\0\0\0\0", &HEAD[2..]].concat();
    assert!(legacy::looks_like(&framed));
    assert!(!legacy::looks_like(b"\x80\x02}q\x00."));
    assert!(!legacy::looks_like(b""));
}

// Tar.

/// A tar header for a member of this name.
fn tar(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(512, 0);
    bytes[148..156].fill(b' ');
    let sum: u32 = bytes.iter().map(|&byte| u32::from(byte)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bytes
}

#[test]
fn tar_archives_are_told_by_their_checksum() {
    for (name, torch) in [("sys_info", true), ("./storages", true), ("model/readme", false)] {
        let bytes = tar(name);
        assert!(is_tar(&bytes));
        assert_eq!(is_torch_tar(&bytes), torch, "{name}");
        let kind = if torch { FormatKind::TorchTar } else { FormatKind::Tar };
        assert_eq!(detect(&bytes).unwrap(), kind);
    }
    let mut damaged = tar("sys_info");
    damaged[0] ^= 1;
    assert!(!is_tar(&damaged));
    assert!(!is_tar(&tar("sys_info")[..511]));
    assert!(!is_tar(&[0; 512]));
}

#[test]
fn an_archive_has_no_views_of_storages() {
    let view = b"(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI2\n(S'v'\nI0\nI1\nttQ.";
    let (_, findings) = read(&records(view, &[]));
    let finding = findings.iter().find(|finding| finding.code == Code::PickleInvalid).unwrap();
    assert_eq!(finding.verdict, Verdict::Incompatible);
}
