//! The power goes at every moment of a save.

use std::collections::{HashMap, HashSet};
use std::iter;

use super::disk::Way;
use super::image::{Bytes, Image};
use super::journal::{Call, Effect, Method};
use super::judge::{Law, Stage, Whole};
use super::power::{Cut, Key, PowerLoss};
use super::saving::{Format, Manner, Size};
use super::scenario::{Old, Saved, Scenario, all};
use super::survival::survivals;

/// How much was tried.
#[derive(Debug, Default)]
struct Tally {
    scenarios: usize,
    cuts: usize,
    cases: usize,
    images: usize,
    second_saves: usize,
}

/// All images that a loss of power may leave of one save, each once, with a moment that leaves it.
struct Aftermath {
    images: HashMap<Key, Cut>,
    cuts: usize,
    cases: usize,
}

/// Returns all moments of a save that differ: before and after each call that changes something, and in the
/// midst of each write.
fn cuts(saved: &Saved) -> Vec<Cut> {
    let calls = saved.journal.calls.iter().enumerate();
    let after = calls.clone().filter(|(_, call)| !matches!(call.effect, Effect::None));
    let writes = calls.filter(|(_, call)| call.method == Method::Write);
    let after = after.map(|(call, _)| Cut::After(call + 1));
    iter::once(Cut::After(0)).chain(after).chain(writes.map(|(call, _)| Cut::Midst(call))).collect()
}

/// Cuts the power at these moments, in all ways.
fn aftermath(saved: &Saved, cuts: &[Cut], random: usize) -> Aftermath {
    let mut aftermath = Aftermath { images: HashMap::new(), cuts: cuts.len(), cases: 0 };
    for (number, cut) in cuts.iter().enumerate() {
        let loss = PowerLoss::at(&saved.journal, *cut);
        for survival in survivals(&loss, random, number as u64) {
            aftermath.cases += 1;
            aftermath.images.entry(loss.key(&survival)).or_insert(*cut);
        }
    }
    aftermath
}

/// Judges all images that are left. Returns those that differ in more than the bytes of a temporary file.
fn judge(
    saved: &Saved,
    aftermath: &Aftermath,
    returned: bool,
    stage: &mut Stage,
    what: &dyn Fn() -> String,
) -> Vec<Image> {
    let mut seen = HashSet::new();
    let mut distinct = Vec::new();
    for (key, cut) in &aftermath.images {
        let image = PowerLoss::at(&saved.journal, *cut).image(key);
        if !seen.insert(shape(&saved.law, &image)) {
            continue;
        }
        if let Err(problem) = saved.law.judge(&image, returned, stage) {
            let calls: Vec<String> =
                saved.journal.calls.iter().map(|call| format!("{:?} {:?}", call.method, call.name)).collect();
            panic!("{}, {cut:?}: {problem}\nleft: {:?}\ncalls: {calls:#?}", what(), image.names());
        }
        distinct.push(image);
    }
    distinct
}

/// What a file is to the judge.
#[derive(PartialEq, Eq, Hash)]
enum Content {
    Old,
    New,
    Empty,
    Small(Bytes),
    Part,
}

/// Returns what distinguishes an image: for temporary files no more than whether they are empty, whole, or
/// something else.
fn shape(law: &Law, image: &Image) -> Vec<(std::ffi::OsString, Content)> {
    let content = |name: &std::ffi::OsString, bytes: &Bytes| match () {
        () if *bytes == law.new.bytes => Content::New,
        () if law.old.as_ref().is_some_and(|old| *bytes == old.bytes) => Content::Old,
        () if bytes.is_empty() => Content::Empty,
        () if name == law.name.as_str() || name == law.marker_name().as_str() => {
            Content::Small(Bytes::clone(bytes))
        }
        () => Content::Part,
    };
    image.files().map(|(name, bytes)| (name.clone(), content(name, bytes))).collect()
}

/// Cuts the power at every moment of a save, and then saves again over what is left.
fn try_scenario(scenario: &Scenario, random: usize, stage: &mut Stage, tally: &mut Tally) {
    let saved = scenario.run();
    let what = || format!("{scenario:?}");
    let during = aftermath(&saved, &cuts(&saved), random);
    let left = judge(&saved, &during, false, stage, &what);
    tally.scenarios += 1;
    tally.cuts += during.cuts;
    tally.cases += during.cases;
    tally.images += during.images.len();
    if scenario.manner.durable {
        let after = aftermath(&saved, &[Cut::After(saved.journal.calls.len())], random);
        judge(&saved, &after, true, stage, &what);
    }
    for image in left {
        save_again(scenario, &saved.law, image, stage, tally);
    }
}

/// Saves over what a crash left: what is left over is removed, and the power may go once more.
fn save_again(scenario: &Scenario, law: &Law, start: Image, stage: &mut Stage, tally: &mut Tally) {
    let from = start.names();
    let again = scenario.run_again(law, start);
    let what = || format!("{scenario:?}, again, over {from:?}");
    let last = judge_twice(&again, stage, &what);
    tally.second_saves += 1;
    tally.cuts += last.cuts;
    tally.cases += last.cases;
    tally.images += last.images.len();
}

fn judge_twice(again: &Saved, stage: &mut Stage, what: &dyn Fn() -> String) -> Aftermath {
    let during = aftermath(again, &cuts(again), 2);
    judge(again, &during, false, stage, what);
    let after = aftermath(again, &[Cut::After(again.journal.calls.len())], 2);
    judge(again, &after, true, stage, what);
    during
}

fn try_format(format: Format) {
    let (mut stage, mut tally) = (Stage::new(), Tally::default());
    for scenario in all(format) {
        try_scenario(&scenario, 60, &mut stage, &mut tally);
    }
    println!("{format:?}: {tally:?}");
}

