//! Saving in the background, timed: what it takes from the loop that goes on meanwhile.

use std::error::Error;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Instant;

use ckpt::manager::background::{Job, OnFailure, Saver, SaverOptions, Ticket};
use ckpt::manager::{Committed, SaveRequest};
use ckpt::record::CheckpointId;
use ckpt::{SaveOptions, State, save};

use super::saves::{options, with_state};
use super::{Answer, Request, states};

/// The side of the matrices that a step multiplies: two of them stay in a core's cache.
const SIDE: usize = 256;

/// How many products a step is: some milliseconds.
const PRODUCTS: usize = 4;

/// The fewest steps that are timed.
const MIN_STEPS: u32 = 40;

/// Below this many bytes, a state is copied in a few milliseconds.
const SHORT_BYTES: u64 = 128 << 20;

/// How often that is timed.
const SHORT_TIMES: usize = 5;

/// Where and how the next save is written.
type Target = Arc<Mutex<(PathBuf, SaveOptions)>>;

/// A saver with its area, kept from one timing to the next as in a training.
struct Kept {
    saver: Saver,
    target: Target,
    step: u64,
}

/// Submits the state that is named.
fn submit(request: &Request, state: &State<'_>) -> Result<(Ticket, f64), Box<dyn Error>> {
    static KEPT: OnceLock<Mutex<Option<(usize, Kept)>>> = OnceLock::new();
    let copiers = request.copiers.unwrap_or_else(|| SaverOptions::default().copiers);
    let mut kept = KEPT.get_or_init(Mutex::default).lock().map_err(|_| "a timing panicked")?;
    if kept.as_ref().is_none_or(|(of, _)| *of != copiers) {
        *kept = Some((copiers, Kept::new(copiers, state)?));
    }
    let (_, kept) = kept.as_mut().ok_or("no saver")?;
    *kept.target.lock().map_err(|_| "a save panicked")? = (request.path.clone(), options(request));
    kept.step += 1;
    let id = CheckpointId { generation: 0, step: kept.step };
    let start = Instant::now();
    let ticket = kept.saver.submit(id, SaveRequest::at(kept.step), state)?;
    Ok((ticket, start.elapsed().as_secs_f64()))
}

impl Kept {
    fn new(copiers: usize, state: &State<'_>) -> Result<Self, Box<dyn Error>> {
        let target: Target = Arc::default();
        let options = SaverOptions::default().with_copiers(copiers).with_on_failure(OnFailure::GoOn);
        let theirs = Arc::clone(&target);
        let commit = move |job: &Job| {
            let (path, options) = theirs.lock().map_err(|_| ckpt::Error::usage("a timing panicked"))?.clone();
            let saved = save(&path, &job.state, &options)?;
            Ok(Committed::new(job.id, path, saved))
        };
        let saver = Saver::new(options, commit)?;
        saver.prepare(state)?;
        Ok(Self { saver, target, step: 0 })
    }
}

