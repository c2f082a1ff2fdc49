//! What an output says of how it was made, and whether it still is what a merge would make.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::identity::Identity;
use super::join::Join;
use super::{MergeOptions, Pair, Unmatched};
use crate::Dtype;
use crate::features::table::{Table, TableOptions};
use crate::io::{FileSource, ReadAt as _};
use crate::record::{Integrity, MergeOutcome, Merged};
use crate::save::metadata_of;
use crate::validate::{VerifyOptions, proof_of, verify};

/// The key of the note in the output's metadata.
pub(super) const KEY: &str = "merged-from";
/// The form of the note. One of another form is none.
const VERSION: u64 = 1;

/// What the metadata of an output says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    version: u64,
    a: Input,
    b: Input,
    rows: u64,
    dtype: Dtype,
    /// What was named: another key may make another output of the same inputs.
    keys: Keys,
}

/// One of the inputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Input {
    #[serde(flatten)]
    identity: Identity,
    width: u64,
    /// The ids that only this one has.
    unmatched: Vec<String>,
    /// The ids that this one has more than once.
    duplicates: Vec<String>,
}

/// The keys that were named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Keys {
    ids: Vec<String>,
    data: Vec<String>,
    values: Vec<String>,
}

impl Keys {
    fn of(options: &TableOptions) -> Self {
        Self {
            ids: options.ids_keys.clone(),
            data: options.data_keys.clone(),
            values: options.value_keys.clone(),
        }
    }
}

impl Note {
    /// Notes how an output is made.
    pub(super) fn new(
        (a, b): (&Table, &Table),
        (identity_a, identity_b): (Identity, Identity),
        join: &Join,
        dtype: Dtype,
        options: &TableOptions,
    ) -> Self {
        let input = |table: &Table, identity, unmatched: &[String], duplicates: &[String]| Input {
            identity,
            width: table.width(),
            unmatched: unmatched.to_vec(),
            duplicates: duplicates.to_vec(),
        };
        Self {
            version: VERSION,
            a: input(a, identity_a, &join.only_in_a, &join.duplicates_in_a),
            b: input(b, identity_b, &join.only_in_b, &join.duplicates_in_b),
            rows: join.rows.len() as u64,
            dtype,
            keys: Keys::of(options),
        }
    }

    /// Returns what is said of the pair; outcome, size, proof and time are the caller's to add.
    pub(super) fn merged(self, pair: &Pair, outcome: MergeOutcome) -> Merged {
        let Self { a, b, rows, dtype, .. } = self;
        Merged {
            a: pair.a.clone(),
            b: pair.b.clone(),
            path: pair.out.clone(),
            outcome,
            rows,
            width: a.width.saturating_add(b.width),
            width_a: a.width,
            width_b: b.width,
            dtype,
            only_in_a: a.unmatched,
            only_in_b: b.unmatched,
            duplicates_in_a: a.duplicates,
            duplicates_in_b: b.duplicates,
            bytes: 0,
            proof: String::new(),
            elapsed_ms: 0,
        }
    }
}

/// Returns what is said of a pair whose output is there: finished, made from these inputs as they are now, as these options
/// would make it, and good. `None` for any other; it is to be made anew.
pub(super) fn finished(pair: &Pair, options: &MergeOptions) -> Option<Merged> {
    let source = FileSource::open(&pair.out).ok()?;
    let proven = proof_of(&source)?;
    let note: Note = serde_json::from_str(metadata_of(&source).ok()?.get(KEY)?).ok()?;
    let is_as_asked = note.version == VERSION
        && note.keys == Keys::of(&options.table)
        && (options.unmatched == Unmatched::Report || is_matched(&note));
    let is_of = |path: &Path, input: &Input| Identity::read(path).as_ref() == Some(&input.identity);
    if !is_as_asked || !is_of(&pair.a, &note.a) || !is_of(&pair.b, &note.b) {
        return None;
    }
    let mut check = VerifyOptions::default().with_level(options.level);
    check.require_marker = options.marker;
    let report = verify(&pair.out, &check);
    let is_good =
        report.is_valid() && (options.level < crate::Level::Load || report.integrity == Integrity::Full);
    // What was verified is the file that was looked at.
    let is_same = is_good && !source.changed().unwrap_or(true);
    is_same.then(|| Merged {
        bytes: source.len(),
        proof: proven.proof.id(),
        ..note.merged(pair, MergeOutcome::Skipped)
    })
}

fn is_matched(note: &Note) -> bool {
    note.a.unmatched.is_empty() && note.b.unmatched.is_empty()
}
