//! `ckpt list`, `latest`, `prune`, `pin`: the commands about a run.

use std::fs;

use ckpt::io::commit::Durability;
use ckpt::manager::{CommitOptions, Run as Managed, SaveRequest, commit};
use ckpt::record::{CheckpointId, Decision, PruneAction, Surveyed};
use ckpt::tensor::TensorView;
use ckpt::{Dtype, SaveOptions, State};

use super::strict::is_described;
use super::{Place, Run};

/// Saves these checkpoints in `runs/a`, oldest first, each with the loss that its step divided by 1000 is.
fn saved(names: &[&str]) -> Place {
    let place = Place::with(&[]);
    save(&place, names, CommitOptions::default());
    place
}

fn save(place: &Place, names: &[&str], options: CommitOptions) {
    let run = Managed::open(&place.at("runs/a")).unwrap();
    let lock = run.lock().unwrap();
    let options = options.clone().with_save(options.save.with_durability(Durability::None));
    for name in names {
        let id: CheckpointId = name.parse().unwrap();
        let mut state = State::new();
        state.insert("step", i64::try_from(id.step).unwrap()).unwrap();
        state.insert("w", TensorView::new(Dtype::U8, [1000], vec![7; 1000]).unwrap()).unwrap();
        let loss = f64::from(u32::try_from(id.step).unwrap()) / 1000.0;
        let request = SaveRequest::at(id.step).with_metric("loss", loss);
        commit(&run, id, None, &request, &state, &options).unwrap();
    }
    drop(lock);
}

