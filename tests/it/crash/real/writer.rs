//! A process that saves again and again until it is killed.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use super::super::disk::{FakeDisk, Way};
use super::super::image::{Bytes, Image};
use super::super::saving::{self, Format, Manner, Size};

/// The environment variable that says which file a writer saves.
const PATH: &str = "CKPT_TEST_WRITER_PATH";
/// The one that says with which generation it begins.
const FIRST: &str = "CKPT_TEST_WRITER_FIRST";
/// The one that says how many generations it saves.
const COUNT: &str = "CKPT_TEST_WRITER_COUNT";

/// States repeat after so many generations.
pub(super) const GENERATIONS: u64 = 5;

/// How the writer saves.
pub(super) fn manner() -> Manner {
    Manner { marker: true, threads: 2, ..Manner::new(Format::Safetensors) }
}

/// How large the writer's states are.
pub(super) const SIZE: Size = Size::Medium;

/// Returns the file's name.
pub(super) fn name() -> &'static str {
    saving::name(manner().format)
}

/// Saves a generation as the writer does.
pub(super) fn save(path: &Path, generation: u64) -> Result<saving::Vouched, ckpt::Error> {
    saving::save(path, generation % GENERATIONS, SIZE, &manner())
}

/// Returns the file that a generation makes.
pub(super) fn file(generation: u64) -> Bytes {
    static FILES: OnceLock<Vec<Bytes>> = OnceLock::new();
    let make = |generation| {
        let disk = FakeDisk::new(Image::default(), Way::Buffered);
        saving::save_on(&disk, &FakeDisk::path(name()), generation, SIZE, &manner()).unwrap();
        Bytes::clone(disk.live().get(name()).unwrap())
    };
    let files = FILES.get_or_init(|| (0..GENERATIONS).map(make).collect());
    Bytes::clone(&files[usize::try_from(generation % GENERATIONS).unwrap()])
}

/// A running writer.
#[derive(Debug)]
pub(super) struct Writer {
    child: Child,
    lines: BufReader<ChildStdout>,
    /// The last generation that it began to save, and the last one that it says was saved.
    began: Option<u64>,
    saved: Option<u64>,
    /// What went wrong.
    pub(super) error: Option<String>,
}

impl Writer {
    /// Returns the command that saves `count` generations from `first` on.
    pub(super) fn command(
        path: &Path,
        first: u64,
        count: u64,
    ) -> (PathBuf, [&'static str; 4], [(&'static str, String); 3]) {
        let program = std::env::current_exe().unwrap();
        let arguments =
            ["crash::real::writer::writes_until_it_is_killed", "--exact", "--ignored", "--nocapture"];
        let path = path.to_str().expect("a temporary path is text").to_owned();
        (program, arguments, [(PATH, path), (FIRST, first.to_string()), (COUNT, count.to_string())])
    }

    /// Starts one.
    pub(super) fn start(path: &Path, first: u64, count: u64) -> Self {
        let (program, arguments, variables) = Self::command(path, first, count);
        let mut command = Command::new(program);
        command
            .args(arguments)
            .envs(variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        Self::of(command.spawn().unwrap())
    }

    /// Takes a process that writes its lines to a pipe.
    pub(super) fn of(mut child: Child) -> Self {
        let lines = BufReader::new(child.stdout.take().expect("the output is a pipe"));
        Self { child, lines, began: None, saved: None, error: None }
    }

    /// Waits until it begins with a save; returns whether it does.
    pub(super) fn wait_for_begin(&mut self) -> bool {
        let before = self.began;
        while self.read_line() {
            if self.began != before {
                return true;
            }
        }
        false
    }

    /// Kills it, and reads what it wrote before. Returns whether it was in the midst of a save.
    pub(super) fn kill(mut self) -> Progress {
        self.child.kill().unwrap();
        self.finish()
    }

    /// Waits for its end.
    pub(super) fn finish(mut self) -> Progress {
        while self.read_line() {}
        self.child.wait().unwrap();
        Progress { began: self.began, saved: self.saved, error: self.error.take() }
    }

    /// Returns its number.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    fn read_line(&mut self) -> bool {
        let mut line = String::new();
        if self.lines.read_line(&mut line).unwrap() == 0 {
            return false;
        }
        // A test's name may stand before the first line.
        let number = |word: &str| line.split_once(word).and_then(|(_, rest)| rest.trim().parse().ok());
        self.began = number("began ").or(self.began);
        self.saved = number("saved ").or(self.saved);
        if let Some((_, error)) = line.split_once("failed ") {
            self.error = Some(error.trim().to_owned());
        }
        true
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// How far a writer came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// The last generation that it began to save.
    pub(super) began: Option<u64>,
    /// The last one that it says was saved.
    pub(super) saved: Option<u64>,
    /// The error of the first save that failed; it was the last one.
    pub(super) error: Option<String>,
}

impl Progress {
    /// Returns whether it was in the midst of a save.
    pub(super) fn is_in_midst(&self) -> bool {
        self.began != self.saved
    }
}

/// The writer itself.
#[test]
#[ignore = "it is the process that the tests beside it start and kill"]
fn writes_until_it_is_killed() {
    let variable = |name| std::env::var(name).expect("the tests beside it set it");
    let path = PathBuf::from(variable(PATH));
    let first: u64 = variable(FIRST).parse().unwrap();
    let count: u64 = variable(COUNT).parse().unwrap();
    let mut output = std::io::stdout();
    for generation in first..first.saturating_add(count) {
        writeln!(output, "began {generation}").unwrap();
        match save(&path, generation) {
            Ok(_) => writeln!(output, "saved {generation}").unwrap(),
            Err(error) => return writeln!(output, "failed {error}").unwrap(),
        }
    }
}
