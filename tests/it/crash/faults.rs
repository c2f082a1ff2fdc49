//! Every call of a save fails once.

use std::collections::{BTreeMap, BTreeSet};

use super::disk::FakeDisk;
use super::fault::{Done, EDQUOT, EINTR, EIO, ENOSPC, Fault};
use super::image::Image;
use super::journal::{Call, Method};
use super::judge::Stage;
use super::power::{Cut, PowerLoss};
use super::saving::{Format, Size};
use super::scenario::{Saved, Scenario, all};
use super::survival::survivals;

/// What a save does without when it fails: what looks after leftovers, and what only makes a message clearer.
const MAY_GO_ON: [Method; 3] = [Method::List, Method::RemoveAbandoned, Method::FreeBytes];

/// How often a save went on after a call had failed, and how often it gave up.
#[derive(Debug, Default)]
struct Tally {
    gave_up: BTreeMap<Method, usize>,
    went_on: BTreeMap<Method, usize>,
    images: usize,
}

/// The faults of one call.
fn faults(call: usize, method: Method) -> Vec<Fault> {
    let mut faults: Vec<Fault> =
        [EIO, ENOSPC, EDQUOT, EINTR].map(|error| Fault { call, error, done: Done::Nothing }).into();
    let half = [Method::Write];
    let all = [Method::Write, Method::SetLen, Method::Rename, Method::Remove, Method::SyncDirectory];
    if half.contains(&method) {
        faults.push(Fault { call, error: ENOSPC, done: Done::Half });
    }
    if all.contains(&method) {
        faults.push(Fault { call, error: EIO, done: Done::All });
    }
    faults
}

/// Fails each call of a save.
fn try_scenario(scenario: &Scenario, stage: &mut Stage, tally: &mut Tally) {
    let fine = scenario.run();
    for (number, call) in fine.journal.calls.iter().enumerate() {
        for fault in faults(number, call.method) {
            try_fault(scenario, &fine, call, fault, stage, tally);
        }
    }
}

fn try_fault(
    scenario: &Scenario,
    fine: &Saved,
    call: &Call,
    fault: Fault,
    stage: &mut Stage,
    tally: &mut Tally,
) {
    let Call { method, name, .. } = call;
    let method = *method;
    let what = || format!("{scenario:?}, {method:?} {name:?}, {fault:?}");
    let disk = FakeDisk::new(fine.journal.start.clone(), scenario.way).failing(fault);
    let result = scenario.save(&disk);
    assert_eq!(disk.open_files(), 0, "{}: files are open", what());
    let live = disk.live();
    let returned = result.is_ok();
    let counts = if returned { &mut tally.went_on } else { &mut tally.gave_up };
    *counts.entry(method).or_default() += 1;
    if returned {
        // An old file that can't be read is described to readers of the marker by its size alone.
        let old_file = matches!(method, Method::Open | Method::ReadBack) && name == scenario.name();
        let lost_answer = fault.done == Done::All && matches!(method, Method::Rename | Method::Remove);
        // The first call looks for leftovers, which is no reason to fail.
        let looks_around = method == Method::Resolve && fault.call == 0;
        let may_go_on = MAY_GO_ON.contains(&method) || old_file || lost_answer || looks_around;
        assert!(may_go_on, "{}: no error", what());
    } else if !renamed_before(fine, fault) {
        assert_eq!(live.get(scenario.name()), fine.journal.start.get(scenario.name()), "{}", what());
    }
    assert_no_temporary(&live, fine, &what);
    let judged = fine.law.judge(&live, returned, stage);
    judged.unwrap_or_else(|problem| panic!("{}: {problem}, live: {:?}", what(), live.names()));
    tally.images += judge_power_loss(&disk, fine, returned, stage, &what);
}

/// Returns whether the file has its new name when the fault comes, or gets it by the call that fails.
fn renamed_before(fine: &Saved, fault: Fault) -> bool {
    let calls = fine.journal.calls.iter();
    let mut renames = calls
        .enumerate()
        .filter(|(_, call)| call.method == Method::Rename && call.name == fine.law.name.as_str());
    let (rename, _) = renames.next().expect("a save renames");
    fault.call > rename || (fault.call == rename && fault.done == Done::All)
}