/// Flips a bit of a checkpoint's tensor.
fn damage(place: &Place, name: &str) {
    let path = place.at(format!("runs/a/main/{name}/state.safetensors"));
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() - 10;
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// What is shown, with the place of the test and the version left out.
fn shown(place: &Place, run: &Run) -> String {
    let root = fs::canonicalize(place.at("")).unwrap();
    run.shown().replace(&format!("{}/", root.to_str().unwrap()), "")
}

fn names(place: &Place) -> Vec<String> {
    let run = Managed::open(&place.at("runs/a")).unwrap();
    run.ids().unwrap().iter().map(ToString::to_string).collect()
}

const THREE: [&str; 3] = ["step-0000001000", "step-0000001500", "step-0000002000"];

#[test]
fn a_list_says_what_is_known_of_each() {
    let place = saved(&THREE);
    save(&place, &["step-0000001200-g1"], CommitOptions::default().with_save(unverified()));
    damage(&place, THREE[1]);
    fs::remove_file(place.at("runs/a/main/step-0000002000/manifest.json")).unwrap();
    place.write("runs/a/main/.ckpt-00112233445566aa.tmp/state.safetensors", b"half");
    assert_eq!(place.run(&["pin", "runs/a", THREE[0], "table 2"]).code, Some(0));
    insta::assert_snapshot!(shown(&place, &place.run(&["list", "runs/a"])), @"
    exit 0
    --- stdout
    CHECKPOINT              AGE        SIZE  STANDING    METRICS   PINNED
    step-0000001000       <1min     4.9 KiB  good        loss=1    table 2
    step-0000001500       <1min     4.9 KiB  good        loss=1.5
    step-0000002000           ?         0 B  bad
        corrupted: artifact-missing: it has no manifest, so it isn't whole: a part of it was removed, or only a part was copied, file manifest.json
        hint: copy or download the missing file again, or resume from an earlier checkpoint
    step-0000001200-g1    <1min     4.9 KiB  unverified  loss=1.2
    in-flight: runs/a/main/.ckpt-00112233445566aa.tmp (being saved, or left by a killed process: the next save removes it)

    4 checkpoints, 14.9 KiB: 2 good, 1 unverified, 1 bad, 1 in-flight
    --- stderr
    ");
    let run = place.run(&["list", "runs/a", "--level", "load"]);
    assert!(run.stdout.ends_with(": 2 good, 2 bad, 1 in-flight\n"), "{run:?}");
}

/// Saving without reading back: nobody knows whether it is good.
fn unverified() -> SaveOptions {
    SaveOptions::default().without_validation()
}

#[test]
fn the_latest_is_the_newest_that_passes() {
    let place = saved(&THREE);
    let latest = |args: &[&str]| place.run(&[&["latest", "runs/a"], args].concat());
    let path = |name: &str| {
        let root = fs::canonicalize(place.at("runs/a/main")).unwrap();
        format!("{}\n", root.join(name).display())
    };
    let run = latest(&[]);
    assert_eq!((run.code, run.stdout, run.stderr), (Some(0), path(THREE[2]), String::new()));
    damage(&place, THREE[2]);
    insta::assert_snapshot!(shown(&place, &latest(&[])), @"
    exit 0
    --- stdout
    runs/a/main/step-0000001500
    --- stderr
    skipped: step-0000002000: corrupted: checksum-mismatch: within these 1000 bytes, at least one isn't what was saved, tensor w, offset 4096
    ");
    let run = latest(&["--quiet"]);
    assert_eq!((run.code, run.stdout, run.stderr), (Some(0), path(THREE[1]), String::new()));
    // Never finished: its manifest is missing.
    fs::remove_file(place.at("runs/a/main/step-0000001500/manifest.json")).unwrap();
    assert_eq!(latest(&["--level", "size", "--quiet"]).stdout, path(THREE[2]));
    assert_eq!(latest(&["--quiet"]).stdout, path(THREE[0]));
    damage(&place, THREE[0]);
    let run = latest(&[]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    assert!(run.stderr.contains("none of them can be used") && run.stderr.contains("hint"), "{}", run.stderr);
}

#[test]
fn what_is_sound_and_of_no_use_is_passed_over_only_by_force() {
    let place = saved(&THREE);
    let later = br#"{"layout":2,"id":"step-0000002000"}"#;
    place.write("runs/a/main/step-0000002000/manifest.json", later);
    insta::assert_snapshot!(shown(&place, &place.run(&["latest", "runs/a"])), @"
    exit 1
    --- stdout
    --- stderr
    error: runs/a/main/step-0000002000: incompatible: the manifest has layout 2, and this version of ckpt knows 1: upgrade ckpt to read it (level size, file manifest.json); the next good one is step-0000001500: a forced resume goes on from there
    hint: make it usable here, or go on to an older one with --force
    ");
    let run = place.run(&["latest", "runs/a", "--force", "-q"]);
    assert!(run.code == Some(0) && run.stdout.ends_with("step-0000001500\n"), "{run:?}");
    let run = place.run(&["list", "runs/a"]);
    assert!(run.stdout.contains("2 good, 1 unverified"), "{run:?}");
    let run = place.run(&["prune", "runs/a", "--keep-last", "1", "--remove-damaged", "--apply"]);
    assert_eq!((run.code, names(&place)), (Some(0), [THREE[1], THREE[2]].map(str::to_owned).to_vec()));
}

#[test]
fn where_there_is_none_is_three() {
    let place = Place::with(&["empty/", "a.pt"]);
    Managed::open(&place.at("new")).unwrap().lock().unwrap();
    for directory in ["gone", "empty"] {
        let one = "step-0000000001";
        for command in
            [&["list", directory][..], &["latest", directory], &["prune", directory, "--keep-last", "1"]]
        {
            let run = place.run(command);
            assert!(run.code == Some(3) && run.stdout.is_empty() && run.stderr.contains("hint"), "{run:?}");
        }
        assert_eq!(place.run(&["pin", directory, one]).code, Some(3));
        assert_eq!(place.run(&["unpin", directory, one]).code, Some(3));
    }
    assert_eq!(place.run(&["latest", "new"]).code, Some(3));
    assert_eq!(place.run(&["list", "new"]).code, Some(0));
    assert!(fs::read_dir(place.at("empty")).unwrap().next().is_none(), "looking makes nothing");
}

#[test]
fn a_plan_is_shown_first_and_then_done() {
    let names_of =
        ["step-0000001000", "step-0000001100", "step-0000001200", "step-0000001300", "step-0000001250-g1"];
    let place = saved(&names_of);
    damage(&place, names_of[1]);
    place.run(&["pin", "runs/a", names_of[2]]);
    let args = ["prune", "runs/a", "--keep-every", "1000", "--keep-best", "loss:min:2", "--keep-last", "1"];
    let level = ["--level", "load", "--remove-damaged"];
    insta::assert_snapshot!(shown(&place, &place.run(&[&args[..], &level].concat())), @"
    exit 0
    --- stdout
    keep    step-0000001000        4.9 KiB  good        the first from step 1000 on, of every 1000 steps; number 1 of the best 2 by loss, min: 1
    remove  step-0000001100        4.9 KiB  bad         damaged, and a newer one is good
    keep    step-0000001200        4.9 KiB  good        number 2 of the best 2 by loss, min: 1.2; pinned
    remove  step-0000001300        4.9 KiB  good        no rule keeps it
    keep    step-0000001250-g1     4.9 KiB  good        number 1 of the last 1; the first from step 1000 on, of every 1000 steps; the newest that is known to be good

    would remove 2 checkpoints of 5, 9.9 KiB: --apply does it
    --- stderr
    ");
    assert_eq!(names(&place), names_of);
    insta::assert_snapshot!(shown(&place, &place.run(&[&args[..], &level, &["--apply"]].concat())), @"
    exit 0
    --- stdout
    keep    step-0000001000        4.9 KiB  good        the first from step 1000 on, of every 1000 steps; number 1 of the best 2 by loss, min: 1
    remove  step-0000001100        4.9 KiB  bad         damaged, and a newer one is good
    keep    step-0000001200        4.9 KiB  good        number 2 of the best 2 by loss, min: 1.2; pinned
    remove  step-0000001300        4.9 KiB  good        no rule keeps it
    keep    step-0000001250-g1     4.9 KiB  good        number 1 of the last 1; the first from step 1000 on, of every 1000 steps; the newest that is known to be good

    removed 2 checkpoints of 5, 9.9 KiB
    --- stderr
    ");
    assert_eq!(names(&place), [names_of[0], names_of[2], names_of[4]]);
    let again = place.run(&[&args[..], &level, &["--apply"]].concat());
    assert!(again.stdout.ends_with("\nnothing to remove of 3 checkpoints\n"), "{again:?}");
    assert_eq!(place.run(&["unpin", "runs/a", names_of[2]]).stderr, "");
    assert_eq!(place.run(&["unpin", "runs/a", names_of[2]]).stderr, "note: step-0000001200 wasn't pinned\n");
    assert_eq!(place.run(&[&args[..], &["--apply"]].concat()).code, Some(0));
    assert_eq!(names(&place), [names_of[0], names_of[2], names_of[4]], "it is one of the best two");
}

#[test]
fn a_mistake_removes_nothing() {
    let place = saved(&THREE);
    for wrong in [
        &[][..],
        &["--remove-damaged"],
        &["--keep-last", "0"],
        &["--keep-every", "0"],
        &["--keep-within", "0s"],
        &["--keep-best", "loss"],
        &["--keep-best", "los:min:1"],
        &["--keep-last", "1", "--keep-best", "los:min:1"],
    ] {
        let run = place.run(&[&["prune", "runs/a", "--apply"], wrong].concat());
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{run:?}");
    }
    assert_eq!(names(&place), THREE);
    let run = place.run(&["prune", "runs/a", "--keep-last", "1", "--keep-best", "los:min:1"]);
    assert!(run.code == Some(0) && run.stderr.contains("'los'"), "{run:?}");
}

#[test]
fn what_nobody_verified_neither_counts_nor_goes() {
    let place = saved(&THREE);
    let new = ["step-0000003000", "step-0000004000"];
    save(&place, &new, CommitOptions::default().with_save(unverified()));
    let run = place.run(&["prune", "runs/a", "--keep-last", "1", "--apply"]);
    assert!(run.code == Some(0) && run.stderr.contains("of 2 checkpoints nobody knows"), "{run:?}");
    assert_eq!(names(&place), [THREE[2], new[0], new[1]]);
    let run = place.run(&["prune", "runs/a", "--keep-last", "1", "--apply", "--level", "load"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    assert_eq!(names(&place), [new[1]]);
}

#[test]
fn who_saves_isnt_disturbed() {
    let place = saved(&THREE);
    let run = Managed::open(&place.at("runs/a")).unwrap();
    let lock = run.lock().unwrap();
    let prune = |args: &[&str]| place.run(&[&["prune", "runs/a", "--keep-last", "1"], args].concat());
    let refused = prune(&["--apply"]);
    let who = format!("process {}", std::process::id());
    assert!(refused.code == Some(2) && refused.stderr.contains(&who), "{refused:?}");
    assert_eq!(prune(&[]).code, Some(0));
    assert_eq!(place.run(&["list", "runs/a"]).code, Some(0));
    drop(lock);
    assert_eq!(prune(&["--apply"]).code, Some(0));
}

#[test]
fn the_json_is_what_the_page_says() {
    let place = saved(&THREE);
    damage(&place, THREE[0]);
    place.run(&["pin", "runs/a", THREE[1], "why"]);
    let run = place.run(&["list", "runs/a", "--json", "--level", "load"]);
    is_described(&run.stdout, "## The document of `ckpt list --json`");
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&document["schema"], &document["summary"]["bad"]), (&"ckpt.list/1".into(), &1.into()));
    let listed: Vec<Surveyed> = serde_json::from_value(document["checkpoints"].clone()).unwrap();
    assert_eq!(listed[1].pinned.as_deref(), Some("why"));
    assert_eq!(listed[0].finding.as_ref().unwrap().verdict, ckpt::Verdict::Corrupted);

    let rules =
        ["--keep-last", "1", "--keep-best", "loss:max", "--keep-every", "1000", "--keep-within", "1d"];
    for apply in [&["--json"][..], &["--json", "--apply"]] {
        let run = place.run(&[&["prune", "runs/a", "--keep-every", "6h"], &rules[..], apply].concat());
        is_described(&run.stdout, "## The document of `ckpt prune --json`");
        let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(document["schema"], "ckpt.prune/1");
        let decisions: Vec<Decision> = serde_json::from_value(document["checkpoints"].clone()).unwrap();
        assert!(decisions.iter().all(|decision| decision.action == PruneAction::Keep));
    }
}
