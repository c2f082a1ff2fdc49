//! Saving and loading, timed.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use ckpt::digest::Algorithm;
use ckpt::{Access, LoadOptions, SaveOptions, State, load, save};

use super::{Answer, Request, states};

/// The states, kept from one timing to the next.
static STATES: Mutex<Option<HashMap<String, State<'static>>>> = Mutex::new(None);

/// Runs `work` on the state of a name, which is made at the first time.
pub(super) fn with_state<T>(
    name: &str,
    work: impl FnOnce(&State<'_>) -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    let mut states = STATES.lock().map_err(|_| "a timing panicked")?;
    let states = states.get_or_insert_default();
    if !states.contains_key(name) {
        states.insert(name.to_owned(), states::make(name)?);
    }
    work(states.get(name).ok_or("no state")?)
}

pub(super) fn options(request: &Request) -> SaveOptions {
    let algorithm = Algorithm::from_name(&request.algorithm).unwrap_or_default();
    let options = SaveOptions::default().with_algorithm(algorithm).with_threads(request.threads);
    if request.validate { options } else { options.without_validation() }
}

/// Times one save, from the call until the file is durable.
pub(super) fn time_save(request: &Request) -> Result<Answer, Box<dyn Error>> {
    with_state(&request.state, |state| {
        let start = Instant::now();
        let saved = save(&request.path, state, &options(request))?;
        let seconds = start.elapsed().as_secs_f64();
        Ok(Answer::new(seconds, saved.bytes, saved.proof.id()))
    })
}

/// Saves once, and answers with the bytes by which the process grew meanwhile, at most.
pub(super) fn peak(request: &Request) -> Result<Answer, Box<dyn Error>> {
    with_state(&request.state, |state| {
        forget_peak()?;
        let before = memory("VmRSS:")?;
        let start = Instant::now();
        save(&request.path, state, &options(request))?;
        let seconds = start.elapsed().as_secs_f64();
        Ok(Answer::new(seconds, memory("VmHWM:")?.saturating_sub(before), ""))
    })
}

/// Sets the highest mark of the process's memory back to what is there now.
pub(super) fn forget_peak() -> std::io::Result<()> {
    fs::OpenOptions::new().write(true).open("/proc/self/clear_refs").and_then(|mut file| {
        use std::io::Write as _;
        file.write_all(b"5")
    })
}

/// Reads a field of the process's status, in bytes.
pub(super) fn memory(field: &str) -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such field")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// Times one load into memory of its own, verified.
pub(super) fn time_load(path: &Path, threads: usize) -> Result<Answer, Box<dyn Error>> {
    let mut options = LoadOptions::default().with_access(Access::Eager);
    options.threads = threads;
    let start = Instant::now();
    let state = load(path, &options)?;
    let seconds = start.elapsed().as_secs_f64();
    let said = format!("{} tensors", state.tensors()?.len());
    Ok(Answer::new(seconds, fs::metadata(path)?.len(), said))
}
