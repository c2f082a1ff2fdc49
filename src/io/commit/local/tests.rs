use std::fs;
use std::path::PathBuf;

use super::*;

/// A directory on the disk, and one in memory where there is such a place.
fn directories() -> Vec<tempfile::TempDir> {
    let memory = tempfile::tempdir_in("/dev/shm");
    if memory.is_err() {
        println!("skipped: /dev/shm isn't there or can't be written");
    }
    [tempfile::tempdir(), memory].into_iter().flatten().collect()
}

/// Writes a file and returns its path.
fn file_in(directory: &Path, name: &str, content: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, content).unwrap();
    path
}

#[test]
fn a_name_that_is_taken_is_not_created() {
    for directory in directories() {
        let path = file_in(directory.path(), "file", "old");
        let error = LocalDisk.create(&path, 0o600).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }
}

#[test]
fn renaming_replaces_or_keeps() {
    for directory in directories() {
        let from = file_in(directory.path(), "from", "new");
        let to = file_in(directory.path(), "to", "old");
        let error = LocalDisk.rename(&from, &to, Existing::Keep).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&to).unwrap(), b"old");
        LocalDisk.rename(&from, &to, Existing::Replace).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"new");
        let free = directory.path().join("free");
        LocalDisk.rename(&to, &free, Existing::Keep).unwrap();
        assert_eq!(LocalDisk.list(directory.path()).unwrap(), ["free"]);
        let error = LocalDisk.rename(&to, &from, Existing::Replace).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        LocalDisk.sync_directory(directory.path()).unwrap();
        LocalDisk.remove(&free).unwrap();
        assert_eq!(LocalDisk.remove(&free).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}

#[test]
fn reading_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let path = file_in(directory.path(), "file", "0123456789");
    assert_eq!(LocalDisk.read(&path, 4).unwrap(), b"0123");
    assert_eq!(LocalDisk.read(&path, u64::MAX).unwrap(), b"0123456789");
    assert_eq!(LocalDisk.read(directory.path(), 4).unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn what_is_there_is_looked_at_without_following_links() {
    let directory = tempfile::tempdir().unwrap();
    let path = file_in(directory.path(), "file", "0123456789");
    let stat = LocalDisk.stat(&path).unwrap().unwrap();
    assert!(stat.is_file && stat.len == 10);
    assert!(!LocalDisk.stat(directory.path()).unwrap().unwrap().is_file);
    assert_eq!(LocalDisk.stat(&directory.path().join("nothing")).unwrap(), None);
    #[cfg(unix)]
    {
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(!LocalDisk.stat(&link).unwrap().unwrap().is_file);
    }
}

#[test]
fn there_is_room_on_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    assert!(LocalDisk.free_bytes(directory.path()).unwrap() > 0);
    assert!(LocalDisk.free_bytes(&directory.path().join("nothing")).is_err());
}

#[test]
fn what_was_synced_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = file_in(directory.path(), "file", "checkpoint");
    File::open(&path).unwrap().sync_all().unwrap();
    let source = LocalDisk.open(&path).unwrap();
    let mut bytes = [0; 10];
    source.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"checkpoint");
}

/// Returns whether the page cache holds the beginning of a file.
#[cfg(target_os = "linux")]
fn is_cached(path: &Path) -> bool {
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    let mut byte = [0];
    preadv2(File::open(path).unwrap(), &mut [io::IoSliceMut::new(&mut byte)], 0, ReadWriteFlags::NOWAIT)
        != Err(Errno::AGAIN)
}

#[cfg(target_os = "linux")]
#[test]
fn opening_to_read_back_pushes_a_file_out_of_the_cache() {
    let directory = tempfile::tempdir().unwrap();
    let [ours, other] = ["ours", "other"].map(|name| file_in(directory.path(), name, "checkpoint"));
    for path in [&ours, &other] {
        File::open(path).unwrap().sync_all().unwrap();
    }
    rustix::fs::fadvise(File::open(&other).unwrap(), 0, None, rustix::fs::Advice::DontNeed).unwrap();
    if is_cached(&other) {
        println!("skipped: files in {} can't be pushed out of the cache", directory.path().display());
        return;
    }
    // The system is asked, and it may be at work on the page just then, or need it for something else before.
    let is_pushed_out = || {
        fs::read(&ours).unwrap();
        let was_cached = is_cached(&ours);
        let _source = LocalDisk.open(&ours).unwrap();
        was_cached && !is_cached(&ours)
    };
    assert!((0..MOST_TRIES).any(|_| is_pushed_out()), "it stayed in the cache {MOST_TRIES} times");
}

/// How often the system is asked for what it does nearly always.
#[cfg(target_os = "linux")]
const MOST_TRIES: usize = 100;

