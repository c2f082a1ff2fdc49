//! One pair.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::identity::Identity;
use super::join::Join;
use super::joined::Joined;
use super::note::{self, Note};
use super::{MergeOptions, Pair, Unmatched};
use crate::features::table::Table;
use crate::io::commit::LocalDisk;
use crate::record::{Code, Finding, Level, MergeOutcome, Merged, quoted};
use crate::save::{Format, SaveOptions, save_checked};
use crate::tensor::{Data, State, TensorView, Value};
use crate::{Dtype, Error};

/// An error names so many ids.
const NAMED_IDS: usize = 5;

/// Joins two feature files by id, and saves the rows of both, one behind the other, in the order of the first.
///
/// The output is `{"ids": […], "data": tensor}`, as PyTorch or safetensors reads it: of each id that both have, the row of
/// `a` and then that of `b`. Ids that only one has are left out and reported, or refused, as
/// [`MergeOptions::unmatched`] says; where none is in both, the output has no ids and a tensor of no rows. An id that a file
/// has more than once keeps its first place and its last row, as in a `dict` of Python, and is reported.
///
/// An output that is there, verified, and made from these inputs as they are now is left as it is: its metadata says which they
/// were. Any other is replaced, in one step, once the new one is on the device, read back and verified.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let at = |name: &str| directory.path().join(name);
/// use ckpt::features::merge::{MergeOptions, merge};
/// use ckpt::record::MergeOutcome;
/// use ckpt::tensor::{TensorView, Value};
/// use ckpt::{Dtype, State, load, save};
///
/// let table = |ids: [&str; 2], rows: [u8; 2]| -> Result<State<'static>, ckpt::Error> {
///     let mut state = State::new();
///     state.insert("ids", Value::List(ids.map(Value::from).to_vec()))?;
///     state.insert("data", TensorView::new(Dtype::U8, [2, 1], rows.to_vec())?)?;
///     Ok(state)
/// };
/// save(&at("a.pt"), &table(["x", "y"], [1, 2])?, &Default::default())?;
/// save(&at("b.pt"), &table(["y", "z"], [3, 4])?, &Default::default())?;
///
/// let merged = merge(&at("a.pt"), &at("b.pt"), &at("out.pt"), &MergeOptions::default())?;
/// assert_eq!((merged.rows, merged.width), (1, 2));
/// assert_eq!((merged.only_in_a, merged.only_in_b), (vec!["x".to_owned()], vec!["z".to_owned()]));
/// let state = load(&at("out.pt"), &Default::default())?;
/// assert_eq!(*state.tensor("data").unwrap().bytes()?, [2, 3]);
///
/// let again = merge(&at("a.pt"), &at("b.pt"), &at("out.pt"), &MergeOptions::default())?;
/// assert_eq!(again.outcome, MergeOutcome::Skipped);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// An input can't be read, is damaged, or is no feature file (see [`Table::open`]); the inputs differ in dtype; ids are in only
/// one of them, where that is refused; an input changed meanwhile; the output is one of the inputs; or it can't be written,
/// as with [`save`](crate::save::save()). What was at `out` is as it was.
pub fn merge(a: &Path, b: &Path, out: &Path, options: &MergeOptions) -> Result<Merged, Error> {
    merge_pair(&Pair::new(a, b, out), options)
}

/// As [`merge`].
pub(super) fn merge_pair(pair: &Pair, options: &MergeOptions) -> Result<Merged, Error> {
    let start = Instant::now();
    let elapsed_ms = || u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    options.format.map_or_else(|| Format::of(&pair.out), Ok)?;
    refuse_input(&pair.a, &pair.out)?;
    refuse_input(&pair.b, &pair.out)?;
    if !options.redo
        && let Some(merged) = note::finished(pair, options)
    {
        return Ok(Merged { elapsed_ms: elapsed_ms(), ..merged });
    }
    let (a, b) = open_both(pair, options)?;
    let merged = save_joined(pair, &a, &b, options)?;
    Ok(Merged { elapsed_ms: elapsed_ms(), ..merged })
}

/// Refuses to replace an input: the pair couldn't be merged again.
fn refuse_input(input: &Path, out: &Path) -> Result<(), Error> {
    match (input.canonicalize(), out.canonicalize()) {
        (Ok(one), Ok(other)) if one == other => {
            Err(Error::usage("it is an input of the merge: choose another name").at(out))
        }
        _ => Ok(()),
    }
}

