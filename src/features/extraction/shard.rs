//! One shard: as a state to save, and read back.
//!
//! | key | content |
//! |---|---|
//! | `ids` | a list of texts |
//! | `data` | a tensor; its first dimension counts the rows, one to each id |
//! | `extraction` | a map: `id`, the extraction's name; `model`, the hash of the model's configuration; `rank`; `batch` |

use std::io;
use std::path::{Path, PathBuf};

use super::fill::{Filled, Form};
use super::layout::Place;
use crate::Error;
use crate::io::commit::{Disk, Durability, write_small};
use crate::io::{FileSource, ReadAt as _};
use crate::record::{Code, ExtractionRecord, Finding, Integrity, Level, Marker, Report, Verdict};
use crate::save::{Access, LoadOptions, load};
use crate::tensor::{Body, Data, Node, State, Tensor, TensorView, Value};
use crate::validate::{VerifyOptions, proof_of, verify};

/// The keys.
pub(super) const IDS: &str = "ids";
pub(super) const DATA: &str = "data";
const EXTRACTION: &str = "extraction";

/// How often a shard is read that can't be. Nobody writes to one: mostly another worker found it damaged, and it lost its
/// name while it was read.
const TRIES: usize = 3;

/// Makes the state that a shard is saved as.
pub(super) fn state(
    filled: Filled,
    record: &ExtractionRecord,
    place: &Place,
) -> Result<State<'static>, Error> {
    let Filled { ids, bytes, form } = filled;
    let shape = form.shape(ids.len() as u64);
    let about: Value<'_> = [
        ("id", Value::from(record.id.as_str())),
        ("model", record.model.hash.as_str().into()),
        ("rank", place.rank.into()),
        ("batch", place.batch.into()),
    ]
    .into_iter()
    .collect();
    let mut state = State::new();
    state.insert(IDS, Value::List(ids.into_iter().map(Value::from).collect()))?;
    state.insert(DATA, TensorView::new(form.dtype, shape, bytes)?)?;
    state.insert(EXTRACTION, about)?;
    Ok(state)
}

/// A shard that verifies.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) path: PathBuf,
    pub(super) ids: Vec<String>,
    pub(super) form: Form,
    pub(super) rows: Rows,
    /// The size of the file.
    pub(super) bytes: u64,
    /// The id of its proof.
    pub(super) proof: String,
    /// Whether it has a completion marker.
    is_marked: bool,
}

/// The rows of a shard, in its file, which is open.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    pub(super) data: Data<'static>,
    /// Where they begin in it.
    pub(super) start: u64,
}

/// What was found at the place of a shard.
#[derive(Debug)]
pub(super) enum Read {
    /// A shard that is as it was saved.
    Good(Box<Shard>),
    /// Nothing any more: another worker set it aside.
    Gone,
    /// Something that isn't as it was saved.
    Damaged(Finding),
}

impl Shard {
    /// Gives it a completion marker, if it has none.
    pub(super) fn mark(&self, disk: &dyn Disk) -> Result<(), Error> {
        if self.is_marked {
            return Ok(());
        }
        let mut path = self.path.clone().into_os_string();
        path.push(Marker::SUFFIX);
        let marker = Marker { bytes: self.bytes, proof: Some(self.proof.clone()), or: None };
        write_small(disk, Path::new(&path), marker.encode().as_bytes(), Durability::Full)
    }
}

/// Verifies a shard, all its bytes, and reads its ids. Its rows stay in the file.
///
/// # Errors
///
/// It can't be read, so that nobody knows what it is; or it proves itself, and is another extraction's or no shard: it
/// was put there.
pub(super) fn read(path: &Path, record: &ExtractionRecord) -> Result<Read, Error> {
    let mut report = verify(path, &VerifyOptions::default());
    for _ in 1..TRIES {
        if report.verdict != Verdict::Unreadable {
            break;
        }
        if is_gone(path) {
            return Ok(Read::Gone);
        }
        report = verify(path, &VerifyOptions::default());
    }
    match unusable(path, &report)? {
        Some(unusable) => Ok(unusable),
        None => take_up(path, record, &report),
    }
}

