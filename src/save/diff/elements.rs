//! Tensors, window by window.
//!
//! The work is a list of windows of all tensors, from which each thread takes the next: a file of one large
//! tensor keeps all threads busy, and so does one of many small ones.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::numbers::{Apart, Numbers};
use super::options::DiffOptions;
use crate::Error;
use crate::record::DifferingElements;
use crate::tensor::{Body, Source, State, Tensor, TensorRef};

/// How much of a tensor is compared at once, in bytes: a multiple of every element's size.
const WINDOW: u64 = 4 << 20;

/// Windows are compared as bytes in runs of this many, and as numbers only where a run differs.
const RUN: usize = 4096;

/// Two tensors of one dtype and shape.
pub(super) struct Pair<'s> {
    pub(super) one: TensorRef<'s>,
    pub(super) other: TensorRef<'s>,
}

/// What was found of two tensors.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) differing: u64,
    /// How many elements differ by more than the tolerance.
    pub(super) beyond: u64,
    /// The largest difference, and the first element that has it.
    largest: Option<(f64, u64)>,
    without_number: u64,
    both_nan: u64,
}

impl Tally {
    /// Takes up a differing element.
    fn add(&mut self, element: u64, apart: Apart, tolerance: Option<f64>) {
        self.differing += 1;
        let is_within = match apart {
            Apart::By(difference) => {
                self.largest = larger(self.largest, Some((difference, element)));
                tolerance.is_some_and(|tolerance| difference <= tolerance)
            }
            Apart::BothNan => {
                self.both_nan += 1;
                tolerance.is_some()
            }
            Apart::NoNumber => {
                self.without_number += 1;
                false
            }
        };
        self.beyond += u64::from(!is_within);
    }

    /// Takes up what was found of another window. The order in which windows come doesn't matter.
    fn merge(&mut self, other: &Self) {
        self.differing += other.differing;
        self.beyond += other.beyond;
        self.without_number += other.without_number;
        self.both_nan += other.both_nan;
        self.largest = larger(self.largest, other.largest);
    }

    /// Makes the record of it.
    pub(super) fn record(&self, tensor: &Tensor) -> DifferingElements {
        let bytes = tensor.len_bytes().unwrap_or(u64::MAX);
        let are_elements = Numbers::are_elements(tensor.dtype);
        let at = match self.largest {
            Some((_, element)) if are_elements => index(element, &tensor.shape),
            Some((_, byte)) => vec![byte],
            None => Vec::new(),
        };
        DifferingElements {
            count: bytes / Numbers::of(tensor.dtype).size as u64,
            differing: self.differing,
            largest: self.largest.map(|(difference, _)| difference),
            at,
            without_number: self.without_number,
            both_nan: self.both_nan,
        }
    }
}

/// Returns the larger difference; of equal ones the first element's.
fn larger(one: Option<(f64, u64)>, other: Option<(f64, u64)>) -> Option<(f64, u64)> {
    match (one, other) {
        (Some(a), Some(b)) => {
            let is_other = b.0 > a.0 || (b.0.to_bits() == a.0.to_bits() && b.1 < a.1);
            Some(if is_other { b } else { a })
        }
        (one, other) => one.or(other),
    }
}

/// Returns the index of an element, by its place in row-major order.
fn index(element: u64, shape: &[u64]) -> Vec<u64> {
    let mut rest = element;
    let mut index: Vec<u64> = shape
        .iter()
        .rev()
        .map(|length| {
            let at = rest % (*length).max(1);
            rest /= (*length).max(1);
            at
        })
        .collect();
    index.reverse();
    index
}

/// A part of the work.
#[derive(Clone, Copy)]
struct Task {
    pair: usize,
    /// Where the window begins in the elements, in bytes; `None` for a tensor that is taken as a whole.
    window: Option<u64>,
}

/// Two states whose tensors are compared.
pub(super) struct Elements<'s> {
    pub(super) left: &'s State<'s>,
    pub(super) right: &'s State<'s>,
    pub(super) options: &'s DiffOptions,
}

