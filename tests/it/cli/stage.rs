//! `ckpt stage`: a script whose steps are done once.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use super::{Place, Run};

/// The script of the documentation, with small commands.
const SCRIPT: &str = r#"set -e
run() { "$CKPT" stage run "$1" --pipeline work/pipeline.json "${@:2}"; }
run extract --output work/rows.txt --temporary work/notes.txt -- sh steps.sh extract
run merge --input work/rows.txt --output work/sum.txt -- sh steps.sh merge
run predict --input work/sum.txt --output work/calls.txt -- sh steps.sh predict
"#;

/// What the commands do. Each says that it was run.
const STEPS: &str = r#"set -e
echo "$1" >> log
case "$1" in
  extract) echo 1 2 3 > work/rows.txt; echo n > work/notes.txt ;;
  merge) tr ' ' + < work/rows.txt > work/sum.txt ;;
  predict) sed s/+/-/ < work/sum.txt > work/calls.txt ;;
esac
if [ -e "stop-$1" ]; then echo "$1 waits"; read -r line; fi
"#;

fn place() -> Place {
    let place = Place::with(&["work/"]);
    place.write("script.sh", SCRIPT.as_bytes());
    place.write("steps.sh", STEPS.as_bytes());
    place
}

/// Makes a command that knows where to find others.
fn bash(place: &Place) -> Command {
    let mut command = Command::new("bash");
    command.env_clear().current_dir(&place.directory).arg("script.sh");
    command.env("CKPT", env!("CARGO_BIN_EXE_ckpt")).env("PATH", std::env::var_os("PATH").unwrap());
    command
}

fn script(place: &Place) -> Run {
    Run::of(&bash(place).output().unwrap())
}

/// Runs `ckpt stage`, with a path in which commands are found.
fn stage(place: &Place, args: &[&str]) -> Run {
    let mut command = place.command();
    command.env("PATH", std::env::var_os("PATH").unwrap()).arg("stage").args(args);
    Run::of(&command.output().unwrap())
}

const FILE: [&str; 2] = ["--pipeline", "work/pipeline.json"];

/// Runs a stage of one command.
fn run(place: &Place, name: &str, args: &[&str]) -> Run {
    stage(place, &[&["run", name], &FILE[..], args].concat())
}

fn with_file(place: &Place, command: &[&str]) -> Run {
    stage(place, &[command, &FILE[..]].concat())
}

/// What was really run.
fn log(place: &Place) -> String {
    let log = fs::read_to_string(place.at("log")).unwrap_or_default();
    drop(fs::remove_file(place.at("log")));
    log.replace('\n', " ")
}

