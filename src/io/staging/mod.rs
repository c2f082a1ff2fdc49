//! A copy of a state that nobody else can change, in memory that is used again.
//!
//! A save in the background must not see what the training loop does next. So the state's bytes are copied
//! first, as fast as memory allows, and the loop goes on. Memory that is touched for the first time is many
//! times as slow as memory that was touched before: an area is allocated once, and goes back to its
//! [`Staging`] when the staged state is dropped.
//!
//! An area is laid out as the file will be, as far as that is known: bytes that are neighbours there are
//! neighbours here, and addresses are congruent to offsets modulo a page. So [`write`](mod@super::write) can
//! hand the area to the device as it is.

mod area;
mod fill;
mod place;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::Error;
use crate::tensor::{Data, Source, State, StorageId};
use area::{Lease, Pool};
use place::Plan;

/// How many areas are kept for later: one that is being written, and one that is queued behind it.
const KEPT_AREAS: usize = 2;

/// Where states are copied to, and the threads that do it.
///
/// ```
/// use ckpt::Dtype;
/// use ckpt::io::Staging;
/// use ckpt::tensor::{State, TensorView};
///
/// let mut weights = vec![1_u8; 8];
/// let staging = Staging::new(2);
/// let staged = {
///     let mut state = State::new();
///     state.insert("w", TensorView::new(Dtype::U8, [8], weights.as_slice())?)?;
///     staging.stage(&state, &[])?
/// };
/// weights.fill(2);
/// assert_eq!(*staged.tensor("w").unwrap().bytes()?, [1; 8]);
/// # Ok::<(), ckpt::Error>(())
/// ```
#[derive(Debug)]
pub struct Staging {
    pool: Arc<Pool>,
    threads: usize,
}

impl Staging {
    /// Begins without memory. `threads` copy at once, the calling one included; 0 counts as 1.
    pub fn new(threads: usize) -> Self {
        Self { pool: Arc::new(Pool::new(KEPT_AREAS)), threads: threads.max(1) }
    }

    /// Allocates what a state of this size needs, and touches it: the first copy is as fast as the next ones.
    /// Does nothing where there is such an area already.
    ///
    /// # Errors
    ///
    /// There isn't enough memory.
    pub fn prepare(&self, state: &State<'_>) -> Result<(), Error> {
        let plan = Plan::new(state, &[])?;
        let mut area = self.pool.take(plan.len, plan.device.as_ref())?;
        fill::touch(area.bytes_mut(), self.threads);
        self.pool.give_back(area);
        Ok(())
    }

    /// Copies a state: the same values, with all their bytes in one area. What becomes of the original
    /// afterwards doesn't matter.
    ///
    /// What lies on an accelerator is copied by its [`Device`](crate::tensor::Device), in one call for each
    /// device, into memory that the first of them provides. `places` says where in the file storages will
    /// begin, as [`Saved`](crate::Saved) told of the last one: a wrong place costs speed and nothing else.
    ///
    /// # Errors
    ///
    /// There isn't enough memory, or a source can't be read.
    pub fn stage(&self, state: &State<'_>, places: &[(StorageId, u64)]) -> Result<State<'static>, Error> {
        let plan = Plan::new(state, places)?;
        let mut lease = Lease::new(&self.pool, plan.len, plan.device.as_ref())?;
        fill::fill(&plan, state, lease.bytes_mut(), self.threads)?;
        let lease: Arc<dyn Source> = Arc::new(lease);
        let mut data = Vec::with_capacity(plan.ranges.len());
        for range in plan.ranges {
            data.push(Data::part(Arc::clone(&lease), range)?);
        }
        Ok(state.with_data(data))
    }
}
