//! Files of several checkpoints, whenever the power goes.

use std::collections::{BTreeSet, HashSet};

use ckpt::State;
use ckpt::save::{SaveOptions, SeriesItem, save_series_on};

use super::disk::{FakeDisk, Way};
use super::image::{Bytes, Image};
use super::journal::{Call, Effect, Journal};
use super::power::{Cut, PowerLoss};
use super::survival::survivals;

const NAME: &str = "__0_0.distcp";

/// Saves a file of two states and of bytes of somebody's own.
fn save(disk: &FakeDisk, seed: u8) -> Result<(), ckpt::Error> {
    let mut states = [State::new(), State::new()];
    for (state, len) in states.iter_mut().zip([3000_u64, 10]) {
        let bytes = vec![seed; usize::try_from(len).unwrap()];
        state.insert("w", ckpt::tensor::TensorView::new(ckpt::Dtype::U8, [len], bytes)?)?;
    }
    let own = vec![seed; 700];
    let items = [SeriesItem::State(&states[0]), SeriesItem::Bytes(&own), SeriesItem::State(&states[1])];
    let options = SaveOptions::default().with_threads(1);
    save_series_on(disk, &FakeDisk::path(NAME), &items, &options).map(drop)
}

/// Saves over what is there, and returns the calls with the file that came of them.
fn run(start: Image, way: Way, seed: u8) -> (Journal, Bytes) {
    let disk = FakeDisk::new(start, way);
    save(&disk, seed).unwrap();
    assert_eq!((disk.open_files(), disk.live().names()), (0, vec![NAME.to_owned()]));
    let file = Bytes::clone(disk.live().get(NAME).unwrap());
    (disk.journal(), file)
}

/// Returns what the power leaves that is neither the old file nor the new one, nor nothing where nothing was; with the
/// other images that it leaves.
fn broken(journal: &Journal, new: &Bytes) -> (Option<String>, Vec<Image>) {
    let calls = journal.calls.len();
    let cuts = (0..=calls).map(Cut::After).chain((0..calls).map(Cut::Midst));
    let (mut seen, mut fine) = (HashSet::new(), Vec::new());
    for (number, cut) in cuts.enumerate() {
        let loss = PowerLoss::at(journal, cut);
        for survival in survivals(&loss, 6, number as u64) {
            let image = loss.image(&loss.key(&survival));
            let there = image.get(NAME);
            let is_new = there == Some(new);
            if !is_new && there != journal.start.get(NAME) {
                return (Some(format!("{cut:?}: neither the old file nor the new one")), fine);
            }
            if cut == Cut::After(calls) && !is_new {
                return (Some("it returned, and the new file isn't there".to_owned()), fine);
            }
            let staged = image.names().len() - usize::from(there.is_some());
            if seen.insert((is_new, there.is_some(), staged)) {
                fine.push(image);
            }
        }
    }
    (None, fine)
}

#[test]
fn a_file_of_several_checkpoints_survives_every_cut() {
    let (_, old) = run(Image::default(), Way::Buffered, 1);
    for start in [Image::default(), Image::default().with(NAME, Bytes::clone(&old))] {
        for way in [Way::Buffered, Way::Direct(4096), Way::Pretended(4096)] {
            let (journal, new) = run(start.clone(), way, 2);
            let (problem, left) = broken(&journal, &new);
            assert_eq!(problem, None, "{way:?}");
            // The next save removes what a crash left.
            assert!(left.iter().any(|image| image.names().len() > 1 || image.get(NAME).is_none()));
            for image in left {
                run(image, way, 3);
            }
        }
    }
}

/// Each sync of it is needed, and the cuts show it.
#[test]
fn one_that_leaves_out_a_sync_breaks_the_law() {
    let (_, old) = run(Image::default(), Way::Buffered, 1);
    let (journal, new) = run(Image::default().with(NAME, old), Way::Buffered, 2);
    let is_sync = |call: &Call| matches!(call.effect, Effect::Synced(_) | Effect::SyncedDirectory(_));
    let syncs: BTreeSet<_> = journal
        .calls
        .iter()
        .enumerate()
        .filter(|(_, call)| is_sync(call))
        .map(|(number, _)| number)
        .collect();
    assert_eq!(syncs.len(), 2, "the file, and its directory");
    for sync in syncs {
        let mut without = journal.clone();
        without.calls[sync].effect = Effect::None;
        assert!(broken(&without, &new).0.is_some(), "nothing is lost without call {sync}");
    }
}