/// Opens both inputs at once. Of two errors, the first one's is told.
fn open_both(pair: &Pair, options: &MergeOptions) -> Result<(Table, Table), Error> {
    let (a, b) = std::thread::scope(|scope| {
        let other = scope.spawn(|| Table::open(&pair.b, &options.table));
        let one = Table::open(&pair.a, &options.table);
        (one, other.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause)))
    });
    Ok((a?, b?))
}

/// Joins two tables, and saves the output.
fn save_joined(pair: &Pair, a: &Table, b: &Table, options: &MergeOptions) -> Result<Merged, Error> {
    let dtype = common_dtype(a, b)?;
    let join = Join::of(a, b);
    if options.unmatched == Unmatched::Refuse {
        refuse_unmatched(pair, &join)?;
    }
    let identities = (Identity::of_table(a)?, Identity::of_table(b)?);
    let note = Note::new((a, b), identities, &join, dtype, &options.table);
    let state = state(a, b, &join, dtype)?;
    let save = save_options(&note, options).map_err(|error| error.at(&pair.out))?;
    let is_unchanged = || a.check_unchanged().and_then(|()| b.check_unchanged());
    let saved = save_checked(&LocalDisk, &pair.out, &state, &save, &is_unchanged)?;
    Ok(Merged { bytes: saved.bytes, proof: saved.proof.id(), ..note.merged(pair, MergeOutcome::Merged) })
}

/// Returns the dtype of the output.
fn common_dtype(a: &Table, b: &Table) -> Result<Dtype, Error> {
    match (a.dtype(), b.dtype()) {
        (Some(one), Some(other)) if one != other => {
            let message = format!("its rows are {other}, and those of {} are {one}", a.path().display());
            Err(Error::found(b.path(), Finding::incompatible(Code::DtypeMismatch, Level::Keys, message)))
        }
        (one, other) => Ok(one.or(other).unwrap_or(Dtype::F32)),
    }
}

/// Refuses a pair of which an id is in only one file.
fn refuse_unmatched(pair: &Pair, join: &Join) -> Result<(), Error> {
    let surplus = |ids: &[String], of: &Path, other: &Path| {
        let named: Vec<String> = ids.iter().take(NAMED_IDS).map(|id| quoted(id)).collect();
        let more = if ids.len() > NAMED_IDS { ", …" } else { "" };
        let (count, named) = (ids.len(), named.join(", "));
        let message = format!("{count} of its ids aren't in {}: {named}{more}", other.display());
        Error::found(of, Finding::incompatible(Code::KeyUnexpected, Level::Keys, message))
    };
    match (join.only_in_a.as_slice(), join.only_in_b.as_slice()) {
        ([], []) => Ok(()),
        ([], only_in_b) => Err(surplus(only_in_b, &pair.b, &pair.a)),
        (only_in_a, _) => Err(surplus(only_in_a, &pair.a, &pair.b)),
    }
}

/// Makes the state of the output, whose rows are put together when they are read.
fn state<'t>(a: &'t Table, b: &'t Table, join: &'t Join, dtype: Dtype) -> Result<State<'t>, Error> {
    let too_large = || Error::usage("the output would be larger than any file");
    let ids = join.rows.iter().filter_map(|(place, _)| a.id(*place)).map(Value::from);
    let width = a.width().checked_add(b.width()).ok_or_else(too_large)?;
    let shape = [join.rows.len() as u64, width];
    let rows = Joined::new(a, b, &join.rows).ok_or_else(too_large)?;
    let mut state = State::new();
    state.insert("ids", Value::List(ids.collect()))?;
    state.insert("data", TensorView::new(dtype, shape, Data::new(Arc::new(rows)))?)?;
    Ok(state)
}

fn save_options(note: &Note, options: &MergeOptions) -> Result<SaveOptions, Error> {
    let note = serde_json::to_string(note)
        .map_err(|error| Error::usage(format!("what it was made of can't be written as JSON: {error}")))?;
    let mut save = SaveOptions::default().with_metadata(note::KEY, note).with_level(options.level);
    save.format = options.format;
    save.marker = options.marker;
    save.validate = options.validate;
    save.progress.clone_from(&options.progress);
    save.cancel = Some(options.cancel.clone());
    Ok(save)
}
