//! Every change of every byte, and every length a file can be cut to.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use ckpt::{Code, Integrity, Report, Verdict, VerifyOptions, verify};

fn fixture(name: &str) -> (PathBuf, Vec<u8>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    let bytes = fs::read(&path).unwrap();
    (path, bytes)
}

fn options() -> VerifyOptions {
    VerifyOptions::default().with_threads(1)
}

/// Verifies `cases` damaged files, side by side; `make` gives the bytes of each. Returns those that
/// didn't pass for corrupted.
fn survivors(name: &str, cases: usize, make: impl Fn(usize) -> Vec<u8> + Sync) -> Vec<(usize, Report)> {
    let directory =
        tempfile::tempdir_in(if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "." }).unwrap();
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = |thread: usize| {
        let path = directory.path().join(format!("{thread}-{name}"));
        let mut passed = Vec::new();
        loop {
            let case = next.fetch_add(1, Ordering::Relaxed);
            if case >= cases {
                return passed;
            }
            fs::write(&path, make(case)).unwrap();
            let report = verify(&path, &options());
            if report.verdict != Verdict::Corrupted {
                passed.push((case, report));
            }
        }
    };
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        handles.into_iter().flat_map(|handle| handle.join().unwrap()).collect()
    })
}

#[test]
fn every_change_of_every_byte_of_a_torch_file_is_found() {
    let (path, bytes) = fixture("small.pt");
    let whole = verify(&path, &options());
    assert_eq!(whole.verdict, Verdict::Valid, "{:?}", whole.findings);
    assert_eq!(whole.integrity, Integrity::Full);

    let changed = |case: usize| {
        let mut damaged = bytes.clone();
        damaged[case / 255] ^= u8::try_from(case % 255 + 1).unwrap();
        damaged
    };
    let cases = bytes.len() * 255;
    let passed = survivors("small.pt", cases, changed);
    println!("{cases} changes of single bytes tried, {} not found to be damage", passed.len());
    let places: Vec<_> =
        passed.iter().map(|(case, report)| (case / 255, case % 255 + 1, report.reason())).collect();
    assert_eq!(places, [], "offset and bits of changes that were not found to be damage");
}

#[test]
fn every_length_that_a_file_can_be_cut_to_is_found() {
    for name in ["small.pt", "small.legacy.pt", "small.safetensors"] {
        let (path, bytes) = fixture(name);
        assert_eq!(verify(&path, &options()).verdict, Verdict::Valid, "{name}");
        let passed = survivors(name, bytes.len(), |length| bytes[..length].to_vec());
        println!("{name}: {} lengths tried, {} not found to be damage", bytes.len(), passed.len());
        let lengths: Vec<_> = passed.iter().map(|(length, _)| *length).collect();
        assert_eq!(lengths, [0_usize; 0], "{name}: lengths at which the cut was not found");
    }
}

/// A shard index is text without checksums, but a cut one is no document, and a cut shard no shard.
#[test]
fn every_length_that_a_part_of_a_sharded_checkpoint_can_be_cut_to_is_found() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sharded");
    let directory = tempfile::tempdir().unwrap();
    let index = directory.path().join("model.safetensors.index.json");
    let names: Vec<_> = fs::read_dir(&source).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    for name in &names {
        fs::copy(source.join(name), directory.path().join(name)).unwrap();
    }
    assert_eq!(verify(&index, &options()).verdict, Verdict::Valid);
    for name in &names {
        let (path, whole) = (directory.path().join(name), fs::read(source.join(name)).unwrap());
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let report = verify(&index, &options());
            assert_eq!(report.verdict, Verdict::Corrupted, "{name:?} cut to {length}: {:?}", report.findings);
        }
        fs::write(&path, &whole).unwrap();
    }
}

/// Bytes behind the end are found as well, where the format says where the end is.
#[test]
fn bytes_behind_the_end_are_found() {
    for name in ["small.pt", "small.safetensors"] {
        let (_, bytes) = fixture(name);
        let longer =
            |case: usize| [bytes.clone(), vec![u8::try_from(case % 256).unwrap(); 1 + case / 256]].concat();
        let passed = survivors(name, 1024, longer);
        assert!(passed.is_empty(), "{name}: {:?}", passed.first());
    }
}

/// Where a format holds no checksums, the report says so instead of pretending.
#[test]
fn a_format_without_checksums_is_reported_as_such() {
    for name in ["small.legacy.pt", "small.safetensors"] {
        let (path, _) = fixture(name);
        let report = verify(&path, &options());
        assert_eq!(report.integrity, Integrity::None, "{name}");
        assert!(report.findings.iter().any(|finding| finding.code == Code::NoChecksums), "{name}");
    }
}