/// Times something with the state that is named, put together anew as a training loop does it for each save. What
/// takes a few milliseconds is at the mercy of whatever else the machine does: it is done several times, and the
/// one in the middle counts.
fn time(
    request: &Request,
    mut once: impl FnMut(&State<'_>) -> Result<Answer, Box<dyn Error>>,
) -> Result<Answer, Box<dyn Error>> {
    with_state(&request.state, |state| {
        let times = if state.len_bytes() < SHORT_BYTES { SHORT_TIMES } else { 1 };
        let mut answers = Vec::new();
        for _ in 0..times {
            answers.push(once(&states::borrowed(state)?)?);
        }
        answers.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
        Ok(answers.swap_remove(times / 2))
    })
}

/// Times one save: the call, and from the call until the file is durable.
pub(super) fn time_submit(request: &Request) -> Result<Answer, Box<dyn Error>> {
    time(request, |state| {
        let start = Instant::now();
        let (ticket, seconds) = submit(request, state)?;
        let outcome = ticket.wait()?;
        let durable = Some(start.elapsed().as_secs_f64());
        let saved = &outcome.committed().ok_or("it wasn't saved")?.state;
        Ok(Answer { durable, ..Answer::new(seconds, saved.bytes, saved.proof.id()) })
    })
}

/// Copies the state to touched memory, each thread a stretch of it, tensor by tensor.
pub(super) fn time_copy(request: &Request) -> Result<Answer, Box<dyn Error>> {
    static MEMORY: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    let copiers = request.copiers.unwrap_or_else(|| SaverOptions::default().copiers);
    let mut memory = MEMORY.lock().map_err(|_| "a timing panicked")?;
    time(request, |state| {
        let bytes = state.len_bytes();
        memory.resize(usize::try_from(bytes)?, 0x5A);
        let sources: Vec<_> = state.tensors()?.iter().filter_map(states::in_memory).collect();
        let shares = shares(&sources, &mut memory, copiers);
        let start = Instant::now();
        copy(shares);
        let seconds = start.elapsed().as_secs_f64();
        black_box(memory.as_slice());
        Ok(Answer::new(seconds, bytes, ""))
    })
}

/// What a thread copies: where to, and the stretches of the sources that go there.
type Share<'a> = (&'a mut [u8], Vec<&'a [u8]>);

/// Divides a copy among threads.
fn shares<'a>(sources: &[&'a [u8]], target: &'a mut [u8], threads: usize) -> Vec<Share<'a>> {
    let len = target.len().div_ceil(threads.max(1)).max(1);
    let mut rest = sources.iter().copied();
    let mut left: &[u8] = &[];
    let mut share = |own: &'a mut [u8]| {
        let (mut parts, mut wanted) = (Vec::new(), own.len());
        while wanted > 0 {
            if left.is_empty() {
                left = rest.next().unwrap_or_default();
            }
            let (part, after) = left.split_at(wanted.min(left.len()));
            parts.push(part);
            wanted -= part.len();
            left = after;
        }
        (own, parts)
    };
    target.chunks_mut(len).map(&mut share).collect()
}

/// Copies all shares: one on this thread, each other one on its own.
fn copy(shares: Vec<Share<'_>>) {
    let work = |(mut own, parts): Share<'_>| {
        for part in parts {
            let (to, behind) = std::mem::take(&mut own).split_at_mut(part.len());
            to.copy_from_slice(part);
            own = behind;
        }
    };
    thread::scope(|scope| {
        let mut shares = shares.into_iter();
        let own = shares.next();
        shares.for_each(|share| drop(scope.spawn(move || work(share))));
        own.into_iter().for_each(work);
    });
}

/// Times a step of a fixed loop, which has as many threads as the request says: alone, or while the state is
/// being saved, the call left out.
pub(super) fn time_step(request: &Request, saving: bool) -> Result<Answer, Box<dyn Error>> {
    let workers = request.workers.max(1);
    (0..MIN_STEPS).for_each(|_| step(workers));
    if !saving {
        let start = Instant::now();
        (0..MIN_STEPS).for_each(|_| step(workers));
        return Ok(Answer::new(start.elapsed().as_secs_f64() / f64::from(MIN_STEPS), 0, ""));
    }
    with_state(&request.state, |state| {
        let (ticket, _) = submit(request, state)?;
        let (start, mut steps, mut seconds) = (Instant::now(), 0, 0.0);
        loop {
            step(workers);
            if ticket.is_done() {
                break;
            }
            steps += 1;
            seconds = start.elapsed().as_secs_f64();
        }
        let outcome = ticket.wait()?;
        let bytes = outcome.committed().ok_or("it wasn't saved")?.state.bytes;
        if steps == 0 {
            return Err("the save was over before the first step".into());
        }
        Ok(Answer::new(seconds / f64::from(steps), bytes, format!("{steps} steps")))
    })
}

/// Does what a step of a training does: each thread multiplies matrices of its own.
fn step(workers: usize) {
    thread::scope(|scope| {
        (1..workers).for_each(|_| drop(scope.spawn(products)));
        products();
    });
}

fn products() {
    let one = vec![1.0_f32; SIDE * SIDE];
    let other = vec![0.5_f32; SIDE * SIDE];
    let mut product = vec![0.0_f32; SIDE * SIDE];
    for _ in 0..PRODUCTS {
        for (out, row) in product.chunks_exact_mut(SIDE).zip(one.chunks_exact(SIDE)) {
            for (factor, column) in row.iter().zip(other.chunks_exact(SIDE)) {
                out.iter_mut().zip(column).for_each(|(sum, value)| *sum += factor * value);
            }
        }
    }
    black_box(product);
}
