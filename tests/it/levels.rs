//! Each level, each code of the library's own checks, through the public interface.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ckpt::io::Cancel;
use ckpt::record::{FormatKind, TensorInfo};
use ckpt::validate::{ProgressSink, inspect};
use ckpt::{Code, Finding, Integrity, Level, Report, Verdict, VerifyOptions, verify};
use tempfile::TempDir;

/// A directory whose files are checked.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn options() -> VerifyOptions {
    VerifyOptions::default().with_threads(1)
}

fn at_level(level: Level) -> VerifyOptions {
    options().with_level(level)
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

/// Checks one file of this name and content.
fn check(name: &str, bytes: impl AsRef<[u8]>) -> Report {
    let place = Place::new();
    verify(&place.write(name, bytes), &options())
}

/// Asserts the verdict, its reason, and how deep the check came; returns the reason.
#[track_caller]
fn fails(report: &Report, verdict: Verdict, code: Code, passed: Option<Level>) -> &Finding {
    let reason = report.reason().unwrap_or_else(|| panic!("{report:?}"));
    assert_eq!((report.verdict, reason.code), (verdict, code), "{report:?}");
    assert_eq!(report.passed, passed, "{report:?}");
    reason
}

#[track_caller]
fn valid(report: &Report, level: Level) {
    assert_eq!((report.verdict, report.passed), (Verdict::Valid, Some(level)), "{report:?}");
}

fn codes(report: &Report) -> Vec<Code> {
    report.findings.iter().map(|finding| finding.code).collect()
}

/// A safetensors file of one-dimensional `u8` tensors.
fn safetensors(tensors: &[(&str, usize)], metadata: &[(&str, &str)]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    if !metadata.is_empty() {
        let metadata: BTreeMap<_, _> = metadata.iter().copied().collect();
        header.insert("__metadata__".to_owned(), serde_json::to_value(metadata).unwrap());
    }
    let mut start = 0;
    for (name, bytes) in tensors {
        let tensor =
            serde_json::json!({"dtype": "U8", "shape": [bytes], "data_offsets": [start, start + bytes]});
        header.insert((*name).to_owned(), tensor);
        start += bytes;
    }
    let header = serde_json::to_vec(&header).unwrap();
    [&(header.len() as u64).to_le_bytes()[..], &header, &vec![7; start]].concat()
}

/// A checkpoint as another tool than PyTorch zips it.
fn torch_zip(pickle: &[u8], more: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in [("data.pkl", pickle), ("version", b"3\n")].iter().chain(more) {
        writer.start_file(format!("a/{name}"), stored).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

// The levels.

#[test]
fn each_level_is_reached_and_passed() {
    let place = Place::new();
    for (name, integrity) in [
        ("small.pt", Integrity::Full),
        ("small.legacy.pt", Integrity::None),
        ("small.safetensors", Integrity::None),
    ] {
        let path = place.write(name, fixture(name));
        for level in Level::ALL {
            let report = verify(&path, &at_level(level));
            valid(&report, level);
            assert_eq!(report.level, Some(level), "{name}");
            let deep = level >= Level::Load;
            assert_eq!(report.integrity, if deep { integrity } else { Integrity::None }, "{name} {level}");
            assert_eq!(report.bytes, fixture(name).len() as u64);
        }
        assert_eq!(verify(&path, &options()).tensors, Some(2), "{name}");
    }
}

#[test]
fn damage_is_found_at_its_level_and_not_before() {
    let place = Place::new();
    let mut bytes = fixture("small.pt");
    let at = bytes.windows(4).position(|window| window == 1.5_f32.to_le_bytes()).unwrap();
    bytes[at] ^= 1;
    let path = place.write("a.pt", &bytes);
    valid(&verify(&path, &at_level(Level::Size)), Level::Size);
    valid(&verify(&path, &at_level(Level::Container)), Level::Container);
    let report = verify(&path, &at_level(Level::Load));
    let reason = fails(&report, Verdict::Corrupted, Code::ChecksumMismatch, Some(Level::Container));
    assert_eq!(reason.at.offset, Some(at as u64));
    assert!(reason.at.record.as_ref().unwrap().ends_with("data/0"), "{reason:?}");
    bytes.truncate(bytes.len() - 30);
    let report = check("a.pt", bytes);
    fails(&report, Verdict::Corrupted, Code::DirectoryMissing, Some(Level::Size));
    assert_eq!(report.format, FormatKind::TorchZip);
}

#[test]
fn the_level_keys_asks_for_keys() {
    let place = Place::new();
    let path = place.write("small.pt", fixture("small.pt"));
    let ask = |requirement: &str| {
        let options = options().with_requirement(requirement.parse().unwrap());
        verify(&path, &options)
    };
    for fine in ["epoch", "weight:f32[2,2]", "b*:i64", "name"] {
        valid(&ask(fine), Level::Keys);
    }
    for (requirement, code) in [
        ("wieght", Code::KeyMissing),
        ("weight:f64", Code::DtypeMismatch),
        ("weight:[3,...]", Code::ShapeMismatch),
    ] {
        let report = ask(requirement);
        let reason = fails(&report, Verdict::Incompatible, code, Some(Level::Load));
        assert_eq!(reason.at.key.as_deref(), Some(requirement));
    }
    let mut like = at_level(Level::Keys);
    let other = TensorInfo { name: "bias".into(), dtype: ckpt::Dtype::I64, shape: vec![2], bytes: 16 };
    like.like = Some(Arc::new(vec![other]));
    let report = verify(&path, &like);
    let reason = fails(&report, Verdict::Incompatible, Code::KeyUnexpected, Some(Level::Load));
    assert_eq!(reason.at.tensor.as_deref(), Some("weight"));
}

#[test]
fn a_checkpoint_that_is_no_map_has_no_keys() {
    let place = Place::new();
    let path = place.write("a.pt", torch_zip(b"\x80\x02]K\x01a.", &[]));
    valid(&verify(&path, &options()), Level::Load);
    let report = verify(&path, &options().with_requirement("0".parse().unwrap()));
    fails(&report, Verdict::Incompatible, Code::NotAMap, Some(Level::Load));
}

// Presence, size and markers.

#[test]
fn what_is_no_file_with_bytes() {
    let place = Place::new();
    let report = verify(&place.at("gone.pt"), &options());
    fails(&report, Verdict::Corrupted, Code::Missing, None);
    let report = verify(&place.write("a.pt", b""), &options());
    fails(&report, Verdict::Corrupted, Code::Empty, None);
    assert_eq!(report.format, FormatKind::Empty);
    fs::create_dir(place.at("directory")).unwrap();
    let report = verify(&place.at("directory"), &options());
    fails(&report, Verdict::Incompatible, Code::NotRegular, None);
    assert_eq!(report.format, FormatKind::Directory);
    // Other programs have a file of this name as well.
    place.write("other/.metadata", b"x");
    fails(&verify(&place.at("other"), &options()), Verdict::Incompatible, Code::NotRegular, None);
}

#[cfg(unix)]
#[test]
fn a_fifo_is_refused_and_not_waited_for() {
    let place = Place::new();
    let make = |name: &str| {
        let path = place.at(name);
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        path
    };
    let report = verify(&make("a.pt"), &options());
    fails(&report, Verdict::Incompatible, Code::NotRegular, None);
    // A marker that is a FIFO is there, and isn't read.
    let path = place.write("b.pt", fixture("small.pt"));
    make("b.pt.done");
    assert!(codes(&verify(&path, &options())).contains(&Code::Marked));
}

#[cfg(unix)]
#[test]
fn a_file_that_may_not_be_read_is_unreadable() {
    use std::os::unix::fs::PermissionsExt as _;

    let place = Place::new();
    let path = place.write("a.pt", fixture("small.pt"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_ok() {
        eprintln!("the refusal of a read isn't shown here: this user may read every file");
    } else {
        let report = verify(&path, &options());
        fails(&report, Verdict::Unreadable, Code::IoError, None);
    }
    // A name beyond what any file system has can't be looked at, whoever asks.
    let report = verify(&place.at(&"x".repeat(5_000)), &options());
    let reason = fails(&report, Verdict::Unreadable, Code::IoError, None);
    assert!(reason.message.starts_with("it can't be read: "), "{reason:?}");
    // Neither can a name below a file.
    let report = verify(&path.join("b.pt"), &options());
    assert!(!report.is_valid());
}

#[test]
fn markers_of_every_content() {
    let place = Place::new();
    let bytes = fixture("small.pt");
    let path = place.write("a.pt", &bytes);
    let length = bytes.len();
    for content in [
        String::new(),
        "finished at noon\n".to_owned(),
        format!("{{\"bytes\": {length}}}"),
        format!("{{\"bytes\": {length}, \"proof\": \"x\", \"more\": 1}}"),
        "{\"bytes\": \"many\"}".to_owned(),
        "[1]".to_owned(),
        "null".to_owned(),
    ] {
        place.write("a.pt.done", &content);
        let report = verify(&path, &options());
        valid(&report, Level::Load);
        assert!(codes(&report).contains(&Code::Marked), "{content}");
    }
    place.write("a.pt.done", format!("{{\"bytes\": {}}}", length + 1));
    let report = verify(&path, &options());
    let reason = fails(&report, Verdict::Corrupted, Code::SizeMismatch, None);
    assert_eq!(
        reason.message,
        format!("the file has {length} bytes, and its completion marker says {}", length + 1)
    );
}

#[test]
fn a_required_marker_must_be_there() {
    let place = Place::new();
    let path = place.write("a.pt", fixture("small.pt"));
    let mut require = options();
    require.require_marker = true;
    fails(&verify(&path, &require), Verdict::Corrupted, Code::MarkerMissing, None);
    place.write("a.pt.done", b"");
    valid(&verify(&path, &require), Level::Load);
}

#[test]
fn a_seal_holds_the_size() {
    let place = Place::new();
    let bytes = fixture("small.pt");
    let path = place.write("a.pt", &bytes);
    place.write("a.pt.seal", format!("{{\"bytes\": {}}}", bytes.len()));
    valid(&verify(&path, &options()), Level::Load);
    for other in [&b"no seal"[..], b"[3]", b"3"] {
        place.write("a.pt.seal", other);
        valid(&verify(&path, &options()), Level::Load);
    }
    place.write("a.pt.seal", b"{\"bytes\": 3}");
    let report = verify(&path, &options());
    assert!(fails(&report, Verdict::Corrupted, Code::SizeMismatch, None).message.contains("its seal says 3"));
}

#[test]
fn the_fast_path_looks_at_no_contents() {
    let place = Place::new();
    let path = place.write("a.pt", b"garbage");
    let mut fast = options();
    fast.skip_contents = true;
    let report = verify(&path, &fast);
    valid(&report, Level::Size);
    assert_eq!(codes(&report), [Code::ContentsNotChecked]);
    place.write("a.pt.done", b"{\"bytes\": 8}");
    fails(&verify(&path, &fast), Verdict::Corrupted, Code::SizeMismatch, None);
    fails(&verify(&place.write("b.pt", b""), &fast), Verdict::Corrupted, Code::Empty, None);
}

#[test]
fn a_file_that_changes_meanwhile_is_told() {
    let place = Place::new();
    let check_changing = |name: &str, bytes: &[u8]| {
        let path = place.write(name, bytes);
        let mut options = options();
        let changed = path.clone();
        options.progress = Some(ProgressSink::new(move |_| {
            let mut file = fs::File::options().append(true).open(&changed).unwrap();
            file.write_all(b"more").unwrap();
        }));
        verify(&path, &options)
    };
    let report = check_changing("a.safetensors", &fixture("small.safetensors"));
    valid(&report, Level::Load);
    let note = report.findings.iter().find(|finding| finding.code == Code::ChangedWhileRead).unwrap();
    assert_eq!(note.verdict, Verdict::Valid);
    // What was found in a file that changed may be the change.
    let mut damaged = fixture("small.pt");
    let at = damaged.windows(4).position(|window| window == 1.5_f32.to_le_bytes()).unwrap();
    damaged[at] ^= 1;
    let report = check_changing("b.pt", &damaged);
    assert_eq!(report.verdict, Verdict::Unreadable, "{report:?}");
    assert_eq!(report.reason().unwrap().code, Code::ChangedWhileRead);
    assert!(codes(&report).contains(&Code::ChecksumMismatch));
}

// What the content is.

#[test]
fn what_is_no_checkpoint_is_incompatible() {
    let mut tar = b"sys_info".to_vec();
    tar.resize(512, 0);
    tar[148..156].fill(b' ');
    let sum: u32 = tar.iter().map(|&byte| u32::from(byte)).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    for (bytes, kind) in [
        (&b"<!DOCTYPE html><html>404</html>"[..], FormatKind::Html),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", FormatKind::GitLfsPointer),
        (b"7z\xbc\xaf\x27\x1c\0\x04", FormatKind::SevenZip),
        (b"\x93NUMPY\x01\0", FormatKind::Npy),
        (b"\x1f\x8b\x08\0\0\0", FormatKind::Gzip),
        (b"GGUF\x03\0\0\0", FormatKind::Gguf),
        (b"{\"a\": 1}", FormatKind::Json),
        (&tar, FormatKind::TorchTar),
        (b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", FormatKind::Zip),
        (b"\x80\x02}q\x00.", FormatKind::Pickle),
    ] {
        let report = check("a.pt", bytes);
        let reason = fails(&report, Verdict::Incompatible, Code::ForeignFormat, Some(Level::Size));
        assert_eq!(report.format, kind);
        assert!(reason.message.contains(kind.describe()), "{reason:?}");
    }
}

#[test]
fn zeros_and_noise_are_damage() {
    let report = check("a.pt", [0; 5000]);
    fails(&report, Verdict::Corrupted, Code::AllZero, Some(Level::Size));
    assert_eq!(report.format, FormatKind::Zeros);
    let report = check("a.pt", b"\xfe\xfe\xfe\xfe");
    fails(&report, Verdict::Corrupted, Code::UnknownFormat, Some(Level::Size));
    // Text, or a name that promises nothing, is just no checkpoint.
    for (name, bytes) in [("a.pt", &b"not yet\n"[..]), ("notes", b"\xfe\xfe\xfe\xfe")] {
        let report = check(name, bytes);
        fails(&report, Verdict::Incompatible, Code::UnknownFormat, Some(Level::Size));
    }
    for bytes in [&b"PK"[..], b"\x80\x02\x8a\x0a", b"P"] {
        let report = check("a.pt", bytes);
        fails(&report, Verdict::Corrupted, Code::Truncated, Some(Level::Size));
    }
}

#[test]
fn a_name_that_misleads_is_incompatible() {
    for (name, content) in
        [("a.pt", "small.safetensors"), ("a.safetensors", "small.pt"), ("a.SafeTensors", "small.legacy.pt")]
    {
        let report = check(name, fixture(content));
        fails(&report, Verdict::Incompatible, Code::MisleadingName, Some(Level::Size));
    }
    valid(&check("a", fixture("small.safetensors")), Level::Load);
    valid(&check("a.ckpt", fixture("small.legacy.pt")), Level::Load);
}

// The contents.

#[test]
fn a_pickle_that_needs_trust_is_incompatible_until_its_names_are_allowed() {
    let place = Place::new();
    let path = place.write("a.pt", torch_zip(b"\x80\x02cargparse\nNamespace\n)\x81}b.", &[]));
    let report = verify(&path, &options());
    let reason = fails(&report, Verdict::Incompatible, Code::NeedsTrust, Some(Level::Container));
    assert!(reason.message.contains("'argparse.Namespace'"), "{reason:?}");
    let mut allowing = options();
    allowing.allowed_globals.push("argparse.Namespace".to_owned());
    let report = verify(&path, &allowing);
    valid(&report, Level::Load);
    assert_eq!(codes(&report), [Code::GlobalAllowed, Code::TorchRefuses]);
    allowing.allowed_globals[0].push('x');
    fails(&verify(&path, &allowing), Verdict::Incompatible, Code::NeedsTrust, Some(Level::Container));
}

#[test]
fn a_plain_pickle_is_looked_through() {
    let report = check("a.pkl", b"cposix\nsystem\n(S'id'\ntR.");
    assert_eq!(report.verdict, Verdict::Incompatible);
    assert!(codes(&report).contains(&Code::NeedsTrust), "{report:?}");
}

#[test]
fn a_pickle_that_is_damaged_or_beyond_a_limit() {
    let mut damaged = fixture("small.legacy.pt");
    damaged[30] = 0xff;
    let report = check("a.pt", damaged);
    // The old format is nothing but its pickles: they are its container.
    fails(&report, Verdict::Corrupted, Code::PickleDamaged, Some(Level::Size));
    let report = check("a.pt", torch_zip(b"\x80\x02\xff.", &[]));
    fails(&report, Verdict::Incompatible, Code::PickleInvalid, Some(Level::Container));
    let cycle = torch_zip(b"\x80\x02]q\x00h\x00a.", &[]);
    let report = check("a.pt", cycle);
    let reason = fails(&report, Verdict::Incompatible, Code::TooComplex, Some(Level::Container));
    assert!(reason.message.contains("contains itself"), "{reason:?}");
}

#[test]
fn switched_off_checksums_are_told() {
    let mut bytes = torch_zip(b"\x80\x02}.", &[]);
    valid(&check("a.pt", &bytes), Level::Load);
    // The checksums of the pickle's record, in both of their places.
    let header = 0;
    let directory = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    bytes[header + 14..header + 18].fill(0);
    bytes[directory + 16..directory + 20].fill(0);
    let report = check("a.pt", bytes);
    valid(&report, Level::Load);
    assert_eq!(report.integrity, Integrity::Partial);
    assert!(codes(&report).contains(&Code::NoChecksums));
}

// The fields of ckpt's own files.

/// A safetensors file with these fields; `tag` says whether ckpt wrote it.
fn versioned(version: Option<&str>, status: Option<&str>, tag: bool) -> Vec<u8> {
    let fields = [("version", version), ("status", status), ("ckpt.step", tag.then_some("1"))];
    let fields: Vec<_> = fields.iter().filter_map(|(key, value)| Some((*key, (*value)?))).collect();
    safetensors(&[("w", 3)], &fields)
}

#[test]
fn versions_are_held_to_the_rules_where_they_mean_something() {
    let place = Place::new();
    let check = |version: Option<&str>, tag: bool, compat: bool| {
        let mut options = at_level(Level::Keys);
        options.compat = compat;
        verify(&place.write("a.safetensors", versioned(version, None, tag)), &options)
    };
    for (tag, compat) in [(true, false), (false, true), (true, true)] {
        for version in ["0.9", "1", "1.0", "1.99.3", "0"] {
            valid(&check(Some(version), tag, compat), Level::Keys);
        }
        for version in ["2.0", "2", "99.1", "new", "", "-1", "1x"] {
            let report = check(Some(version), tag, compat);
            let reason = fails(&report, Verdict::Incompatible, Code::VersionTooNew, Some(Level::Load));
            assert_eq!(reason.at.key.as_deref(), Some("version"));
        }
        let report = check(None, tag, compat);
        valid(&report, Level::Keys);
        assert_eq!(codes(&report).contains(&Code::VersionMissing), compat);
    }
    // Another tool's `version` is its own business.
    let report = check(Some("2.0"), false, false);
    valid(&report, Level::Keys);
    assert!(!codes(&check(None, false, false)).contains(&Code::VersionMissing));
}

#[test]
fn an_unfinished_checkpoint_says_so() {
    let place = Place::new();
    for (status, tag, told) in
        [("in_progress", true, true), ("complete", true, false), ("in_progress", false, false)]
    {
        let path = place.write("a.safetensors", versioned(Some("1.0"), Some(status), tag));
        let report = verify(&path, &at_level(Level::Keys));
        valid(&report, Level::Keys);
        assert_eq!(codes(&report).contains(&Code::InProgress), told, "{status} {tag}");
    }
}

#[test]
fn fields_of_a_pickled_checkpoint_count_as_well() {
    let place = Place::new();
    let bytes = torch_zip(b"\x80\x02}(X\x07\0\0\0versionX\x03\0\0\x002.0u.", &[("ckpt/step", b"x")]);
    let report = verify(&place.write("a.pt", bytes), &at_level(Level::Keys));
    fails(&report, Verdict::Incompatible, Code::VersionTooNew, Some(Level::Load));
    let info = inspect(&place.at("a.pt")).unwrap();
    assert_eq!((info.version.as_deref(), info.marker), (Some("2.0"), false));
}

// Several files.

fn sharded(index: &str, shards: &[(&str, Vec<u8>)]) -> Report {
    let place = Place::new();
    for (name, bytes) in shards {
        place.write(name, bytes);
    }
    verify(&place.write("model.safetensors.index.json", index), &options())
}

const INDEX: &str =
    r#"{"metadata":{"total_size":7},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}}"#;

#[test]
fn shards_are_checked_as_one() {
    let one = ("m-1.safetensors", safetensors(&[("a", 3)], &[]));
    let two = ("m-2.safetensors", safetensors(&[("b", 4)], &[]));
    let report = sharded(INDEX, &[one.clone(), two.clone()]);
    valid(&report, Level::Load);
    assert_eq!((report.format, report.tensors), (FormatKind::HuggingFaceSharded, Some(2)));

    let report = sharded(INDEX, std::slice::from_ref(&one));
    let reason = fails(&report, Verdict::Corrupted, Code::ArtifactMissing, None);
    assert_eq!(reason.at.file.as_deref(), Some(Path::new("m-2.safetensors")));

    let swapped = INDEX.replace("m-1", "m-3").replace("m-2", "m-1").replace("m-3", "m-2");
    let report = sharded(&swapped, &[one.clone(), two.clone()]);
    fails(&report, Verdict::Corrupted, Code::IndexDisagrees, Some(Level::Size));

    let report = sharded(&INDEX.replace(":7}", ":8}"), &[one.clone(), two.clone()]);
    let reason = fails(&report, Verdict::Incompatible, Code::IndexDisagrees, Some(Level::Size));
    assert!(reason.message.contains("total size of 8 bytes, and the tensors have 7"), "{reason:?}");

    let more = ("m-2.safetensors", safetensors(&[("b", 4), ("c", 0)], &[]));
    let report = sharded(INDEX, &[one.clone(), more]);
    let reason = fails(&report, Verdict::Incompatible, Code::IndexDisagrees, Some(Level::Size));
    assert_eq!(reason.at.tensor.as_deref(), Some("c"));

    let mut short = two.1;
    short.pop();
    let report = sharded(INDEX, &[one, ("m-2.safetensors", short)]);
    let reason = report.reason().unwrap();
    assert_eq!((report.verdict, reason.code), (Verdict::Corrupted, Code::Truncated), "{report:?}");
    assert_eq!(reason.at.file.as_deref(), Some(Path::new("m-2.safetensors")));
}

#[test]
fn an_index_may_not_lead_elsewhere_or_be_broken() {
    for name in ["../m.safetensors", "/m.safetensors", "", "..", "a/b.safetensors", "a\\\\b"] {
        let index = format!(r#"{{"metadata":{{}},"weight_map":{{"a":"{name}"}}}}"#);
        let report = sharded(&index, &[]);
        fails(&report, Verdict::Incompatible, Code::IndexMalformed, Some(Level::Size));
    }
    for (index, verdict, code) in [
        ("{\"weight_map\":", Verdict::Corrupted, Code::IndexMalformed),
        ("{}", Verdict::Incompatible, Code::IndexMalformed),
        (r#"{"weight_map":{"a":"m","a":"n"}}"#, Verdict::Incompatible, Code::Ambiguous),
    ] {
        let report = sharded(index, &[]);
        fails(&report, verdict, code, Some(Level::Size));
    }
}

/// A Trainer's directory of step 5; `change` may add, drop or replace files.
fn trainer(change: &[(&str, Option<&[u8]>)]) -> (Place, PathBuf) {
    let place = Place::new();
    let weights = safetensors(&[("w", 3)], &[]);
    let (torch, arguments) = (
        fixture("small.pt"),
        torch_zip(b"\x80\x02ctransformers.training_args\nTrainingArguments\n)\x81}b.", &[]),
    );
    let mut files: BTreeMap<&str, &[u8]> = BTreeMap::from([
        ("model.safetensors", &weights[..]),
        ("optimizer.pt", &torch[..]),
        ("scheduler.pt", &torch[..]),
        ("rng_state.pth", &torch[..]),
        ("training_args.bin", &arguments[..]),
        ("trainer_state.json", br#"{"global_step": 5, "max_steps": 10}"#),
        ("config.json", b"{}"),
    ]);
    for (name, content) in change {
        files.remove(name);
        files.extend(content.map(|content| (*name, content)));
    }
    for (name, content) in files {
        place.write(&format!("checkpoint-5/{name}"), content);
    }
    let path = place.at("checkpoint-5");
    (place, path)
}

#[test]
fn a_trainers_directory_is_one_checkpoint() {
    let (_place, path) = trainer(&[]);
    let report = verify(&path, &options());
    valid(&report, Level::Load);
    assert_eq!((report.format, report.tensors), (FormatKind::HuggingFaceTrainer, Some(1)));
    // The arguments need trust by nature: intact is all that is asked of them.
    let note = report.findings.iter().find(|finding| finding.code == Code::IntactOnly).unwrap();
    assert_eq!(note.verdict, Verdict::Valid);
    assert_eq!(note.at.file.as_deref(), Some(Path::new("training_args.bin")));
    // The same pickle in place of the optimizer's state has no such excuse.
    let arguments = fs::read(path.join("training_args.bin")).unwrap();
    let (_place, path) = trainer(&[("optimizer.pt", Some(&arguments))]);
    let report = verify(&path, &options());
    let reason = fails(&report, Verdict::Incompatible, Code::NeedsTrust, Some(Level::Container));
    assert_eq!(reason.at.file.as_deref(), Some(Path::new("optimizer.pt")));
}

#[test]
fn a_trainers_directory_must_be_whole() {
    for (name, file) in [
        ("model.safetensors", None),
        ("scheduler.pt", None),
        ("optimizer.pt", None),
        ("trainer_state.json", Some("trainer_state.json")),
    ] {
        let (_place, path) = trainer(&[(name, None)]);
        let report = verify(&path, &options());
        let reason = fails(&report, Verdict::Corrupted, Code::ArtifactMissing, None);
        assert_eq!(reason.at.file.as_deref(), file.map(Path::new), "{name}");
    }
    let (_place, path) = trainer(&[("trainer_state.json", Some(b"{\"global_step\": 6}"))]);
    let report = verify(&path, &options());
    let reason = fails(&report, Verdict::Incompatible, Code::IndexDisagrees, Some(Level::Size));
    assert!(reason.message.contains("after step 5, and its state is of step 6"), "{reason:?}");
    let (_place, path) = trainer(&[("trainer_state.json", Some(b"{"))]);
    let report = verify(&path, &options());
    fails(&report, Verdict::Corrupted, Code::IndexMalformed, Some(Level::Size));
    let damaged = &fixture("small.pt")[..100];
    let (_place, path) = trainer(&[("training_args.bin", Some(damaged))]);
    let report = verify(&path, &options());
    let reason = fails(&report, Verdict::Corrupted, Code::DirectoryMissing, Some(Level::Size));
    assert_eq!(reason.at.file.as_deref(), Some(Path::new("training_args.bin")));
}

// The list of codes itself.

/// A deflated record without a checksum that ends before its promised size: PyTorch 2.13 gives out
/// whatever was in memory for the rest.
#[test]
fn deflated_data_must_come_out_at_its_size_even_without_a_checksum() {
    use std::io::Write as _;

    let pickle = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nByteStorage\n\
        U\x010U\x03cpuK\x65tQK\x00K\x65\x85K\x01\x85\x89}tR.";
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in [("a/data.pkl", &pickle[..]), ("a/version", b"3\n"), ("a/data/0", &[7; 100])] {
        writer.start_file(name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    let mut bytes = writer.finish().unwrap().into_inner();
    let places: Vec<usize> =
        bytes.windows(8).enumerate().filter(|(_, w)| *w == b"a/data/0").map(|(at, _)| at).collect();
    // The local header's name lies 30 bytes behind its start, the directory's 46; CRC-32 and sizes before.
    for (at, checksum, size) in [(places[0] - 30, 14, 22), (places[1] - 46, 16, 24)] {
        bytes[at + checksum..at + checksum + 4].fill(0);
        bytes[at + size] = 101;
    }
    let report = check("a.pt", bytes);
    let reason = fails(&report, Verdict::Corrupted, Code::CompressionDamaged, Some(Level::Container));
    assert_eq!(reason.at.record.as_deref(), Some("a/data/0"));
}

/// A check that is cancelled says nothing of the bytes: neither that they are fine, nor that they aren't.
#[test]
fn a_check_that_is_cancelled_could_not_run() {
    let place = Place::new();
    let path = place.write("valid.pt", fs::read("samples/valid.pt").unwrap());
    let cancel = Cancel::default();
    assert_eq!(verify(&path, &options().with_cancel(cancel.clone())).verdict, Verdict::Valid);
    cancel.cancel();
    let report = verify(&path, &options().with_cancel(cancel));
    fails(&report, Verdict::Unreadable, Code::Cancelled, Some(Level::Size));
}