impl Elements<'_> {
    /// Compares the tensors of each pair. Memory is bounded by two windows for each thread, where tensors lie
    /// in order, and by the two tensors otherwise.
    pub(super) fn compare(&self, pairs: &[Pair<'_>]) -> Result<Vec<Tally>, Error> {
        let tasks: Vec<Task> =
            pairs.iter().enumerate().flat_map(|(number, pair)| tasks(number, pair)).collect();
        let tallies = Mutex::new(vec![Tally::default(); pairs.len()]);
        let next = AtomicUsize::new(0);
        let work = || -> Result<(), Error> {
            let mut buffers = (Vec::new(), Vec::new());
            while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                let Some(pair) = pairs.get(task.pair) else { continue };
                let tally = self.task(pair, task.window, &mut buffers).inspect_err(|_| {
                    // The others stop as well.
                    next.store(tasks.len(), Ordering::Relaxed);
                })?;
                let mut tallies = tallies.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(all) = tallies.get_mut(task.pair) {
                    all.merge(&tally);
                }
            }
            Ok(())
        };
        let threads = self.options.threads.clamp(1, tasks.len().max(1));
        thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let own = work();
            others.into_iter().fold(own, |all, other| {
                let other = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                all.and(other)
            })
        })?;
        Ok(tallies.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Compares one window, or two tensors as a whole.
    fn task(
        &self,
        pair: &Pair<'_>,
        window: Option<u64>,
        buffers: &mut (Vec<u8>, Vec<u8>),
    ) -> Result<Tally, Error> {
        let numbers = Numbers::of(pair.one.dtype());
        let tolerance = self.options.tolerance;
        let (tally, bytes) = match window {
            None => {
                let (one, other) = (pair.one.bytes()?, pair.other.bytes()?);
                (tally(&one, &other, 0, numbers, tolerance), one.len())
            }
            Some(start) => {
                let length = (pair.one.len_bytes() - start).min(WINDOW);
                let length = usize::try_from(length).unwrap_or_default();
                let (one, other) = buffers;
                read(self.left, pair.one.tensor(), start, length, one)?;
                read(self.right, pair.other.tensor(), start, length, other)?;
                (tally(one, other, start, numbers, tolerance), length)
            }
        };
        if let Some(progress) = &self.options.progress {
            progress.add(2 * bytes as u64);
        }
        Ok(tally)
    }
}

/// Cuts a pair into windows, where both tensors lie in order.
fn tasks(number: usize, pair: &Pair<'_>) -> Vec<Task> {
    let is_in_order = |tensor: &TensorRef<'_>| tensor.tensor().contiguous_start().is_some();
    let bytes = pair.one.len_bytes();
    match (pair.one.tensor().len_bytes(), is_in_order(&pair.one) && is_in_order(&pair.other)) {
        (Some(0), _) => Vec::new(),
        (Some(_), true) => {
            let windows = (0..bytes.div_ceil(WINDOW)).map(|window| window * WINDOW);
            windows.map(|start| Task { pair: number, window: Some(start) }).collect()
        }
        _ => vec![Task { pair: number, window: None }],
    }
}

/// Reads a part of a tensor that lies in order.
fn read(
    state: &State<'_>,
    tensor: &Tensor,
    start: u64,
    length: usize,
    buffer: &mut Vec<u8>,
) -> Result<(), Error> {
    let Body::Strided { storage, .. } = &tensor.body else { return Ok(()) };
    let beyond = || Error::usage("a tensor reaches beyond its storage");
    let data = state.data(*storage).ok_or_else(beyond)?;
    let offset = tensor.contiguous_start().and_then(|first| first.checked_add(start)).ok_or_else(beyond)?;
    let end = offset.checked_add(length as u64).ok_or_else(beyond)?;
    if end > data.len() {
        return Err(beyond());
    }
    buffer.resize(length, 0);
    data.read_at(buffer, offset)
}

/// Compares two runs of elements, of which the first lies at `start`, in bytes.
fn tally(one: &[u8], other: &[u8], start: u64, numbers: Numbers, tolerance: Option<f64>) -> Tally {
    let mut tally = Tally::default();
    if one == other {
        return tally;
    }
    let size = numbers.size;
    let mut element = start / size as u64;
    for (one, other) in one.chunks(RUN).zip(other.chunks(RUN)) {
        if one != other {
            let pairs = one.chunks_exact(size).zip(other.chunks_exact(size));
            for (at, (one, other)) in (element..).zip(pairs).filter(|(_, (one, other))| one != other) {
                tally.add(at, numbers.apart(one, other), tolerance);
            }
        }
        element += (one.len() / size) as u64;
    }
    tally
}