fn assert_no_temporary(live: &Image, fine: &Saved, what: &dyn Fn() -> String) {
    let known = [fine.law.name.clone(), fine.law.marker_name()];
    let left: Vec<String> = live.names().into_iter().filter(|name| !known.contains(name)).collect();
    assert!(left.is_empty(), "{}: left {left:?}", what());
}

/// The power goes when the save has returned, whatever it returned.
fn judge_power_loss(
    disk: &FakeDisk,
    fine: &Saved,
    returned: bool,
    stage: &mut Stage,
    what: &dyn Fn() -> String,
) -> usize {
    let journal = disk.journal();
    let loss = PowerLoss::at(&journal, Cut::After(journal.calls.len()));
    let keys: BTreeSet<_> = survivals(&loss, 2, 3).iter().map(|survival| loss.key(survival)).collect();
    for key in &keys {
        let image = loss.image(key);
        let judged = fine.law.judge(&image, returned, stage);
        judged.unwrap_or_else(|problem| {
            panic!("{}: {problem}, after a loss of power: {:?}", what(), image.names())
        });
    }
    keys.len()
}

fn try_format(format: Format) {
    let (mut stage, mut tally) = (Stage::new(), Tally::default());
    for scenario in all(format) {
        try_scenario(&scenario, &mut stage, &mut tally);
    }
    let faults: usize = tally.gave_up.values().chain(tally.went_on.values()).sum();
    println!("{format:?}: {faults} faults, {} images after a loss of power", tally.images);
    println!("gave up: {:?}\nwent on: {:?}", tally.gave_up, tally.went_on);
    let must =
        [Method::Write, Method::Flush, Method::Sync, Method::Rename, Method::SyncDirectory, Method::Close];
    for method in must {
        assert!(tally.gave_up.contains_key(&method), "{method:?} was never called");
    }
}

#[test]
fn safetensors_survives_every_fault() {
    try_format(Format::Safetensors);
}

#[test]
fn torch_survives_every_fault() {
    try_format(Format::Torch);
}

/// A device that stores something else than it was given is found out before the old file is gone.
#[test]
fn a_flipped_bit_is_found_by_validation() {
    let (mut found, mut overwritten) = (0, 0);
    for format in [Format::Safetensors, Format::Torch, Format::TorchFlat] {
        for scenario in all(format).into_iter().filter(|scenario| scenario.manner.validate) {
            let fine = scenario.run();
            // The file's own writes come before any of the marker's: up to its first sync.
            let calls = fine.journal.calls.iter().enumerate();
            let own = calls.take_while(|(_, call)| call.method != Method::Sync);
            for (call, _) in own.filter(|(_, call)| call.method == Method::Write) {
                let fault = Fault { call, error: EIO, done: Done::Flipped };
                let disk = FakeDisk::new(fine.journal.start.clone(), scenario.way).failing(fault);
                if scenario.save(&disk).is_ok() {
                    // The place was written again: a block that holds the end of the head and the first data.
                    assert_eq!(disk.live().get(scenario.name()), Some(&fine.law.new.bytes), "{scenario:?}");
                    overwritten += 1;
                    continue;
                }
                assert_eq!(disk.live(), fine.journal.start, "{scenario:?}, {fault:?}");
                found += 1;
            }
        }
    }
    assert!(found > overwritten);
    println!("{found} flipped bits found, {overwritten} overwritten");
}

/// Room that is missing is said before anything is written, with numbers.
#[test]
fn a_full_disk_is_said_with_numbers() {
    let scenario =
        all(Format::Safetensors).into_iter().find(|scenario| scenario.size == Size::Small).unwrap();
    let (start, _) = scenario.start();
    let disk = FakeDisk::new(start.clone(), scenario.way).with_free(1234);
    let needed = scenario.run().law.new.bytes.len();
    let error = scenario.save(&disk).unwrap_err().to_string();
    assert!(error.contains(&needed.to_string()) && error.contains("1234"), "{error}");
    assert_eq!(disk.live(), start);
    assert_eq!(disk.open_files(), 0);
}
