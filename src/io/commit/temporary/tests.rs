use std::fs;

use super::*;
use crate::ErrorKind;
use crate::io::commit::{LocalDisk, clean, is_temporary, remove_durably, write_small};

/// A directory on the disk, and one in memory where there is such a place.
fn directories() -> Vec<tempfile::TempDir> {
    let memory = tempfile::tempdir_in("/dev/shm");
    if memory.is_err() {
        println!("skipped: /dev/shm isn't there or can't be written");
    }
    [tempfile::tempdir(), memory].into_iter().flatten().collect()
}

fn save(path: &Path, content: &str) -> Result<(), Error> {
    write_small(&LocalDisk, path, content.as_bytes(), Durability::Full)
}

/// Returns the names in a directory, sorted.
fn names(directory: &Path) -> Vec<std::ffi::OsString> {
    let mut names = LocalDisk.list(directory).unwrap();
    names.sort();
    names
}

#[test]
fn the_name_comes_with_the_last_step() {
    for directory in directories() {
        for durability in [Durability::Full, Durability::None] {
            let path = directory.path().join("file");
            fs::write(&path, "old").unwrap();
            let mut temporary = Temporary::create(&LocalDisk, &path).unwrap();
            temporary.reserve(3).unwrap();
            temporary.file().write_all_at(b"new", 0).unwrap();
            temporary.sync().unwrap();
            assert_eq!(temporary.existing().unwrap().len, 3);
            assert_eq!(temporary.destination().file_name(), path.file_name());
            assert!(is_temporary(temporary.path().file_name().unwrap()));
            assert_eq!(fs::read(temporary.path()).unwrap(), b"new");
            assert_eq!(fs::read(&path).unwrap(), b"old");
            temporary.commit(Existing::Replace, durability).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new");
            assert_eq!(names(directory.path()), ["file"]);
        }
    }
}

#[test]
fn a_file_that_is_dropped_leaves_nothing() {
    for directory in directories() {
        let path = directory.path().join("file");
        fs::write(&path, "old").unwrap();
        let temporary = Temporary::create(&LocalDisk, &path).unwrap();
        temporary.file().write_all_at(b"half", 0).unwrap();
        assert_eq!(names(directory.path()).len(), 2);
        drop(temporary);
        assert_eq!(names(directory.path()), ["file"]);
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }
}

#[test]
fn a_file_to_be_kept_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let first = Temporary::create(&LocalDisk, &path).unwrap();
    let second = Temporary::create(&LocalDisk, &path).unwrap();
    first.file().write_all_at(b"first", 0).unwrap();
    first.commit(Existing::Keep, Durability::Full).unwrap();
    let error = second.commit(Existing::Keep, Durability::Full).unwrap_err();
    assert!(error.to_string().contains("something has that name and was to be kept"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"first");
    assert_eq!(names(directory.path()), ["file"]);
}

#[test]
fn a_small_file_is_removed_for_good() {
    for directory in directories() {
        let path = directory.path().join("file.done");
        save(&path, "{}").unwrap();
        assert!(remove_durably(&LocalDisk, &path).unwrap());
        assert!(!remove_durably(&LocalDisk, &path).unwrap());
        assert!(names(directory.path()).is_empty());
        assert!(remove_durably(&LocalDisk, &directory.path().join("nowhere/file")).is_err());
    }
}

#[test]
fn what_is_in_the_way_is_named() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "old").unwrap();
    let cases = [
        ("", ErrorKind::Usage, "a directory or a special file is there"),
        ("nowhere/file", ErrorKind::Io, "its directory isn't there: make it first"),
        ("file/file", ErrorKind::Io, "a part of its path is no directory"),
        (&"n".repeat(256), ErrorKind::Io, "its name is too long"),
    ];
    for (name, kind, what) in cases {
        let path = directory.path().join(name);
        let error = save(&path, "new").unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.path(), Some(path.as_path()));
        assert!(error.to_string().contains(what), "{error}");
    }
    assert_eq!(names(directory.path()), ["file"]);
}

