//! File systems in a file, mounted through a loop device.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A kind of file system, and how it is mounted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// What it is called in what is printed.
    pub(super) name: &'static str,
    make: &'static [&'static str],
    options: &'static str,
    /// The size of the image in bytes.
    bytes: u64,
}

impl Kind {
    /// ext4 as it comes.
    pub(super) const EXT4: Self =
        Self { name: "ext4", make: &["mkfs.ext4", "-q", "-F"], options: "loop", bytes: 32 << 20 };
    /// ext4 that doesn't write a file's bytes before its new name.
    pub(super) const EXT4_DELAYED: Self = Self {
        name: "ext4, noauto_da_alloc",
        make: &["mkfs.ext4", "-q", "-F"],
        options: "loop,noauto_da_alloc",
        bytes: 32 << 20,
    };
    /// ext4 that doesn't order bytes and names.
    pub(super) const EXT4_WRITEBACK: Self = Self {
        name: "ext4, data=writeback",
        make: &["mkfs.ext4", "-q", "-F"],
        options: "loop,data=writeback,noauto_da_alloc",
        bytes: 32 << 20,
    };
    /// XFS.
    pub(super) const XFS: Self =
        Self { name: "XFS", make: &["mkfs.xfs", "-q", "-f"], options: "loop,nouuid", bytes: 320 << 20 };
    /// btrfs.
    pub(super) const BTRFS: Self =
        Self { name: "btrfs", make: &["mkfs.btrfs", "-q", "-f"], options: "loop", bytes: 128 << 20 };

    /// All of them.
    pub(super) const ALL: [Self; 5] =
        [Self::EXT4, Self::EXT4_DELAYED, Self::EXT4_WRITEBACK, Self::XFS, Self::BTRFS];
}

/// Something mounted, unmounted when it is dropped.
#[derive(Debug)]
pub(super) struct Mount {
    /// Where the mount point and the image are.
    directory: TempDir,
    kind: &'static str,
    options: String,
}

impl Mount {
    /// Makes a file system and mounts it.
    ///
    /// # Errors
    ///
    /// Why this machine can't: a reason to leave a test out.
    pub(super) fn new(kind: &Kind) -> Result<Self, String> {
        let mount = Self::prepare(kind.name, kind.options)?;
        fs::File::create(mount.image()).and_then(|file| file.set_len(kind.bytes)).unwrap();
        let (program, arguments) = kind.make.split_first().expect("there is a command");
        run(Command::new(program).args(arguments).arg(mount.image()))?;
        mount.mount()
    }

    /// Mounts an overlay over `lower`.
    ///
    /// # Errors
    ///
    /// As [`Mount::new`].
    pub(super) fn overlay(lower: &Path) -> Result<Self, String> {
        let mut mount = Self::prepare("overlay", "")?;
        let (upper, work) = (mount.directory.path().join("upper"), mount.directory.path().join("work"));
        fs::create_dir(&upper).and_then(|()| fs::create_dir(&work)).unwrap();
        let show = |path: &Path| path.display().to_string();
        mount.options = format!("lowerdir={},upperdir={},workdir={}", show(lower), show(&upper), show(&work));
        run(Command::new("mount")
            .args(["-t", "overlay", "overlay", "-o", &mount.options])
            .arg(mount.path()))?;
        Ok(mount)
    }

    /// Copies the image as it is now, which is what the device holds, and mounts the copy: as if the power had
    /// gone. The image must not change meanwhile; it is copied until two copies in a row are the same.
    pub(super) fn after_power_loss(&self) -> Self {
        let copy = Self::prepare(self.kind, &self.options).unwrap();
        let mut bytes = read_sparse(&self.image());
        loop {
            let again = read_sparse(&self.image());
            if again == bytes {
                break;
            }
            bytes = again;
        }
        write_sparse(&copy.image(), &bytes);
        copy.mount().unwrap_or_else(|reason| panic!("the image can't be mounted: {reason}"))
    }

    fn prepare(kind: &'static str, options: &str) -> Result<Self, String> {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mount = Self { directory, kind, options: options.to_owned() };
        fs::create_dir(mount.path()).unwrap();
        if is_root() { Ok(mount) } else { Err("only root may mount".into()) }
    }

    fn mount(self) -> Result<Self, String> {
        run(Command::new("mount").args(["-o", &self.options]).args([self.image(), self.path()]))?;
        Ok(self)
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    /// Returns where it is mounted.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join("mount")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let is_mounted = || {
            let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
            mounts.lines().any(|line| line.split(' ').nth(1).map(Path::new) == Some(&self.path()))
        };
        for flag in ["-v", "-v", "-l"] {
            if !is_mounted() {
                return;
            }
            if let Err(reason) = run(Command::new("umount").arg(flag).arg(self.path())) {
                println!("{reason}");
            }
        }
    }
}

/// A file without its zeros: blocks by their number, and behind them the file's length.
type Sparse = Vec<(u64, Vec<u8>)>;

/// The unit in which zeros are left out.
const BLOCK: usize = 64 << 10;

fn read_sparse(path: &Path) -> Sparse {
    let mut file = fs::File::open(path).unwrap();
    let (zeros, mut block) = (vec![0; BLOCK], Vec::with_capacity(BLOCK));
    let (mut blocks, mut len) = (Vec::new(), 0);
    for number in 0.. {
        block.clear();
        len += (&mut file).take(BLOCK as u64).read_to_end(&mut block).unwrap() as u64;
        if block.is_empty() {
            break;
        }
        if block[..] != zeros[..block.len()] {
            blocks.push((number, block.clone()));
        }
    }
    blocks.push((len, Vec::new()));
    blocks
}

fn write_sparse(path: &Path, blocks: &Sparse) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::create(path).unwrap();
    let (len, blocks) = blocks.split_last().expect("the length is the last");
    file.set_len(len.0).unwrap();
    for (number, block) in blocks {
        file.write_all_at(block, number * BLOCK as u64).unwrap();
    }
}

/// Returns whether this process may mount.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Runs a command; says why it can't.
pub(super) fn run(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program} can't be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{program}: {}, {text}", output.status))
}