/// Returns whether nothing has the name any more.
fn is_gone(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Reads the ids of a shard whose bytes are as some writer left them.
fn take_up(path: &Path, record: &ExtractionRecord, report: &Report) -> Result<Read, Error> {
    let source = match FileSource::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Read::Gone),
        source => source.map_err(|error| Error::io(path, "read the shard", error))?,
    };
    let Some(proven) = proof_of(&source) else {
        let later = report.findings.iter().find(|finding| finding.code == Code::ProofUnknown);
        return match later {
            Some(finding) => Err(Error::found(path, finding.clone())),
            None => Ok(Read::Damaged(unproven())),
        };
    };
    let is_marked = report.findings.iter().any(|finding| finding.code == Code::Marked);
    let (bytes, proof) = (source.len(), proven.proof.id());
    drop(source);
    let opened = open(path)?;
    let id = opened.state.value("extraction.id").and_then(Node::as_str);
    if id != Some(record.id.as_str()) {
        let message = "it is whole, and a shard of another extraction, or none at all: move it elsewhere";
        return Err(Error::incompatible(message).at(path));
    }
    let Opened { ids, form, rows, .. } = opened;
    let shard = Shard { path: path.to_owned(), ids, form, rows, bytes, proof, is_marked };
    Ok(Read::Good(Box::new(shard)))
}

/// Says what a report makes of a shard that can't be used.
fn unusable(path: &Path, report: &Report) -> Result<Option<Read>, Error> {
    let finding = report.reason().cloned();
    Ok(Some(match (report.verdict, finding) {
        (Verdict::Valid, _) if report.integrity == Integrity::Full => return Ok(None),
        (_, Some(finding)) if finding.code == Code::Missing => Read::Gone,
        (Verdict::Unreadable, Some(finding)) => return Err(Error::found(path, finding)),
        (_, Some(finding)) => Read::Damaged(finding),
        (_, None) => Read::Damaged(unproven()),
    }))
}

/// The finding for a file that nothing vouches for: every shard carries a proof when it is saved.
fn unproven() -> Finding {
    let message = "it carries no proof, which every shard has when it is saved";
    Finding::corrupted(Code::ProofDamaged, Level::Container, message)
}

/// A shard whose rows stay in its file.
#[derive(Debug)]
struct Opened {
    state: State<'static>,
    ids: Vec<String>,
    form: Form,
    rows: Rows,
}

/// Opens the rows of a shard that was verified before.
pub(super) fn open_rows(path: &Path) -> Result<Rows, Error> {
    Ok(open(path)?.rows)
}

fn open(path: &Path) -> Result<Opened, Error> {
    let state = load(path, &LoadOptions::default().with_access(Access::Streamed))?;
    let no_shard = |what: &str| {
        Error::incompatible(format!("it is whole, and no shard: {what}; move it elsewhere")).at(path)
    };
    let ids = ids_of(&state).ok_or_else(|| no_shard("its ids are no list of texts"))?;
    let Some(Node::Tensor(tensor)) = state.value(DATA) else {
        return Err(no_shard("it has no tensor of rows"));
    };
    let (form, rows) = rows_of(&state, tensor, ids.len() as u64)
        .ok_or_else(|| no_shard("its tensor hasn't one row to each id, without gaps"))?;
    Ok(Opened { state, ids, form, rows })
}

/// Returns the ids of a state.
fn ids_of(state: &State<'_>) -> Option<Vec<String>> {
    let Some(Node::List(items)) = state.value(IDS) else { return None };
    items.iter().map(|id| state.tree().node(*id).as_str().map(str::to_owned)).collect()
}

/// Returns the rows of a tensor that has so many, in memory's order.
fn rows_of(state: &State<'static>, tensor: &Tensor, count: u64) -> Option<(Form, Rows)> {
    let Body::Strided { storage, .. } = &tensor.body else { return None };
    let (length, row) = tensor.shape.split_first()?;
    let (start, bytes) = (tensor.contiguous_start()?, tensor.len_bytes()?);
    let data = state.data(*storage)?.clone();
    let is_whole = *length == count && bytes.is_multiple_of(count.max(1));
    let is_inside = start.checked_add(bytes)? <= crate::tensor::Source::len(&data);
    let form = Form { dtype: tensor.dtype, row: row.to_vec(), row_bytes: bytes / count.max(1) };
    (is_whole && is_inside).then_some((form, Rows { data, start }))
}
