//! Copying a state's bytes to their places, by several threads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::place::{PAGE_BYTES, Plan};
use crate::Error;
use crate::io::stream::copy_past_cache;
use crate::tensor::{Data, Device, DeviceCopy, Source as _, State, StorageId};

/// The bytes that a thread takes at a time: a part of a large tensor, or many small ones. It takes a fraction of
/// a millisecond, so that all threads come to their end at about the same time.
const SHARE_BYTES: usize = 4 << 20;

/// A run of bytes, with where it goes.
struct Part<'c> {
    source: &'c Data<'c>,
    /// The first byte's place in the source.
    offset: u64,
    target: &'c mut [u8],
}

/// What lies on one device.
type OnDevice<'c> = (Arc<dyn Device>, Vec<DeviceCopy<'c>>);

/// The work, in shares of about [`SHARE_BYTES`], and what devices do themselves, by their names.
#[derive(Default)]
struct Work<'c> {
    shares: Vec<Vec<Part<'c>>>,
    /// How many bytes the last share has.
    last_bytes: usize,
    devices: BTreeMap<String, OnDevice<'c>>,
}

/// Copies all storages to their places. What lies between them becomes zeros.
pub(super) fn fill(plan: &Plan, state: &State<'_>, area: &mut [u8], threads: usize) -> Result<(), Error> {
    let mut work = Work::default();
    let (mut rest, mut at) = (area, 0);
    for &number in &plan.order {
        let id = StorageId(u32::try_from(number).unwrap_or(u32::MAX));
        let (Some(source), Some(range)) = (state.data(id), plan.ranges.get(number)) else { continue };
        let (gap, behind) = cut(rest, range.start - at);
        gap.fill(0);
        let (target, behind) = cut(behind, range.end - range.start);
        work.add(source, target);
        (rest, at) = (behind, range.end);
    }
    cut(rest, plan.len - at).0.fill(0);
    work.run(threads)
}

/// Cuts off the first bytes.
fn cut(bytes: &mut [u8], len: u64) -> (&mut [u8], &mut [u8]) {
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(bytes.len());
    bytes.split_at_mut(len)
}

impl<'c> Work<'c> {
    /// Adds a storage.
    fn add(&mut self, source: &'c Data<'c>, target: &'c mut [u8]) {
        if let Some(device) = source.device() {
            let (_, copies) = self.devices.entry(device.name()).or_insert_with(|| (device, Vec::new()));
            copies.push(DeviceCopy { source, target });
            return;
        }
        let (mut rest, mut offset) = (target, 0);
        while !rest.is_empty() {
            if self.shares.is_empty() || self.last_bytes >= SHARE_BYTES {
                self.shares.push(Vec::new());
                self.last_bytes = 0;
            }
            let len = rest.len().min(SHARE_BYTES - self.last_bytes);
            let (target, behind) = rest.split_at_mut(len);
            if let Some(share) = self.shares.last_mut() {
                share.push(Part { source, offset, target });
            }
            self.last_bytes += len;
            (rest, offset) = (behind, offset + len as u64);
        }
    }

    /// Does it: the calling thread has the devices copy while the others copy what is the host's, and then
    /// helps them.
    fn run(self, threads: usize) -> Result<(), Error> {
        let helpers = self.shares.len().min(threads).saturating_sub(1);
        let shares = Mutex::new(self.shares.into_iter());
        let next = || shares.lock().unwrap_or_else(PoisonError::into_inner).next();
        let copy = || -> Result<(), Error> {
            while let Some(share) = next() {
                share.into_iter().try_for_each(Part::copy)?;
            }
            Ok(())
        };
        let mut devices = self.devices.into_values();
        with_helpers(helpers, &copy, || {
            devices.try_for_each(|(device, mut copies)| device.copy(&mut copies))?;
            copy()
        })
    }
}

impl Part<'_> {
    fn copy(self) -> Result<(), Error> {
        let Self { source, offset, target } = self;
        let Some(bytes) = source.bytes()? else { return source.read_at(target, offset) };
        let start = usize::try_from(offset).ok();
        let part = start.and_then(|start| bytes.get(start..start.checked_add(target.len())?));
        let part = part.ok_or_else(|| {
            let (wanted, has) = (source.len(), bytes.len());
            Error::usage(format!("a source of {wanted} bytes has only {has} in memory"))
        })?;
        copy_past_cache(target, part);
        Ok(())
    }
}

/// Touches memory that nobody has touched yet.
pub(super) fn touch(area: &mut [u8], threads: usize) {
    let step = usize::try_from(PAGE_BYTES).unwrap_or(1);
    let shares = Mutex::new(area.chunks_mut(SHARE_BYTES));
    let next = || shares.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some(share) = next() {
            share.iter_mut().step_by(step).for_each(|byte| *byte = 0);
        }
        Ok(())
    };
    // Touching can't fail.
    with_helpers(threads.saturating_sub(1), &work, work).unwrap_or_default();
}

/// Does `own` on this thread and `work` on others meanwhile, as many as the system grants. Returns the first
/// error.
fn with_helpers(
    helpers: usize,
    work: &(dyn Fn() -> Result<(), Error> + Sync),
    own: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    thread::scope(|scope| {
        let spawn = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
        let helpers: Vec<_> = (0..helpers).map_while(spawn).collect();
        let mut result = own();
        for helper in helpers {
            let helped = helper.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause));
            result = result.and(helped);
        }
        result
    })
}
