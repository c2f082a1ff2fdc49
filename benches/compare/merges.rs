//! Merges of embeddings, timed: all pairs of a folder, `a-N.pt` with `b-N.pt` to `ours-N.pt`.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use ckpt::features::merge::{MergeOptions, Pair, merge_all};

use super::saves::{forget_peak, memory};
use super::{Answer, Request, limits};

/// How many threads read or write one file when the limit is measured: as many as are enough for any device.
const LIMIT_THREADS: usize = 4;

/// Lists the pairs of a folder, each with its output.
fn pairs(folder: &Path, out: &str) -> Result<Vec<Pair>, Box<dyn Error>> {
    let mut pairs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let a = entry?.path();
        let name = a.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(number) = name.strip_prefix("a-") {
            let (b, out) = (folder.join(format!("b-{number}")), folder.join(format!("{out}-{number}")));
            pairs.push(Pair::new(a.clone(), b, out));
        }
    }
    pairs.sort();
    Ok(pairs)
}

/// Merges all pairs, anew, and returns how many bytes were written.
fn merge(request: &Request) -> Result<u64, Box<dyn Error>> {
    let options = MergeOptions::default().with_threads(request.threads).redo();
    let options = if request.validate { options } else { options.without_validation() };
    let results = merge_all(&pairs(&request.path, "ours")?, &options, &|_, _| {});
    let mut bytes = 0;
    for result in results {
        bytes += result?.bytes;
    }
    Ok(bytes)
}

/// Times the merge of all pairs, from the call until all outputs are durable.
pub(super) fn time_merge(request: &Request) -> Result<Answer, Box<dyn Error>> {
    let start = Instant::now();
    let bytes = merge(request)?;
    Ok(Answer::new(start.elapsed().as_secs_f64(), bytes, ""))
}

/// Merges all pairs once, and answers with the bytes that the process had in memory at most.
pub(super) fn peak(request: &Request) -> Result<Answer, Box<dyn Error>> {
    forget_peak()?;
    let start = Instant::now();
    merge(request)?;
    Ok(Answer::new(start.elapsed().as_secs_f64(), memory("VmHWM:")?, ""))
}

/// The limit: the inputs are read, and as many bytes as the outputs have are written, as many pairs at once; nothing
/// is done with them. `cached` says where the inputs are, and `validate` whether the outputs are read back.
pub(super) fn time_limit(request: &Request) -> Result<Answer, Box<dyn Error>> {
    let pairs = pairs(&request.path, "raw")?;
    let bytes = request.bytes.unwrap_or(0) / pairs.len().max(1) as u64;
    let next = Mutex::new(pairs.iter());
    let start = Instant::now();
    let work = || {
        while let Some(pair) = next.lock().ok().and_then(|mut next| next.next()) {
            for input in [&pair.a, &pair.b] {
                read(input, request.cached)?;
            }
            limits::write_direct(&pair.out, LIMIT_THREADS, 4 << 20, bytes, limits::Memory::Whole)?;
            if request.validate {
                read(&pair.out, false)?;
            }
        }
        Ok::<(), std::io::Error>(())
    };
    thread::scope(|scope| {
        let others: Vec<_> = (0..request.threads).map(|_| scope.spawn(work)).collect();
        let result = |other: thread::ScopedJoinHandle<'_, _>| {
            other.join().unwrap_or_else(|_| Err(std::io::Error::other("a thread panicked")))
        };
        others.into_iter().try_for_each(result)
    })?;
    Ok(Answer::new(start.elapsed().as_secs_f64(), bytes * pairs.len() as u64, ""))
}

fn read(input: &Path, cached: bool) -> std::io::Result<()> {
    if cached {
        limits::read_cached(input, 1)?;
    } else {
        limits::read_direct(input, LIMIT_THREADS, limits::Turns::All)?;
    }
    Ok(())
}
