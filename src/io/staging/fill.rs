//! Copying a state's bytes to their places, by several threads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::place::{PAGE_BYTES, Plan};
use crate::Error;
use crate::io::stream::copy_past_cache;
use crate::tensor::{Data, Device, DeviceCopy, Source as _, State, StorageId};

/// The bytes that a thread takes at a time: a part of a large tensor, or many small ones. That takes a fraction of
/// a millisecond, so that all threads come to their end at about the same time.
const SHARE_BYTES: usize = 4 << 20;

/// A stretch of the area, with the storages that lie in it, in the order of their places.
struct Stretch<'c> {
    ids: &'c [StorageId],
    /// Where in the area it begins. The first storage may begin before it, and the last end behind it.
    start: u64,
    bytes: &'c mut [u8],
}

/// What lies on one device.
type OnDevice<'c> = (Arc<dyn Device>, Vec<DeviceCopy<'c>>);

/// What there is to copy: stretches of what is the host's, and what devices copy themselves, by their names.
struct Work<'c> {
    plan: &'c Plan,
    state: &'c State<'c>,
    stretches: Vec<Stretch<'c>>,
    devices: BTreeMap<String, OnDevice<'c>>,
}

/// Copies all storages to their places. What lies between them becomes zeros.
pub(super) fn fill(plan: &Plan, state: &State<'_>, area: &mut [u8], threads: usize) -> Result<(), Error> {
    let all = Stretch { ids: &plan.order, start: 0, bytes: cut(area, plan.len).0 };
    let mut work = Work { plan, state, stretches: Vec::new(), devices: BTreeMap::new() };
    work.add(all);
    work.run(threads)
}

/// Cuts off the first bytes.
fn cut(bytes: &mut [u8], len: u64) -> (&mut [u8], &mut [u8]) {
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(bytes.len());
    bytes.split_at_mut(len)
}

impl Stretch<'_> {
    /// Splits it at a place of the area. A storage that lies on both sides is in both halves.
    fn split_at(self, place: u64, plan: &Plan) -> (Self, Self) {
        let Self { ids, start, bytes } = self;
        let before = ids.partition_point(|id| plan.range(*id).start < place);
        let behind = ids.partition_point(|id| plan.range(*id).end <= place);
        let (first, second) = cut(bytes, place.saturating_sub(start));
        let first = Self { ids: ids.get(..before).unwrap_or_default(), start, bytes: first };
        (first, Self { ids: ids.get(behind..).unwrap_or_default(), start: start.max(place), bytes: second })
    }

    /// Copies what of the storages lies in it.
    fn copy(self, plan: &Plan, state: &State<'_>) -> Result<(), Error> {
        let Self { ids, start, bytes } = self;
        let (mut rest, mut at) = (bytes, start);
        for &id in ids {
            let (Some(source), range) = (state.data(id), plan.range(id)) else { continue };
            let (gap, behind) = cut(rest, range.start.saturating_sub(at));
            gap.fill(0);
            at = at.max(range.start);
            let (target, behind) = cut(behind, range.end - at);
            copy_part(source, at - range.start, target)?;
            (rest, at) = (behind, range.end);
        }
        rest.fill(0);
        Ok(())
    }
}

/// Copies the bytes of a source from an offset on.
fn copy_part(source: &Data<'_>, offset: u64, target: &mut [u8]) -> Result<(), Error> {
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

impl<'c> Work<'c> {
    /// Adds a stretch: of what lies on devices, and what lies around it.
    fn add(&mut self, all: Stretch<'c>) {
        let mut rest = all;
        // Without devices nothing has to be sorted out, and there may be many thousand storages.
        let ids = if self.plan.device.is_some() { rest.ids } else { &[] };
        for &id in ids {
            let Some(source) = self.state.data(id) else { continue };
            let Some(device) = source.device() else { continue };
            let range = self.plan.range(id);
            let (before, behind) = rest.split_at(range.start, self.plan);
            let (own, behind) = behind.split_at(range.end, self.plan);
            self.stretches.push(before);
            let (_, copies) = self.devices.entry(device.name()).or_insert_with(|| (device, Vec::new()));
            copies.push(DeviceCopy { source, target: own.bytes });
            rest = behind;
        }
        self.stretches.push(rest);
    }

    /// Does it: the calling thread has the devices copy while the others copy what is the host's, and then
    /// helps them.
    fn run(self, threads: usize) -> Result<(), Error> {
        let Self { plan, state, stretches, devices } = self;
        let shares: usize = stretches.iter().map(|stretch| stretch.bytes.len().div_ceil(SHARE_BYTES)).sum();
        let stretches = Mutex::new(stretches);
        let copy = || -> Result<(), Error> {
            while let Some(share) = next_share(&stretches, plan) {
                share.copy(plan, state)?;
            }
            Ok(())
        };
        let mut devices = devices.into_values();
        with_helpers(shares.min(threads).saturating_sub(1), &copy, || {
            devices.try_for_each(|(device, mut copies)| device.copy(&mut copies))?;
            copy()
        })
    }
}

/// Takes a share of the work.
fn next_share<'c>(stretches: &Mutex<Vec<Stretch<'c>>>, plan: &Plan) -> Option<Stretch<'c>> {
    let mut stretches = stretches.lock().unwrap_or_else(PoisonError::into_inner);
    let next = stretches.pop()?;
    let end = next.start + SHARE_BYTES as u64;
    let (share, rest) = next.split_at(end, plan);
    if !rest.bytes.is_empty() {
        stretches.push(rest);
    }
    Some(share)
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
