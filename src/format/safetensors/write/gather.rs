//! The elements of a tensor one behind the other, computed when they are asked for.

use std::sync::{Arc, Mutex, PoisonError};

use crate::Error;
use crate::record::TensorInfo;
use crate::tensor::{Body, Data, Source, Tensor, extent};

/// Bytes that have to be read are read at once, up to this many times what is taken from them; beyond,
/// each run is read by itself.
const READ_AHEAD: u64 = 4;

/// A tensor of a storage that it has not all of, or not in order.
pub(super) struct Gather<'s> {
    data: &'s Data<'s>,
    /// The first element's place in the storage, in bytes.
    start: u64,
    /// The bytes from the first element to the end of the last.
    span: u64,
    /// The lengths of the dimensions outside of a run, and the bytes from one to the next.
    outer: Vec<(u64, u64)>,
    /// The bytes that lie together.
    run: u64,
    len: u64,
    /// The span while it is being read from, and how many bytes were taken: it is dropped behind the last.
    held: Mutex<(Option<Arc<Vec<u8>>>, u64)>,
}

impl<'s> Gather<'s> {
    /// Makes the source of a tensor that was held to its storage; `None` where its elements are no whole
    /// bytes, or it isn't strided.
    pub(super) fn new(tensor: &Tensor, data: &'s Data<'_>) -> Option<Self> {
        let Body::Strided { offset, strides, .. } = &tensor.body else { return None };
        let (dtype, shape) = (tensor.dtype, &tensor.shape);
        if dtype.bits() % 8 != 0 || dtype.elements_per_byte() > 1 {
            return None;
        }
        let element = dtype.bits() / 8;
        let len = TensorInfo::count(shape)?.checked_mul(element)?;
        let span = extent(0, shape, strides).ok()?.checked_mul(element)?;
        let start = if len == 0 { 0 } else { offset.checked_mul(element)? };
        let mut outer = Vec::new();
        let mut run = element;
        for (&length, &stride) in shape.iter().zip(strides).rev().filter(|(length, _)| **length != 1) {
            let step = if len == 0 { 0 } else { stride.checked_mul(element)? };
            if outer.is_empty() && step == run {
                run *= length;
            } else {
                outer.push((length, step));
            }
        }
        outer.reverse();
        Some(Self { data, start, span, outer, run, len, held: Mutex::default() })
    }

    /// Calls `take` for each run of bytes that `buffer` is to be filled with: where they are, counted from the
    /// first element, and where they go.
    fn runs(
        &self,
        buffer: &mut [u8],
        offset: u64,
        mut take: impl FnMut(u64, &mut [u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut index = self.index(offset / self.run);
        let mut inside = offset % self.run;
        let mut rest = buffer;
        while !rest.is_empty() {
            let there = usize::try_from(self.run - inside).unwrap_or(usize::MAX).min(rest.len());
            let (part, behind) = rest.split_at_mut(there);
            let at: u64 = index.iter().zip(&self.outer).map(|(index, (_, step))| index * step).sum();
            take(at + inside, part)?;
            rest = behind;
            inside = 0;
            for (index, (length, _)) in index.iter_mut().zip(&self.outer).rev() {
                *index += 1;
                if *index < *length {
                    break;
                }
                *index = 0;
            }
        }
        Ok(())
    }

    /// Returns the index of a run in the outer dimensions.
    fn index(&self, run: u64) -> Vec<u64> {
        let mut rest = run;
        let mut index: Vec<_> = self
            .outer
            .iter()
            .rev()
            .map(|(length, _)| {
                let at = rest % length;
                rest /= length;
                at
            })
            .collect();
        index.reverse();
        index
    }

    /// Returns the bytes of the span, read once for all that ask meanwhile.
    fn hold(&self, asked: u64) -> Result<Arc<Vec<u8>>, Error> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let span = if let Some(span) = held.0.take() {
            span
        } else {
            let length = usize::try_from(self.span)
                .map_err(|_| Error::usage("a tensor is larger than this machine's memory"))?;
            let mut span = vec![0; length];
            self.data.read_at(&mut span, self.start)?;
            Arc::new(span)
        };
        held.1 = held.1.saturating_add(asked);
        if held.1 < self.len {
            held.0 = Some(Arc::clone(&span));
        } else {
            held.1 = 0;
        }
        Ok(span)
    }
}

impl Source for Gather<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        let asked = buffer.len() as u64;
        if offset.checked_add(asked).is_none_or(|end| end > self.len) {
            return Err(Error::usage(format!(
                "{asked} bytes from {offset} on were asked for, of {}",
                self.len
            )));
        }
        if buffer.is_empty() {
            return Ok(());
        }
        if let Some(all) = self.data.bytes()? {
            return self.runs(buffer, offset, |at, part| copy(all, self.start + at, part));
        }
        if self.span <= self.len.saturating_mul(READ_AHEAD) {
            let span = self.hold(asked)?;
            return self.runs(buffer, offset, |at, part| copy(&span, at, part));
        }
        self.runs(buffer, offset, |at, part| self.data.read_at(part, self.start + at))
    }
}

/// Copies one run.
fn copy(from: &[u8], at: u64, part: &mut [u8]) -> Result<(), Error> {
    let start = usize::try_from(at).ok();
    let run = start.and_then(|start| from.get(start..start.checked_add(part.len())?));
    let run = run.ok_or_else(|| Error::usage("a tensor reaches outside its storage"))?;
    part.copy_from_slice(run);
    Ok(())
}
