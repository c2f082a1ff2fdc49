//! The memory of staged states.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::place::{PAGE_BYTES, too_large};
use crate::Error;
use crate::io::Arena;
use crate::tensor::{Data, Device, HostMemory, Source};

/// Memory for one state, that begins where a page does.
#[derive(Debug)]
pub(super) struct Area {
    memory: Memory,
    /// How much of the memory lies before the first page.
    lead: usize,
    len: usize,
}

#[derive(Debug)]
enum Memory {
    /// The host's, on huge pages.
    Host(Arena),
    /// What a device of that name provided.
    Device(String, Box<dyn HostMemory>),
}

impl Area {
    /// Allocates memory: the device's, or else the host's.
    fn new(len: u64, device: Option<&Arc<dyn Device>>) -> Result<Self, Error> {
        let wanted = usize::try_from(len).map_err(|_| too_large())?;
        let Some(device) = device else {
            let whole = 0..len;
            let arena = Arena::new(&[whole]).map_err(|_| too_large())?;
            return Ok(Self { memory: Memory::Host(arena), lead: 0, len: wanted });
        };
        let page = usize::try_from(PAGE_BYTES).unwrap_or(1);
        let memory = device.allocate(wanted.checked_add(page).ok_or_else(too_large)?)?;
        let lead = memory.bytes().as_ptr().align_offset(page).min(page);
        if memory.bytes().len() < lead + wanted {
            let message = format!("{} provided less memory than it was asked for", device.name());
            return Err(Error::usage(message));
        }
        Ok(Self { memory: Memory::Device(device.name(), memory), lead, len: wanted })
    }

    fn bytes(&self) -> &[u8] {
        let all = match &self.memory {
            Memory::Host(arena) => arena.get(&(0..self.len as u64)).unwrap_or_default(),
            Memory::Device(_, memory) => memory.bytes(),
        };
        all.get(self.lead..self.lead + self.len).unwrap_or_default()
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        let all = match &mut self.memory {
            Memory::Host(arena) => arena.get_mut(&(0..self.len as u64)).unwrap_or_default(),
            Memory::Device(_, memory) => memory.bytes_mut(),
        };
        all.get_mut(self.lead..self.lead + self.len).unwrap_or_default()
    }

    /// Returns whether it is memory as that device, or none, would provide it.
    fn is_of(&self, device: Option<&str>) -> bool {
        match &self.memory {
            Memory::Host(_) => device.is_none(),
            Memory::Device(name, _) => device == Some(name),
        }
    }
}

/// The areas that nobody uses.
#[derive(Debug)]
pub(super) struct Pool {
    idle: Mutex<Vec<Area>>,
    most: usize,
}

impl Pool {
    /// Begins without any; keeps as many as `most`.
    pub(super) fn new(most: usize) -> Self {
        Self { idle: Mutex::default(), most }
    }

    /// Takes an area that is long enough, or allocates one. Those of the same kind that are too short for a
    /// state are too short for the next ones: they are freed before.
    pub(super) fn take(&self, len: u64, device: Option<&Arc<dyn Device>>) -> Result<Area, Error> {
        let name = device.map(|device| device.name());
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |area: &Area| area.is_of(name.as_deref()) && area.len as u64 >= len;
        if let Some(place) = idle.iter().position(fits) {
            return Ok(idle.swap_remove(place));
        }
        idle.retain(|area| !area.is_of(name.as_deref()));
        drop(idle);
        Area::new(len, device)
    }

    /// Keeps an area for later, or frees it where there are enough.
    pub(super) fn give_back(&self, area: Area) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.most {
            idle.push(area);
        }
    }

    /// Returns how many areas are idle.
    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.idle.lock().unwrap().len()
    }
}

/// An area in use. Dropping it gives it back.
pub(super) struct Lease {
    area: Option<Area>,
    pool: Arc<Pool>,
}

impl Lease {
    /// Takes an area of a pool.
    pub(super) fn new(pool: &Arc<Pool>, len: u64, device: Option<&Arc<dyn Device>>) -> Result<Self, Error> {
        Ok(Self { area: Some(pool.take(len, device)?), pool: Arc::clone(pool) })
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        self.area.as_mut().map_or(&mut [], Area::bytes_mut)
    }

    fn all(&self) -> &[u8] {
        self.area.as_ref().map_or(&[], Area::bytes)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(area) = self.area.take() {
            self.pool.give_back(area);
        }
    }
}

impl Source for Lease {
    fn len(&self) -> u64 {
        self.all().len() as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        Data::from(self.all()).read_at(buffer, offset)
    }

    fn bytes(&self) -> Result<Option<&[u8]>, Error> {
        Ok(Some(self.all()))
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({} bytes)", self.all().len())
    }
}