#[test]
fn a_path_leads_where_its_directory_is() {
    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().canonicalize().unwrap();
    fs::create_dir(real.join("a")).unwrap();
    file_in(&real, "file", "");
    for (path, expected) in [
        ("file", Some("file")),
        ("new", Some("new")),
        ("a/../new", Some("new")),
        ("a/.", Some("a")),
        ("a/..", Some("")),
        ("b/new", None),
        ("file/new", None),
    ] {
        let expected = expected.map(|path| if path.is_empty() { real.clone() } else { real.join(path) });
        assert_eq!(LocalDisk.resolve(&real.join(path)).ok(), expected, "{path}");
    }
    let here = std::path::absolute("new").unwrap().parent().unwrap().canonicalize().unwrap();
    assert_eq!(LocalDisk.resolve(Path::new("new")).unwrap(), here.join("new"));
    assert!(LocalDisk.resolve(Path::new("")).is_err());
}

#[cfg(unix)]
#[test]
fn links_are_followed_to_the_end() {
    use std::os::unix::fs::symlink;
    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().canonicalize().unwrap();
    fs::create_dir(real.join("a")).unwrap();
    fs::create_dir(real.join("b")).unwrap();
    let link = |target: &str, name: &str| symlink(target, real.join(name)).unwrap();
    link("../b/target", "a/relative");
    link("a/relative", "chain");
    link(real.join("b/other").to_str().unwrap(), "absolute");
    link("b", "directory");
    link("nowhere/file", "lost");
    link("loop 2", "loop 1");
    link("loop 1", "loop 2");
    link("self", "self");
    let resolve = |name: &str| LocalDisk.resolve(&real.join(name));
    // The ends of the links aren't there yet; and then one is.
    for _ in 0..2 {
        assert_eq!(resolve("chain").unwrap(), real.join("b/target"));
        assert_eq!(resolve("absolute").unwrap(), real.join("b/other"));
        assert_eq!(resolve("directory/x").unwrap(), real.join("b/x"));
        file_in(&real, "b/target", "");
    }
    assert_eq!(resolve("lost").unwrap_err().kind(), io::ErrorKind::NotFound);
    let error_of_loop = rustix::io::Errno::LOOP.raw_os_error();
    for name in ["loop 1", "self"] {
        assert_eq!(resolve(name).unwrap_err().raw_os_error(), Some(error_of_loop));
    }
    for i in 0..41 {
        link(&format!("hop {}", i + 1), &format!("hop {i}"));
    }
    assert_eq!(resolve("hop 1").unwrap(), real.join("hop 41"));
    assert_eq!(resolve("hop 0").unwrap_err().raw_os_error(), Some(error_of_loop));
}

#[test]
fn a_file_that_is_locked_stays_and_one_that_is_not_goes() {
    for directory in directories() {
        let path = directory.path().join("file");
        let file = LocalDisk.create(&path, 0o600).unwrap();
        assert!(!LocalDisk.remove_abandoned(&path).unwrap());
        file.close().unwrap();
        let opened = File::open(&path).unwrap();
        if system::has_sure_locks(&opened) {
            assert!(LocalDisk.remove_abandoned(&path).unwrap());
        } else {
            println!("skipped: locks can't be trusted in {}", directory.path().display());
        }
        assert!(!LocalDisk.remove_abandoned(&path).unwrap_or(false));
    }
}

#[test]
fn a_cleaner_never_takes_the_file_of_a_writer() {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    for directory in directories() {
        if !system::has_sure_locks(&File::open(directory.path()).unwrap()) {
            println!("skipped: locks can't be trusted in {}", directory.path().display());
            continue;
        }
        let path = directory.path().join("file");
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let cleaner = scope.spawn(|| {
                let mut count = 0;
                while !is_done.load(Relaxed) {
                    count += u32::from(LocalDisk.remove_abandoned(&path).unwrap_or(false));
                }
                count
            });
            let mut made = 0;
            for _ in 0..2000 {
                match LocalDisk.create(&path, 0o600) {
                    Ok(file) => {
                        file.write_all_at(b"bytes", 0).unwrap();
                        // Still there under its name, though the cleaner was at it all the time.
                        assert_eq!(fs::read(&path).unwrap(), b"bytes");
                        LocalDisk.remove(&path).unwrap();
                        file.close().unwrap();
                        made += 1;
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
                        // The cleaner may hold it, and finishes its work.
                        while path.exists() {
                            std::thread::yield_now();
                        }
                    }
                }
            }
            is_done.store(true, Relaxed);
            println!("{made} made, {} taken unlocked", cleaner.join().unwrap());
            assert!(made > 0);
        });
    }
}
