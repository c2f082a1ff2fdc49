//! The system's calls fail in a real process, by `strace`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::kill::{assert_whole, leftovers, on_disk};
use super::writer::{self, Progress, Writer};

/// The calls by which a save changes a disk, and whether it may do without.
const CALLS: [(&str, bool); 8] = [
    ("fsync", false),
    ("fdatasync", false),
    ("pwrite64", false),
    ("renameat2", false),
    ("renameat", false),
    ("rename", false),
    ("ftruncate", false),
    ("fallocate", true),
];

/// The errors.
const ERRORS: [&str; 3] = ["EIO", "ENOSPC", "EDQUOT"];

/// More calls of one kind are not failed one by one.
const MOST: usize = 12;

/// Saves one generation under `strace`; returns what came of it, and what `strace` noted.
fn trace(path: &Path, generation: u64, options: &[String]) -> Result<(Progress, String), String> {
    let directory = on_disk();
    let log = directory.path().join("log");
    let (program, arguments, variables) = Writer::command(path, generation, 1);
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(&log).args(options).arg(program).args(arguments).envs(variables);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let child = command.spawn().map_err(|error| format!("strace can't be run: {error}"))?;
    let progress = Writer::of(child).finish();
    Ok((progress, fs::read_to_string(&log).unwrap_or_default()))
}

/// Counts how often one save makes each call; says why it can't be traced.
fn count(path: &Path) -> Result<Vec<(&'static str, bool, usize)>, String> {
    writer::save(path, 1).unwrap();
    let calls = CALLS.map(|(call, _)| call).join(",");
    let (progress, log) = trace(path, 0, &[format!("--trace={calls}")])?;
    if progress.saved != Some(0) {
        return Err(format!("strace can't trace a process here: {progress:?}"));
    }
    let times = |call: &str| log.lines().filter(|line| line.contains(&format!("{call}("))).count();
    Ok(CALLS.map(|(call, may_go_on)| (call, may_go_on, times(call))).into())
}

/// Fails one call of a save, and looks at what it leaves. Returns whether a call was failed.
fn try_one(path: &Path, call: &str, error: &str, when: usize, may_go_on: bool) -> bool {
    let what = format!("{call} {when}, {error}");
    writer::save(path, 0).unwrap();
    let inject = format!("--inject={call}:error={error}:when={when}");
    let (progress, log) = trace(path, 1, &[format!("--trace={call}"), inject]).unwrap();
    if !log.contains("(INJECTED)") {
        assert_eq!(progress.saved, Some(1), "{what}: {progress:?}");
        return false;
    }
    let failed = progress.error.is_some();
    assert!(failed || may_go_on, "{what}: no error was returned");
    // A call that fails after the rename leaves the new file.
    let generation = assert_whole(path, [0, 1], &what);
    assert!(failed || generation == 1, "{what}: it says that it saved, and the old file is there");
    assert_eq!(leftovers(path.parent().unwrap()), [""; 0], "{what}");
    true
}

#[test]
fn a_failing_call_of_the_system_is_an_error_and_keeps_a_whole_file() {
    let directory = on_disk();
    let path = directory.path().join(writer::name());
    let calls = match count(&path) {
        Ok(calls) => calls,
        Err(reason) => return println!("left out: {reason}"),
    };
    println!("calls of one save: {calls:?}");
    let mut injected = 0;
    for (call, may_go_on, times) in calls {
        for when in 1..=times.min(MOST) {
            for error in ERRORS {
                injected += usize::from(try_one(&path, call, error, when, may_go_on));
            }
        }
    }
    println!("{injected} calls of the system failed");
    assert!(injected > 0);
}