#[test]
fn more_than_the_disk_has_is_refused_with_the_figures() {
    for directory in directories() {
        let mut temporary = Temporary::create(&LocalDisk, &directory.path().join("file")).unwrap();
        let needed = 1 << 60;
        let error = temporary.reserve(needed).unwrap_err().to_string();
        assert!(error.contains("it needs 1152921504606846976 bytes, and "), "{error}");
        assert!(error.contains(" are free: make room"), "{error}");
        drop(temporary);
        assert!(names(directory.path()).is_empty());
    }
}

#[test]
fn only_leftovers_are_cleaned_away() {
    let directory = tempfile::tempdir().unwrap();
    let others = [".ckpt-0123456789abcdef.tmp.bak", "model.safetensors", ".ckpt-0.tmp", "x.tmp"];
    for name in others {
        fs::write(directory.path().join(name), "").unwrap();
    }
    // Left behind two days ago, so that it doesn't matter whether locks work here.
    let leftover = fs::File::create_new(directory.path().join(".ckpt-0123456789abcdef.tmp")).unwrap();
    let past = std::time::SystemTime::now() - std::time::Duration::from_hours(48);
    leftover.set_modified(past).unwrap();
    drop(leftover);
    let live = Temporary::create(&LocalDisk, &directory.path().join("live")).unwrap();
    assert_eq!(clean(&LocalDisk, directory.path()), 1);
    assert_eq!(clean(&LocalDisk, directory.path()), 0);
    live.commit(Existing::Replace, Durability::Full).unwrap();
    assert_eq!(names(directory.path()).len(), others.len() + 1);
    assert_eq!(clean(&LocalDisk, &directory.path().join("nowhere")), 0);
}

#[test]
fn of_two_that_race_one_wins_whole() {
    for directory in directories() {
        let path = directory.path().join("file");
        let contents = ["1".repeat(100_000), "2".repeat(100_000)];
        std::thread::scope(|scope| {
            for content in &contents {
                scope.spawn(|| (0..50).for_each(|_| save(&path, content).unwrap()));
            }
            for _ in 0..200 {
                clean(&LocalDisk, directory.path());
                if let Ok(found) = fs::read_to_string(&path) {
                    assert!(contents.contains(&found));
                }
            }
        });
        assert_eq!(names(directory.path()), ["file"]);
    }
}

#[cfg(unix)]
mod unix {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Where a test that runs in a process of its own finds its directory.
    const CHILD: &str = "CKPT_TEST_DIRECTORY";

    /// Returns the directory of the child process, if this is one.
    fn child_directory() -> Option<PathBuf> {
        std::env::var_os(CHILD).map(PathBuf::from)
    }