#[test]
fn safetensors_survives_every_cut() {
    try_format(Format::Safetensors);
}

#[test]
fn torch_survives_every_cut() {
    try_format(Format::Torch);
}

#[test]
fn flat_torch_survives_every_cut() {
    try_format(Format::TorchFlat);
}

#[test]
fn files_of_several_windows_survive_every_cut() {
    let (mut stage, mut tally) = (Stage::new(), Tally::default());
    for format in [Format::Safetensors, Format::Torch] {
        let manner = Manner { marker: true, ..Manner::new(format) };
        let scenario = Scenario { old: Old::Marked, manner, size: Size::Large, way: Way::Direct(4096) };
        try_scenario(&scenario, 4, &mut stage, &mut tally);
    }
    println!("several windows: {tally:?}");
}

#[test]
fn files_that_several_threads_write_survive_every_cut() {
    let (mut stage, mut tally) = (Stage::new(), Tally::default());
    let manner = Manner { marker: true, threads: 4, ..Manner::new(Format::Safetensors) };
    let scenario = Scenario { old: Old::Marked, manner, size: Size::Large, way: Way::Direct(4096) };
    try_scenario(&scenario, 4, &mut stage, &mut tally);
    println!("several threads: {tally:?}");
}

/// Without durability a loss of power may leave anything, but the end of the process must not.
#[test]
fn a_save_that_is_not_durable_survives_the_end_of_the_process() {
    let mut stage = Stage::new();
    let mut moments = 0;
    for format in [Format::Safetensors, Format::Torch] {
        for mut scenario in all(format) {
            scenario.manner.durable = false;
            let saved = scenario.run();
            let end = Cut::After(saved.journal.calls.len());
            for cut in cuts(&saved).into_iter().chain([end]) {
                let image = PowerLoss::at(&saved.journal, cut).live();
                let returned = cut == end;
                let judged = saved.law.judge(&image, returned, &mut stage);
                judged.unwrap_or_else(|problem| panic!("{scenario:?}, {cut:?}: {problem}"));
                moments += 1;
            }
        }
    }
    println!("not durable: killed at {moments} moments");
}

/// A law that no image can break would prove nothing.
#[test]
fn the_law_can_be_broken() {
    let manner = Manner { marker: true, ..Manner::new(Format::Safetensors) };
    let scenario = Scenario { old: Old::Marked, manner, size: Size::Small, way: Way::Buffered };
    let saved = scenario.run();
    let mut stage = Stage::new();
    let mut judge = |image: Image, returned: bool| saved.law.judge(&image, returned, &mut stage);
    let Whole { bytes: old, .. } = saved.law.old.clone().unwrap();
    let Whole { bytes: new, .. } = saved.law.new.clone();
    let start = &saved.journal.start;
    let done = saved.law.marker_name();
    let end = PowerLoss::at(&saved.journal, Cut::After(saved.journal.calls.len())).live();
    judge(start.clone(), false).unwrap();
    judge(end.clone(), true).unwrap();

    let name = saved.law.name.as_str();
    let broken = [
        (start.clone(), true, "isn't there"),
        (start.clone().with(name, Bytes::clone(&new)), false, "the marker says"),
        (end.clone().with(name, Bytes::clone(&old)), false, "the marker says"),
        (start.clone().with(name, new[..100].to_vec()), false, "neither"),
        (Image::default(), false, "gone"),
        (Image::default().with(name, Bytes::clone(&old)), false, "marker is gone"),
        (end.clone().with(done.as_str(), Vec::new()), false, "says nothing"),
        (start.clone().with(done.as_str(), Vec::new()), false, "says nothing"),
        (start.clone().with(format!("other-{name}"), Bytes::clone(&old)), false, "counted"),
    ];
    for (image, returned, problem) in broken {
        let found = judge(image, returned).unwrap_err();
        assert!(found.contains(problem), "{found}, and not {problem}");
    }
}

/// Each sync of a save is needed, and the cuts show it.
#[test]
fn a_save_that_leaves_out_a_sync_breaks_the_law() {
    let mut stage = Stage::new();
    for format in [Format::Safetensors, Format::Torch] {
        let manner = Manner { marker: true, ..Manner::new(format) };
        let scenario = Scenario { old: Old::Marked, manner, size: Size::Small, way: Way::Buffered };
        let whole = scenario.run();
        let is_sync = |call: &Call| matches!(call.effect, Effect::Synced(_) | Effect::SyncedDirectory(_));
        let calls = whole.journal.calls.iter().enumerate();
        let syncs: Vec<usize> = calls.filter(|(_, call)| is_sync(call)).map(|(number, _)| number).collect();
        assert!(syncs.len() >= 6, "the file and two markers, each with its directory: {syncs:?}");
        for sync in syncs {
            let mut without = whole.clone();
            without.journal.calls[sync].effect = Effect::None;
            assert!(breaks_the_law(&without, &mut stage), "{format:?}: nothing is lost without call {sync}");
        }
    }
}

/// Returns whether a loss of power leaves what must not be.
fn breaks_the_law(saved: &Saved, stage: &mut Stage) -> bool {
    let mut is_broken = |cuts: &[Cut], returned: bool| {
        let aftermath = aftermath(saved, cuts, 20);
        aftermath.images.iter().any(|(key, cut)| {
            let image = PowerLoss::at(&saved.journal, *cut).image(key);
            saved.law.judge(&image, returned, stage).is_err()
        })
    };
    is_broken(&cuts(saved), false) || is_broken(&[Cut::After(saved.journal.calls.len())], true)
}