/// What is shown, but for times, digests and the test's own place.
fn shown(place: &Place, run: &Run) -> String {
    let root = fs::canonicalize(place.at("")).unwrap();
    let text = run.shown().replace(&format!("{}/", root.to_str().unwrap()), "");
    let lines = text.lines().map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let time = words.iter().position(|word| matches!(*word, "ms" | "s")).filter(|at| *at > 0);
        match time {
            // The column of times is as wide as it is, whatever stands in it.
            Some(at) => {
                let before = words[..at - 1].join(" ");
                format!("{} T {}", before.trim_end(), words[at + 1..].join(" ").trim_start())
                    .trim_end()
                    .to_owned()
            }
            None => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_script_of_five_lines_goes_on_where_it_ended() {
    let place = place();
    insta::assert_snapshot!(shown(&place, &script(&place)), @"
    exit 0
    --- stdout
    --- stderr
    running: extract: it isn't done yet
    running: merge: it isn't done yet
    running: predict: it isn't done yet
    ");
    assert_eq!(log(&place), "extract merge predict ");
    insta::assert_snapshot!(shown(&place, &script(&place)), @"
    exit 0
    --- stdout
    --- stderr
    skipped: extract: it is complete, and its outputs are as it left them
    skipped: merge: it is complete, and its outputs are as it left them
    skipped: predict: it is complete, and its outputs are as it left them
    ");
    fs::remove_file(place.at("work/sum.txt")).unwrap();
    insta::assert_snapshot!(shown(&place, &script(&place)), @"
    exit 0
    --- stdout
    --- stderr
    skipped: extract: it is complete, and its outputs are as it left them
    running: merge: its output sum.txt isn't there any more
    running: predict: it isn't done yet
    ");
    assert_eq!(log(&place), "merge predict ");
    // Another place for the whole directory: what lies below the state file is found there.
    fs::rename(place.at("work"), place.at("moved")).unwrap();
    place.write("script.sh", SCRIPT.replace("work/", "moved/").replace("steps.sh", "other.sh").as_bytes());
    place.write("other.sh", STEPS.replace("work/", "moved/").as_bytes());
    assert!(script(&place).stderr.starts_with("running: extract: its command is another one"));
}

/// Reads what a process says until a line comes that has these words.
fn wait_for(child: &mut Child, words: &str) {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains(words)), "it never said: {words}");
}

#[cfg(unix)]
#[test]
fn a_script_that_is_killed_loses_the_step_in_flight_alone() {
    use std::os::unix::process::CommandExt as _;
    let place = place();
    place.write("stop-merge", b"");
    let mut child = bash(&place);
    child.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = child.spawn().unwrap();
    wait_for(&mut child, "merge waits");
    let group = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    child.wait().unwrap();
    assert_eq!(log(&place), "extract merge ");
    insta::assert_snapshot!(shown(&place, &with_file(&place, &["status"])), @"
    exit 0
    --- stdout
    pipeline: in_progress, 1 of 2 stages complete

    STAGE    STATUS               AGE         TOOK  OUTPUTS
    extract  completed          <1min T rows.txt (6 B), notes.txt (2 B)
    merge    in_progress        <1min
    --- stderr
    ");
    fs::remove_file(place.at("stop-merge")).unwrap();
    insta::assert_snapshot!(shown(&place, &script(&place)), @"
    exit 0
    --- stdout
    --- stderr
    skipped: extract: it is complete, and its outputs are as it left them
    running: merge: the process that was at it before came to no end
    running: predict: it isn't done yet
    ");
    assert_eq!(log(&place), "merge predict ");
    assert_eq!(fs::read_to_string(place.at("work/calls.txt")).unwrap(), "1-2+3\n");
}

/// Returns the stages that are complete, as the state has them.
#[cfg(unix)]
fn complete(place: &Place) -> Vec<String> {
    let status = with_file(place, &["status", "--json"]);
    if status.code == Some(3) {
        return Vec::new();
    }
    let state: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    state["stages_complete"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

#[cfg(unix)]
#[test]
fn a_script_that_is_killed_at_random_ends_as_if_it_had_not_been() {
    use std::os::unix::process::CommandExt as _;
    const KILLS: usize = 40;
    let outputs = |place: &Place| {
        ["rows", "sum", "calls"].map(|name| fs::read(place.at(format!("work/{name}.txt"))).unwrap())
    };
    let times = |place: &Place, stage: &str| {
        let log = fs::read_to_string(place.at("log")).unwrap_or_default();
        log.lines().filter(|line| *line == stage).count()
    };
    let whole = place();
    assert_eq!(script(&whole).code, Some(0));
    let (mut there, mut random, mut kills, mut refused, mut ends) = (place(), 7_u64, 0, 0, 0);
    while kills < KILLS {
        let done: Vec<_> = complete(&there).into_iter().map(|stage| (times(&there, &stage), stage)).collect();
        let mut child = bash(&there);
        child.process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = child.spawn().unwrap();
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(std::time::Duration::from_micros((random >> 33) % 150_000));
        let group = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        let status = child.wait().unwrap();
        kills += usize::from(status.code().is_none());
        // One that was killed just now may still hold the lease.
        refused += usize::from(status.code().is_some_and(|code| code != 0));
        assert!(refused < 1000, "{status}");
        for (before, stage) in &done {
            assert_eq!(times(&there, stage), *before, "{stage} was complete, and run again");
        }
        if status.success() {
            assert_eq!(outputs(&there), outputs(&whole));
            (there, ends) = (place(), ends + 1);
        }
    }
    println!("{kills} kills, {ends} scripts came to their end");
    // What was killed last may take a moment to be gone.
    assert!((0..1000).any(|_| script(&there).code == Some(0)));
    assert_eq!(outputs(&there), outputs(&whole));
}

#[cfg(unix)]
#[test]
fn a_second_process_is_refused_also_while_an_orphan_is_at_work() {
    let place = place();
    place.write("stop-extract", b"");
    let mut child = place.command();
    child.env("PATH", std::env::var_os("PATH").unwrap());
    child.args(["stage", "run", "extract"]).args(FILE).args([
        "--output",
        "work/rows.txt",
        "--",
        "sh",
        "steps.sh",
        "extract",
    ]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&mut child, "extract waits");
    let refused = |id: u32| {
        let second = run(&place, "extract", &["--", "true"]);
        let holder = format!("another process is at work on this pipeline: process {id} on ");
        assert!(second.code == Some(2) && second.stderr.contains(&holder), "{second:?}");
        assert!(second.stderr.contains("ckpt stage run extract; wait for its end"), "{second:?}");
    };
    refused(child.id());
    // The process is killed, and its command isn't: that still writes.
    let stdin = child.stdin.take();
    child.kill().unwrap();
    child.wait().unwrap();
    refused(child.id());
    drop(stdin);
    // It ends when its input does.
    let free = |_| {
        run(&place, "extract", &["--output", "work/rows.txt", "--", "sh", "steps.sh", "merge"]).code
            != Some(2)
    };
    assert!((0..1000).any(free), "the lease of a dead process is never free");
}

#[cfg(unix)]
#[test]
fn a_signal_goes_to_the_command_and_the_stage_has_failed() {
    use rustix::process::{Pid, Signal, kill_process};
    for (signal, number) in [(Signal::TERM, 15), (Signal::HUP, 1), (Signal::INT, 2)] {
        let place = place();
        place.write("stop-extract", b"");
        let mut child = place.command();
        child.env("PATH", std::env::var_os("PATH").unwrap());
        child.args(["stage", "run", "extract"]).args(FILE).args(["--", "sh", "steps.sh", "extract"]);
        let mut child =
            child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        wait_for(&mut child, "extract waits");
        kill_process(Pid::from_child(&child), signal).unwrap();
        let stdin = child.stdin.take();
        assert_eq!(child.wait().unwrap().code(), Some(128 + number));
        drop(stdin);
        let status = with_file(&place, &["status"]).stdout;
        assert!(
            status.contains(&format!("error: the command was ended by signal {number} (1 attempt)")),
            "{status}"
        );
    }
}

/// Starts a stage of a shell's words, behind others, which say `waits` when they wait for a line.
#[cfg(unix)]
fn start(place: &Place, before: &str, words: &str) -> Child {
    let mut shell = Command::new("sh");
    shell.env_clear().current_dir(&place.directory).env("PATH", std::env::var_os("PATH").unwrap());
    let ckpt = env!("CARGO_BIN_EXE_ckpt");
    let script =
        format!("{before} exec {ckpt} stage run extract --pipeline work/pipeline.json -- sh -c '{words}'");
    let mut child = shell.args(["-c", &script]);
    child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = child.spawn().unwrap();
    wait_for(&mut child, "waits");
    child
}

#[cfg(unix)]
#[test]
fn a_command_that_ends_well_because_it_was_asked_to_is_not_done() {
    use rustix::process::{Pid, Signal, kill_process};
    let place = place();
    let mut child = start(&place, "", r#"trap "exit 0" TERM; echo waits; while :; do sleep 0.02; done"#);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let status = with_file(&place, &["status"]).stdout;
    assert!(status.contains("error: the command ended because signal 15 asked it to"), "{status}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_that_is_ignored_stays_so() {
    use rustix::process::{Pid, Signal, kill_process};
    let place = place();
    let mut child = start(&place, r#"trap "" HUP;"#, "echo waits; read -r line; kill -HUP $$");
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_command_that_fails_passes_its_code_on() {
    let place = place();
    let failed = run(&place, "extract", &["--", "sh", "-c", "echo half > work/rows.txt; exit 7"]);
    insta::assert_snapshot!(shown(&place, &failed), @"
    exit 7
    --- stdout
    --- stderr
    running: extract: it isn't done yet
    failed: extract: the command ended with exit code 7
    ");
    let after = run(&place, "merge", &["--", "true"]);
    insta::assert_snapshot!(shown(&place, &after), @"
    exit 2
    --- stdout
    --- stderr
    error: work/pipeline.json: the stage 'merge' comes behind 'extract', which isn't done: do that first
    ");
    assert_eq!(run(&place, "extract", &["--", "./no-such-command"]).code, Some(127));
    assert_eq!(run(&place, "extract", &["--", "./steps.sh"]).code, Some(126));
    let missing = run(&place, "extract", &["--output", "work/rows.bin", "--", "true"]);
    insta::assert_snapshot!(shown(&place, &missing), @"
    exit 2
    --- stdout
    --- stderr
    running: extract: it has failed before
    error: work/rows.bin: the stage 'extract' was to leave it, and it isn't there
    ");
    let input = run(&place, "extract", &["--input", "no.txt", "--", "true"]);
    assert!(input.code == Some(2) && input.stderr.contains("no.txt: it isn't there"), "{input:?}");
    insta::assert_snapshot!(shown(&place, &with_file(&place, &["status"])), @"
    exit 0
    --- stdout
    pipeline: failed, 0 of 1 stage complete

    STAGE    STATUS               AGE         TOOK  OUTPUTS
    extract  failed             <1min T
        error: no.txt: it isn't there, and the stage 'extract' reads it (5 attempts)
    --- stderr
    ");
    let quiet = run(&place, "extract", &["-q", "--", "true"]);
    assert_eq!((quiet.code, quiet.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_pipeline_is_paused_until_a_stage_is_approved() {
    let place = place();
    let label = ["--output", "work/labels.txt", "--review", "--", "sh", "-c", "echo cat > work/labels.txt"];
    insta::assert_snapshot!(shown(&place, &run(&place, "label", &label)), @"
    exit 4
    --- stdout
    --- stderr
    running: label: it isn't done yet
    paused: label waits for its review
    hint: look at what it left, edit it where that is needed, and go on with `ckpt stage approve label --pipeline work/pipeline.json`
    ");
    let later = ["--input", "work/labels.txt", "--", "sh", "steps.sh", "train"];
    assert_eq!(run(&place, "train", &later).code, Some(4));
    assert_eq!(run(&place, "label", &label).code, Some(4));
    assert_eq!(log(&place), "");
    insta::assert_snapshot!(shown(&place, &with_file(&place, &["status"])), @"
    exit 0
    --- stdout
    pipeline: paused, 0 of 1 stage complete

    STAGE  STATUS               AGE         TOOK  OUTPUTS
    label  awaiting_review    <1min T labels.txt (4 B)
        it waits for its review: `ckpt stage approve` lets the pipeline go on
    --- stderr
    ");
    place.write("work/labels.txt", b"dog\n\n");
    let approved = with_file(&place, &["approve", "label", "--by", "ada", "--note", "a dog"]);
    assert_eq!((approved.code, approved.stdout.as_str()), (Some(0), ""));
    assert!(approved.stderr.starts_with("edited: labels.txt: its digest was crc64-nvme:"), "{approved:?}");
    assert_eq!(run(&place, "label", &label).code, Some(0));
    assert_eq!(run(&place, "train", &later).code, Some(0));
    assert_eq!(log(&place), "train ");
    let again = with_file(&place, &["approve", "label"]);
    assert!(again.code == Some(2) && again.stderr.contains("doesn't wait for a review"), "{again:?}");
    assert!(with_file(&place, &["status"]).stdout.contains("    edited: labels.txt\n"));
    // Done anew, it asks again.
    assert_eq!(with_file(&place, &["reset", "label"]).code, Some(0));
    assert_eq!(run(&place, "label", &label).code, Some(4));
}

#[test]
fn a_change_of_source_or_configuration_is_refused_or_forced() {
    let place = place();
    place.write("genes.fa", b"ACGT");
    place.write("run.json", b"{\"width\": 768, \"packing\": true}");
    let args = |more: &[&'static str]| {
        [&["--source", "genes.fa", "--config", "run.json"], more, &["--", "sh", "steps.sh", "extract"]]
            .concat()
    };
    assert_eq!(run(&place, "extract", &args(&[])).code, Some(0));
    place.write("run.json", b"{\"packing\": true,\"width\": 768}");
    assert!(run(&place, "extract", &args(&[])).stderr.starts_with("skipped"));
    place.write("genes.fa", b"ACGTA");
    place.write("run.json", b"{\"width\": 2560}");
    let refused = run(&place, "extract", &args(&[]));
    assert_eq!(refused.code, Some(2));
    for words in ["the source", "the configuration", "--force-restart", "--force-resume"] {
        assert!(refused.stderr.contains(words), "{refused:?}");
    }
    log(&place);
    let forced = run(&place, "extract", &args(&["--force-resume"]));
    assert!(forced.code == Some(0) && forced.stderr.contains("the pipeline goes on even so"), "{forced:?}");
    assert_eq!(log(&place), "");
    assert_eq!(run(&place, "extract", &args(&["--force-restart"])).code, Some(0));
    assert_eq!(log(&place), "extract ");
    assert_eq!(run(&place, "extract", &args(&["--force-restart", "--force-resume"])).code, Some(2));
    place.write("run.json", b"width = 768");
    let odd = run(&place, "extract", &args(&[]));
    assert!(odd.code == Some(2) && odd.stderr.contains("run.json: the configuration is no JSON"), "{odd:?}");
}

#[test]
fn what_is_not_needed_goes_when_that_is_asked_for() {
    let place = place();
    script(&place);
    insta::assert_snapshot!(shown(&place, &with_file(&place, &["cleanup"])), @"
    exit 0
    --- stdout
    keep           6 B  rows.txt  (extract): an output that is kept
    remove         2 B  notes.txt  (extract): all stages are done
    keep           6 B  sum.txt  (merge): an output that is kept
    keep           6 B  calls.txt  (predict): an output that is kept

    would remove 1 of 4 files, 2 B: --apply does it
    --- stderr
    ");
    assert!(place.at("work/notes.txt").exists());
    let run = with_file(&place, &["cleanup", "--apply", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&json["schema"], &json["summary"]["removed"]), (&"ckpt.cleanup/1".into(), &1.into()));
    let page = fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pipeline.md"))
        .unwrap();
    for field in json.as_object().unwrap().keys().chain(json["summary"].as_object().unwrap().keys()) {
        assert!(page.contains(&format!("`{field}`")), "docs/pipeline.md doesn't describe {field}");
    }
    assert!(!place.at("work/notes.txt").exists());
    log(&place);
    assert_eq!((script(&place).code, log(&place).as_str()), (Some(0), ""));
    assert!(with_file(&place, &["cleanup", "--apply"]).stdout.ends_with("\nnothing to remove of 3 files\n"));
}

#[test]
fn the_status_in_json_is_the_state() {
    let place = place();
    run(
        &place,
        "extract",
        &["--value", "rows=7", "--value", "who=ada", "--cost", "gpu_hours=0.5", "--", "true"],
    );
    let run = with_file(&place, &["status", "--json"]);
    let file: serde_json::Value =
        serde_json::from_slice(&fs::read(place.at("work/pipeline.json")).unwrap()).unwrap();
    let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(json, file);
    let stage = &json["stages"][0];
    assert_eq!((&stage["values"]["rows"], &stage["values"]["who"]), (&7.into(), &"ada".into()));
    assert_eq!((&stage["cost"]["gpu_hours"], &stage["command"]), (&0.5.into(), &serde_json::json!(["true"])));
}

#[test]
fn where_there_is_no_pipeline_is_three_and_a_state_of_no_use_is_one() {
    let place = place();
    for command in [&["status"][..], &["approve", "x"], &["reset", "x"], &["cleanup"]] {
        let run = with_file(&place, command);
        assert!(run.code == Some(3) && run.stderr.contains("hint"), "{run:?}");
    }
    assert!(fs::read_dir(place.at("work")).unwrap().next().is_none(), "looking makes nothing");
    place.write("work/pipeline.json", b"{\"schema\": \"ckpt.pipeline/9\"}");
    let newer = with_file(&place, &["status"]);
    assert!(newer.code == Some(1) && newer.stderr.contains("upgrade ckpt"), "{newer:?}");
    assert_eq!(run(&place, "x", &["--", "true"]).code, Some(2));
    assert_eq!(fs::read(place.at("work/pipeline.json")).unwrap(), b"{\"schema\": \"ckpt.pipeline/9\"}");
    place.write("work/pipeline.json", b"half");
    assert_eq!(with_file(&place, &["status"]).code, Some(1));
    let anew = run(&place, "x", &["--", "true"]);
    assert!(anew.code == Some(0) && anew.stderr.contains("note: the state is damaged"), "{anew:?}");
    assert!(anew.stderr.contains("work/pipeline.json.corrupt-"), "{anew:?}");
    for wrong in [
        &["run", "x"][..],
        &["run", "x", "--", "true"],
        &["status"],
        &["run", "x", "--pipeline", "p", "true"],
    ] {
        assert_eq!(stage(&place, wrong).code, Some(2), "{wrong:?}");
    }
    assert_eq!(run(&place, "x", &["--value", "novalue", "--", "true"]).code, Some(2));
}

#[test]
fn every_command_says_how_it_ends() {
    let place = place();
    for command in ["run", "status", "approve", "reset", "cleanup"] {
        let run = stage(&place, &[command, "--help"]);
        assert_eq!(run.code, Some(0), "{command}");
        for word in ["Exit codes:", "Example", "--pipeline"] {
            assert!(run.stdout.contains(word), "{command}: {word}");
        }
    }
    assert!(stage(&place, &["--help"]).stdout.contains("${@:2}"));
}
