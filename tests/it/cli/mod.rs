//! The command, as a process in a pinned environment.

mod convert;
mod copy;
mod diff;
mod distributed;
mod features;
mod judged;
mod merge;
mod pages;
mod runs;
mod salvage;
mod scrub;
mod seal;
mod stage;
mod strict;
mod verify;

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

/// The smallest safetensors file: a header without tensors.
const EMPTY_SAFETENSORS: &[u8] = b"\x02\0\0\0\0\0\0\0{}";

/// A safetensors file with one tensor of 1000 bytes, as others write it: without a proof.
fn foreign(fill: u8) -> Vec<u8> {
    let header = br#"{"w":{"dtype":"U8","shape":[1000],"data_offsets":[0,1000]}}"#;
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header, &[fill; 1000]].concat()
}

/// The option that makes reports independent of the contents.
const FAST: &str = "--skip-checkpoint-validation";

/// A directory of its own, in which the command runs with nothing of the caller's environment.
struct Place {
    directory: TempDir,
}

/// What a run of the command left.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Place {
    /// Makes a directory with these files, each of one byte; a path ending in `/` is a directory.
    fn with(files: &[&str]) -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        for file in files {
            if file.ends_with('/') {
                fs::create_dir_all(place.at(file)).unwrap();
            } else {
                place.write(file, b"x");
            }
        }
        place
    }

    fn at(&self, path: impl AsRef<OsStr>) -> PathBuf {
        self.directory.path().join(path.as_ref())
    }

    fn write(&self, path: impl AsRef<OsStr>, content: &[u8]) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ckpt"));
        command.env_clear().current_dir(&self.directory);
        command
    }

    fn run(&self, args: &[&str]) -> Run {
        Run::of(&self.command().args(args).output().unwrap())
    }

    fn verify(&self, args: &[&str]) -> Run {
        self.run(&[&["verify"], args].concat())
    }
}

impl Run {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// The whole of it, with durations made equal.
    fn shown(&self) -> String {
        let text =
            format!("exit {}\n--- stdout\n{}--- stderr\n{}", self.code.unwrap(), self.stdout, self.stderr);
        timeless(&text)
    }
}

/// Replaces durations by zero: `in 12 ms`, `"elapsed_ms":12`, `time="0.012"`.
fn timeless(text: &str) -> String {
    ["in ", "\"elapsed_ms\":", "time=\""].iter().fold(text.to_owned(), |text, before| {
        let mut parts = text.split(before);
        let first = parts.next().unwrap().to_owned();
        parts.fold(first, |text, part| {
            let rest =
                part.trim_start_matches(|character: char| character.is_ascii_digit() || character == '.');
            if rest.len() == part.len() { text + before + part } else { text + before + "0" + rest }
        })
    })
}

/// Replaces the ids of proofs, which depend on the version of ckpt that is in the file.
fn anonymous(text: &str) -> String {
    let words = text.split_inclusive([' ', '\n']).map(|word| {
        let digits = word.trim_end().strip_prefix("crc64-nvme:");
        let is_id = digits.is_some_and(|digits| digits.len() == 16);
        if is_id { format!("crc64-nvme:…{}", &word[word.trim_end().len()..]) } else { word.to_owned() }
    });
    words.collect()
}