    /// The command that runs one test of this module again, in a process of its own.
    fn child(test: &str, directory: &Path) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "--nocapture", &format!("io::commit::temporary::tests::unix::{test}")]);
        command.env(CHILD, directory);
        command
    }

    #[test]
    fn any_name_that_the_system_takes_works() {
        let directory = tempfile::tempdir().unwrap();
        for name in [[b'n'; 255].as_slice(), b"\xff\xfe", b"\xff".repeat(255).as_slice(), b"a\nb"] {
            let path = directory.path().join(OsStr::from_bytes(name));
            save(&path, "one").unwrap();
            save(&path, "two").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"two");
        }
        assert_eq!(names(directory.path()).len(), 4);
    }

    #[test]
    fn a_link_stays_and_what_it_leads_to_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("far")).unwrap();
        let target = directory.path().join("far/target");
        let link = directory.path().join("latest");
        symlink("far/target", &link).unwrap();
        for content in ["created through the link", "replaced through the link"] {
            save(&link, content).unwrap();
            assert_eq!(fs::read_to_string(&target).unwrap(), content);
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        }
        assert!(fs::symlink_metadata(&target).unwrap().is_file());
        assert_eq!(names(directory.path()), ["far", "latest"]);
        assert_eq!(names(&directory.path().join("far")), ["target"]);
        symlink("loop", directory.path().join("loop")).unwrap();
        assert!(save(&directory.path().join("loop"), "").is_err());
    }

    #[test]
    fn special_files_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [socket.as_path(), Path::new("/dev/null")] {
            assert_eq!(save(path, "").unwrap_err().kind(), ErrorKind::Usage);
        }
        assert_eq!(names(directory.path()), ["socket"]);
    }

    #[test]
    fn permissions_are_kept_and_never_wider_meanwhile() {
        for directory in directories() {
            for kept in [0o600, 0o644, 0o640, 0o444, 0o666, 0o400, 0o000] {
                let path = directory.path().join(format!("{kept:o}"));
                fs::write(&path, "old").unwrap();
                set_mode(&path, kept);
                let mut temporary = Temporary::create(&LocalDisk, &path).unwrap();
                assert_eq!(mode(temporary.path()) & !0o600, 0);
                temporary.file().write_all_at(b"new", 0).unwrap();
                temporary.sync().unwrap();
                assert_eq!(mode(temporary.path()), kept);
                temporary.commit(Existing::Replace, Durability::Full).unwrap();
                assert_eq!(mode(&path), kept);
            }
        }
    }

    #[test]
    fn the_owner_is_kept() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root gives files away");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "old").unwrap();
        std::os::unix::fs::chown(&path, Some(12_345), Some(54_321)).unwrap();
        set_mode(&path, 0o640);
        save(&path, "new").unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.uid(), metadata.gid(), mode(&path)), (12_345, 54_321, 0o640));
    }

    #[test]
    fn a_new_file_is_as_open_as_the_umask_lets_it() {
        if let Some(directory) = child_directory() {
            save(&directory.join("file"), "new").unwrap();
            return;
        }
        for (mask, expected) in [("000", 0o666), ("022", 0o644), ("077", 0o600), ("027", 0o640)] {
            let directory = tempfile::tempdir().unwrap();
            let test = child("a_new_file_is_as_open_as_the_umask_lets_it", directory.path());
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("umask {mask}; exec \"$0\" \"$@\"")]);
            shell.arg(test.get_program()).args(test.get_args()).env(CHILD, directory.path());
            assert!(shell.output().unwrap().status.success());
            assert_eq!(mode(&directory.path().join("file")), expected, "{mask}");
        }
    }

    #[test]
    fn without_permission_the_error_says_so() {
        if let Some(directory) = child_directory() {
            let error = save(&directory.join("file"), "new").unwrap_err().to_string();
            assert!(error.contains("this user may not write in its directory"), "{error}");
            // What belongs to somebody else is replaced as this user's own, and its group gets no more.
            let open = directory.join("open");
            save(&open.join("file"), "new").unwrap();
            assert_eq!(mode(&open.join("file")), 0o600);
            assert_eq!(clean(&LocalDisk, &open), 0);
            return;
        }
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root runs a process as another user");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("open")).unwrap();
        set_mode(directory.path(), 0o755);
        set_mode(&directory.path().join("open"), 0o777);
        fs::write(directory.path().join("file"), "old").unwrap();
        let foreign = directory.path().join("open/file");
        fs::write(&foreign, "old").unwrap();
        set_mode(&foreign, 0o660);
        let leftover = directory.path().join("open/.ckpt-0123456789abcdef.tmp");
        fs::write(&leftover, "root's").unwrap();
        set_mode(&leftover, 0o600);
        let mut test = child("without_permission_the_error_says_so", directory.path());
        let output = match test.uid(65_534).gid(65_534).output() {
            Ok(output) => output,
            Err(error) => {
                println!("skipped: the test can't be run as another user: {error}");
                return;
            }
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(fs::read(directory.path().join("file")).unwrap(), b"old");
        assert_eq!(fs::read(foreign).unwrap(), b"new");
        assert!(leftover.exists());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_killed_process_leaves_is_cleaned_away() {
        if let Some(directory) = child_directory() {
            let temporary = Temporary::create(&LocalDisk, &directory.join("file")).unwrap();
            temporary.file().write_all_at(b"half", 0).unwrap();
            fs::write(directory.join("ready"), "").unwrap();
            loop {
                std::thread::park();
            }
        }
        let Ok(directory) = tempfile::tempdir_in("/dev/shm") else {
            println!("skipped: /dev/shm isn't there or can't be written");
            return;
        };
        let mut test = child("what_a_killed_process_leaves_is_cleaned_away", directory.path());
        let mut process = test.stdout(std::process::Stdio::null()).spawn().unwrap();
        while !directory.path().join("ready").exists() {
            assert!(process.try_wait().unwrap().is_none(), "the process ended early");
            std::thread::yield_now();
        }
        assert_eq!(clean(&LocalDisk, directory.path()), 0);
        process.kill().unwrap();
        process.wait().unwrap();
        assert_eq!(names(directory.path()).len(), 2);
        assert_eq!(clean(&LocalDisk, directory.path()), 1);
        assert_eq!(names(directory.path()), ["ready"]);
    }
}

#[cfg(target_os = "linux")]
mod full_disk {
    use std::process::Command;

    use super::*;

    /// A small ext4 file system in a file, mounted while this lives.
    struct Mounted(tempfile::TempDir);

    impl Mounted {
        /// Mounts one, or says why it can't.
        fn new() -> Option<Self> {
            let directory = tempfile::tempdir().unwrap();
            let image = directory.path().join("image");
            fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
            let point = directory.path().join("mounted");
            fs::create_dir(&point).unwrap();
            let run = |command: &mut Command| match command.output() {
                Ok(output) if output.status.success() => true,
                Ok(output) => {
                    println!("skipped: no small disk: {}", String::from_utf8_lossy(&output.stderr));
                    false
                }
                Err(error) => {
                    println!("skipped: no small disk: {error}");
                    false
                }
            };
            let is_there = run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))
                && run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&point));
            is_there.then_some(Self(directory))
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("mounted")
        }
    }

    impl Drop for Mounted {
        fn drop(&mut self) {
            assert!(Command::new("umount").arg(self.path()).status().unwrap().success());
        }
    }

    #[test]
    fn a_full_disk_is_noticed_when_room_is_reserved() {
        let Some(disk) = Mounted::new() else { return };
        let path = disk.path().join("file");
        save(&path, "old").unwrap();
        let before = names(&disk.path());
        let mut temporary = Temporary::create(&LocalDisk, &path).unwrap();
        let free = LocalDisk.free_bytes(&disk.path()).unwrap();
        let error = temporary.reserve(free + 1).unwrap_err().to_string();
        let expected = format!("it needs {} bytes, and {free} are free", free + 1);
        assert!(error.contains(&expected) && !error.contains("os error"), "{error}");
        // As much as is free, but not for data alone: only the file system knows that.
        let error = temporary.reserve(free).unwrap_err().to_string();
        let expected = format!("it needs {free} bytes, and {free} are free");
        assert!(error.contains(&expected) && error.contains("os error 28"), "{error}");
        drop(temporary);
        assert_eq!(names(&disk.path()), before);
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn a_disk_that_fills_up_while_writing_leaves_the_old_file() {
        for is_direct in [false, true] {
            let Some(disk) = Mounted::new() else { return };
            let path = disk.path().join("file");
            save(&path, "old").unwrap();
            let before = names(&disk.path());
            let mut temporary = Temporary::create(&LocalDisk, &path).unwrap();
            temporary.reserve(1 << 20).unwrap();
            if is_direct {
                println!("alignment: {:?}", temporary.file().alignment());
            }
            let memory = vec![7; 3 << 20];
            let bytes = &memory[memory.as_ptr().align_offset(1 << 20)..][..1 << 20];
            let written = (0..64).try_for_each(|i| temporary.file().write_all_at(bytes, i << 20));
            let error = temporary.failed_to_write(written.unwrap_err()).to_string();
            assert!(error.contains("can't write it (it needs 1048576 bytes, and "), "{error}");
            drop(temporary);
            assert_eq!(names(&disk.path()), before);
            assert_eq!(fs::read(&path).unwrap(), b"old");
            save(&path, "new").unwrap();
        }
    }

    #[test]
    fn a_disk_mounted_read_only_is_named() {
        let Some(disk) = Mounted::new() else { return };
        let path = disk.path().join("file");
        save(&path, "old").unwrap();
        let remount = Command::new("mount").args(["-o", "remount,ro"]).arg(disk.path()).status();
        assert!(remount.unwrap().success());
        let error = save(&path, "new").unwrap_err().to_string();
        assert!(error.contains("mounted read-only"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }
}
