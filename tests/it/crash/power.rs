//! What a disk may hold after the power went.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::sync::Arc;

use super::image::{Bytes, Image};
use super::journal::{Change, Effect, FileId, Journal, NameChange, write_at};
use super::names::{Directories, Names, Step, numbered, paths, synced};
use super::random::Random;
use super::survival::{Fate, Order, Survival};

/// The unit in which a device writes: of one write, each may be there or not.
const SECTOR: usize = 512;

/// When the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// After so many calls.
    After(usize),
    /// In the midst of a call that writes, after so many calls before it.
    Midst(usize),
}

/// One change of a file.
#[derive(Clone, Debug)]
struct Made {
    change: Change,
    /// Whether a later sync made it durable.
    durable: bool,
    /// Whether a sync failed after it: then no later one makes it durable.
    lost_to_sync: bool,
}

/// The state of a disk at the moment when the power goes: what is durable, and what may or may not be.
#[derive(Clone, Debug)]
pub(super) struct PowerLoss {
    /// The files' bytes when the disk was made.
    start: Vec<Bytes>,
    /// What was done to each file.
    made: Vec<Vec<Made>>,
    /// The names that are durable.
    durable: Names,
    /// The changes of names that aren't.
    pending: Vec<NameChange>,
    /// The names that running processes saw.
    live: Names,
    directories: Directories,
}

/// What makes two images of one journal the same: each path, its file, and what survived of that file.
pub(super) type Key = Vec<(OsString, FileId, Vec<(usize, Fate)>)>;

impl PowerLoss {
    /// Plays a journal up to the moment when the power goes.
    pub(super) fn at(journal: &Journal, cut: Cut) -> Self {
        let start: Vec<Bytes> = journal.start.files().map(|(_, bytes)| Bytes::clone(bytes)).collect();
        let (names, directories) = numbered(&journal.start);
        let made = vec![Vec::new(); start.len()];
        let (live, durable) = (names.clone(), names);
        let mut loss = Self { start, made, live, durable, directories, pending: Vec::new() };
        let (Cut::After(calls) | Cut::Midst(calls)) = cut;
        for call in &journal.calls[..calls] {
            loss.play(&call.effect);
        }
        if let (Cut::Midst(_), Some(call)) = (cut, journal.calls.get(calls)) {
            loss.play_half(&call.effect);
        }
        loss
    }

    fn play(&mut self, effect: &Effect) {
        match effect {
            Effect::None => {}
            Effect::Changed(file, change) => self.change(*file, change.clone()),
            Effect::Named(change) => {
                if let NameChange::Create(_, file) | NameChange::CreateDirectory(_, file) = change {
                    self.start.push(Bytes::default());
                    self.made.push(Vec::new());
                    if let NameChange::CreateDirectory(..) = change {
                        self.directories.insert(*file);
                    }
                }
                change.apply(&mut self.live);
                self.pending.push(change.clone());
            }
            Effect::Synced(file) => {
                self.made[*file].iter_mut().for_each(|made| made.durable |= !made.lost_to_sync);
            }
            Effect::FailedToSync(file) => {
                self.made[*file].iter_mut().for_each(|made| made.lost_to_sync |= !made.durable);
            }
            Effect::SyncedDirectory(directory) => {
                for change in synced(&mut self.pending, *directory) {
                    change.apply(&mut self.durable);
                }
            }
        }
    }

    /// Plays the first half of a write; any other call happens or doesn't.
    fn play_half(&mut self, effect: &Effect) {
        if let Effect::Changed(file, Change::Write(offset, data)) = effect {
            self.change(*file, Change::Write(*offset, data[..data.len() / 2].into()));
        }
    }

    fn change(&mut self, file: FileId, change: Change) {
        self.made[file].push(Made { change, durable: false, lost_to_sync: false });
    }

    /// Returns what running processes saw: what is left where the process is killed and the power stays.
    pub(super) fn live(&self) -> Image {
        let everything = Survival { names: Order::First(usize::MAX), data: Vec::new() };
        self.image(&self.key(&everything))
    }

