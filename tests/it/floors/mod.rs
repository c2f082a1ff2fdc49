//! Holds the source against `ARCHITECTURE.md`: floors, invariants, budgets.
//!
//! The source is parsed, so text in comments and strings doesn't count. Code under `cfg(test)` is
//! left out: tests may reach anywhere.

mod budgets;
mod imports;
mod invariants;
mod source;

use source::Source;

/// The rooms of each floor, lowest first. A room imports from lower floors and from itself.
const FLOORS: [&[&str]; 8] = [
    &["error", "dtype", "digest", "record"],
    &["tensor", "io"],
    &["format", "storage", "tch", "candle", "burn"],
    &["validate", "catalog"],
    &["save", "lineage"],
    &["manager"],
    &["pipeline", "features"],
    FACES,
];

/// The exceptions: who may import which neighbour on its own floor. Records are made of dtypes and digests,
/// an error can carry the record of what was found, and a writer takes the sources of a state's bytes.
const NEIGHBOURS: [(&str, &str); 4] =
    [("error", "record"), ("record", "dtype"), ("record", "digest"), ("io", "tensor")];

/// The top floor: only here is anything printed, an environment variable read, or clap known.
const FACES: &[&str] = &["cli", "serve"];

/// Something in the source that must not be.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    /// The file, relative to the package.
    file: String,
    /// The line, from 1.
    line: usize,
    what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// Returns the floor of a room, or none for a name that is no room.
fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// Fails with all violations, one per line.
#[track_caller]
fn assert_none(violations: &[Violation]) {
    let list: Vec<_> = violations.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "\n{}\n", list.join("\n"));
}

/// Returns what `check` says of a package made of the given files, without the places.
fn found(check: impl Fn(&Source) -> Vec<Violation>, files: &[(&str, &str)]) -> Vec<String> {
    check(&Source::parse(files)).into_iter().map(|violation| violation.what).collect()
}
