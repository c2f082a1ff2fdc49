//! The Rust half of the comparison: `verify.py`, `save.py`, `async.py` and `merge.py` start it once and ask it for one timing at a time.
//!
//! A line of standard input is `{"task": "verify-load", "path": "model.pt", "threads": 2}`, and its
//! answer is `{"seconds": 0.05, "bytes": 1073755583, "said": "valid"}`. One process, so that what is
//! measured is the work and neither the start nor the first touch of the buffers.

#![expect(clippy::print_stdout, reason = "the answers go there")]

use std::error::Error;
use std::io::{self, BufRead as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use ckpt::io::{FileSource, ReadAt as _, ScanOptions, ScanSource as _};
use ckpt::{Level, VerifyOptions, verify};
use serde::{Deserialize, Serialize};

mod background;
#[cfg(target_os = "linux")]
mod limits;
#[cfg(target_os = "linux")]
mod merges;
mod saves;
mod states;
#[cfg(target_os = "linux")]
mod writes;

/// What the Python half asks for.
#[derive(Deserialize)]
struct Request {
    task: Task,
    path: PathBuf,
    threads: usize,
    /// What the engine computes while it writes. Default: CRC-64.
    sums: Option<Sums>,
    /// How many MiB a raw direct write has. Default: 4.
    block_mib: Option<usize>,
    /// How many bytes are written or copied. Default: 1 GiB.
    bytes: Option<u64>,
    /// Whether the bytes of a raw write come from a few buffers over and over.
    #[serde(default)]
    cached: bool,
    /// The state that is saved.
    #[serde(default)]
    state: String,
    /// What the proof is computed with.
    #[serde(default)]
    algorithm: String,
    /// Whether what was saved is verified.
    #[serde(default)]
    validate: bool,
    /// How many threads copy the state of a save in the background. Default: as many as there are cores.
    copiers: Option<usize>,
    /// How many threads the loop has that a save in the background is to leave alone.
    #[serde(default)]
    workers: usize,
}

/// The tasks that can be timed.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Task {
    /// `ckpt::verify` at level `load`.
    VerifyLoad,
    /// `ckpt::verify` at level `container`.
    VerifyContainer,
    /// The checksum of the whole file, as one range.
    Scan,
    /// The limit: the page cache is copied, and nothing done with it.
    ReadCached,
    /// The limit: direct reads into the buffers that `ckpt` would use, and nothing done with them.
    ReadDirect,
    /// The limit: direct reads into one buffer a thread, over and over.
    ReadDirectInPlace,
    /// The limit: as many bytes as the file has are checksummed in memory.
    Crc,
    /// `ckpt::save` of the state that is named.
    Save,
    /// By how much the memory of this process grows while it saves, at most.
    Peak,
    /// `ckpt::load` into memory of its own.
    Load,
    /// The engine that writes, 1 GiB without a disk: what copy and digests cost.
    WriteNowhere,
    /// The limit: direct writes of as many bytes, as durable, from buffers that were filled before.
    WriteDirect,
    /// The limit: memory is copied.
    Copy,
    /// A save in the background: how long the call takes, and how long it takes until the file is durable.
    Submit,
    /// The limit of that call: the state is copied to memory that was touched before.
    CopyState,
    /// `ckpt::features::merge` of all pairs in a folder.
    Merge,
    /// How much memory that takes at most.
    MergePeak,
    /// The limit: as many bytes are read and written.
    MergeLimit,
    /// How long a step of a fixed loop takes while nothing is saved.
    StepAlone,
    /// The same, while the state is being saved.
    StepSaving,
}

/// What is computed on the way.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Sums {
    /// Nothing: the bytes are copied.
    None,
    /// CRC-64.
    Crc64,
    /// CRC-64, and CRC-32 for a ZIP.
    Crc64Crc32,
    /// BLAKE3.
    Blake3,
}

/// What is answered.
#[derive(Serialize)]
struct Answer {
    seconds: f64,
    bytes: u64,
    said: String,
    /// From the call until the file was durable, where that is another time.
    #[serde(skip_serializing_if = "Option::is_none")]
    durable: Option<f64>,
}

impl Answer {
    fn new(seconds: f64, bytes: u64, said: impl Into<String>) -> Self {
        Self { seconds, bytes, said: said.into(), durable: None }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    for line in io::stdin().lock().lines() {
        let answer = run(&serde_json::from_str(&line?)?)?;
        println!("{}", serde_json::to_string(&answer)?);
    }
    Ok(())
}

fn run(request: &Request) -> Result<Answer, Box<dyn Error>> {
    let Request { task, path, threads, .. } = request;
    match task {
        Task::VerifyLoad => Ok(time_verify(path, Level::Load, *threads)),
        Task::VerifyContainer => Ok(time_verify(path, Level::Container, *threads)),
        Task::Scan => Ok(time_scan(path, *threads)?),
        Task::Save => saves::time_save(request),
        Task::Peak => saves::peak(request),
        Task::Load => saves::time_load(path, *threads),
        Task::Submit => background::time_submit(request),
        Task::CopyState => background::time_copy(request),
        Task::StepAlone => background::time_step(request, false),
        Task::StepSaving => background::time_step(request, true),
        _ => time_limit(request),
    }
}

fn time_verify(path: &Path, level: Level, threads: usize) -> Answer {
    let mut options = VerifyOptions::default().with_level(level);
    options.threads = threads;
    let start = Instant::now();
    let report = verify(path, &options);
    let seconds = start.elapsed().as_secs_f64();
    Answer::new(seconds, report.bytes, report.verdict.to_string())
}

fn time_scan(path: &Path, threads: usize) -> io::Result<Answer> {
    let start = Instant::now();
    let source = FileSource::open(path)?;
    let whole = 0..source.len();
    let sums = source.checksum(&[whole], &ScanOptions::default().with_threads(threads))?;
    let seconds = start.elapsed().as_secs_f64();
    let said = sums.first().map(|sum| format!("{:08x}", sum.value())).unwrap_or_default();
    Ok(Answer::new(seconds, source.len(), said))
}

#[cfg(target_os = "linux")]
fn time_limit(request: &Request) -> Result<Answer, Box<dyn Error>> {
    let Request { task, path, threads, sums, block_mib, bytes, .. } = request;
    let sums = sums.unwrap_or(Sums::Crc64);
    let wanted = bytes.unwrap_or(1 << 30);
    let (seconds, bytes) = match task {
        Task::Merge => return merges::time_merge(request),
        Task::MergePeak => return merges::peak(request),
        Task::MergeLimit => return merges::time_limit(request),
        Task::ReadCached => limits::read_cached(path, *threads)?,
        Task::ReadDirect => limits::read_direct(path, *threads, limits::Turns::All)?,
        Task::ReadDirectInPlace => limits::read_direct(path, *threads, limits::Turns::Last)?,
        Task::WriteNowhere => writes::write_nowhere(*threads, sums)?,
        Task::WriteDirect => {
            let block = block_mib.unwrap_or(4).min(8) << 20;
            let memory = if request.cached { limits::Memory::Cached } else { limits::Memory::Whole };
            (limits::write_direct(path, *threads, block, wanted, memory)?, wanted)
        }
        Task::Copy => (limits::copy(*threads, wanted)?, wanted),
        _ => limits::crc_of_memory(path, *threads)?,
    };
    Ok(Answer::new(seconds, bytes, ""))
}

#[cfg(not(target_os = "linux"))]
fn time_limit(_request: &Request) -> Result<Answer, Box<dyn Error>> {
    Err("the limits are measured on Linux only".into())
}