    /// Returns the changes of files that may or may not survive: those of files that had a name at some
    /// moment that may be the last one.
    pub(super) fn unsynced(&self) -> Vec<(FileId, usize)> {
        let mut reachable: BTreeSet<FileId> = self.durable.values().copied().collect();
        for change in &self.pending {
            match change {
                NameChange::Create(_, file) | NameChange::Rename(_, _, file) => {
                    reachable.insert(*file);
                }
                NameChange::Swap((_, one), (_, other)) => reachable.extend([*one, *other]),
                NameChange::CreateDirectory(..) | NameChange::Remove(_) => {}
            }
        }
        let of_file = |file: FileId| {
            let made = self.made[file].iter().enumerate();
            made.filter(|(_, made)| !made.durable).map(move |(number, _)| (file, number))
        };
        reachable.into_iter().flat_map(of_file).collect()
    }

    /// Returns how many changes of names aren't durable.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Returns how many steps these changes are made of.
    pub(super) fn steps(&self) -> usize {
        self.pending.iter().map(|change| change.steps().len()).sum()
    }

    /// Returns how many steps each of these changes is made of.
    pub(super) fn steps_of_each(&self) -> Vec<usize> {
        self.pending.iter().map(|change| change.steps().len()).collect()
    }

    /// Returns whether some change of names would survive in part: what a file system without a journal may do.
    pub(super) fn splits(&self, order: &Order) -> bool {
        let Order::Any(survives) = order else { return false };
        let mut survives = &survives[..];
        self.steps_of_each().into_iter().any(|steps| {
            let (own, others) = survives.split_at(steps);
            survives = others;
            own.windows(2).any(|pair| pair[0] != pair[1])
        })
    }

    /// Says which image is left where this much survives. Changes that `survival` doesn't name do.
    pub(super) fn key(&self, survival: &Survival) -> Key {
        let fates: BTreeMap<(FileId, usize), Fate> =
            self.unsynced().into_iter().zip(survival.data.iter().copied()).collect();
        let content = |file: FileId| {
            let fate = |number: usize| fates.get(&(file, number)).copied().unwrap_or(Fate::Kept);
            let changes = (0..self.made[file].len()).map(|number| (number, fate(number)));
            changes.filter(|(_, fate)| *fate != Fate::Lost).collect()
        };
        let paths = paths(&self.names(&survival.names), &self.directories);
        paths.into_iter().map(|(name, file)| (name, file, content(file))).collect()
    }

    /// Returns the names that are left.
    fn names(&self, order: &Order) -> Names {
        let mut names = self.durable.clone();
        match order {
            Order::First(count) => {
                self.pending.iter().take(*count).for_each(|change| change.apply(&mut names));
            }
            Order::Any(survives) => {
                let steps = self.pending.iter().flat_map(NameChange::steps);
                let surviving = steps.zip(survives).filter(|(_, survives)| **survives);
                surviving.for_each(|(step, _): (Step, _)| step.apply(&mut names));
            }
        }
        names
    }

    /// Makes an image.
    pub(super) fn image(&self, key: &Key) -> Image {
        key.iter().map(|(name, file, content)| (name.clone(), self.content(*file, content))).collect()
    }

    /// Returns what is left of a file.
    fn content(&self, file: FileId, content: &[(usize, Fate)]) -> Bytes {
        if content.is_empty() {
            return Bytes::clone(&self.start[file]);
        }
        let mut bytes = self.start[file].to_vec();
        for (number, fate) in content {
            apply(&self.made[file][*number].change, *fate, &mut bytes);
        }
        Arc::new(bytes)
    }
}

/// Does to a file what a change came to.
fn apply(change: &Change, fate: Fate, bytes: &mut Vec<u8>) {
    let Change::Write(offset, data) = change else { return change.apply(bytes) };
    match fate {
        Fate::Lost => {}
        Fate::Kept => change.apply(bytes),
        Fate::Zeros => write_at(bytes, *offset, &vec![0; data.len()]),
        Fate::Stale(seed) => {
            let mut random = Random::new(seed);
            let stale: Vec<u8> = data.iter().map(|_| random.next().to_le_bytes()[0]).collect();
            write_at(bytes, *offset, &stale);
        }
        Fate::Torn(seed) => {
            let mut random = Random::new(seed);
            for (number, sector) in data.chunks(SECTOR).enumerate() {
                if random.coin() {
                    write_at(bytes, offset + (number * SECTOR) as u64, sector);
                }
            }
        }
    }
}
