use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::TableOptions;
use super::ids::Ids;
use super::keys::{self, Found};
use super::rows::Rows;
use crate::digest::Digest;
use crate::io::{FileSource, ReadAt as _};
use crate::record::{Code, Finding, Level, Proof};
use crate::save::{Access, LoadOptions, Loaded, load_checked, load_whole};
use crate::tensor::State;
use crate::{Dtype, Error};

/// A feature file: ids, each with a row of numbers.
///
/// What is what goes by the keys, unless [`TableOptions`] names them:
///
/// - the ids are under `ids`, `nucleotide` or `proteins`, or are the only list of texts. A safetensors file that another
///   program wrote has them in its metadata, under one of these keys: a JSON list of texts;
/// - the rows are under `data`, or the only value that can be rows: a tensor of two dimensions, a list of tensors of one,
///   a list of lists of floats, or a list of maps that have one of these under `mean_representation`, or as their only such
///   value.
///
/// Python's floats are float32 here, as `torch.tensor` makes them. Two values that could each be what is wanted are refused,
/// and the error says how to name one.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("output_1_ESM.pt");
/// use ckpt::features::table::{Table, TableOptions};
/// use ckpt::tensor::{TensorView, Value};
/// use ckpt::{Dtype, State, save};
///
/// let mut state = State::new();
/// state.insert("proteins", Value::List(vec!["x".into(), "y".into()]))?;
/// let rows: Vec<u8> = [1_f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
/// state.insert("data", TensorView::new(Dtype::F32, [2, 2], rows)?)?;
/// save(&path, &state, &Default::default())?;
///
/// let table = Table::open(&path, &TableOptions::default())?;
/// assert_eq!((table.len(), table.width(), table.id(1)), (2, 2, Some("y")));
/// let mut row = [0; 8];
/// table.read_row(1, &mut row)?;
/// assert_eq!(row, [0, 0, 64, 64, 0, 0, 128, 64]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Table {
    path: PathBuf,
    state: State<'static>,
    ids: Ids,
    rows: Rows,
    source: Arc<FileSource>,
    proof: Option<Proof>,
    records: Option<Digest>,
}

impl Table {
    /// Opens a feature file, and holds it against its checksums: while it is read into memory, or, where its rows stay in
    /// the file (see [`TableOptions::eager_bytes`]), before.
    ///
    /// # Errors
    ///
    /// The file can't be read, or is damaged: [`Error::finding`] says what and where. Or it is no feature file: ids or rows
    /// are missing, or ambiguous; there are more of the ones than of the others; or the rows differ in dtype or length.
    pub fn open(path: &Path, options: &TableOptions) -> Result<Self, Error> {
        let size = std::fs::metadata(path).map_err(|error| Error::io(path, "read it", error))?.len();
        let mut load = LoadOptions::default().with_access(Access::Eager).with_packed_floats();
        load.threads = options.threads.unwrap_or(load.threads);
        load.progress.clone_from(&options.progress);
        let stays = options.eager_bytes.is_none() && is_cached(path);
        let is_read = size <= options.most_in_memory() && !stays;
        let loaded = if is_read { load_whole(path, &load)? } else { load_checked(path, &load)? };
        Self::of(path, loaded, options)
    }

    fn of(path: &Path, loaded: Loaded, options: &TableOptions) -> Result<Self, Error> {
        let Loaded { state, source, metadata, proof, records, .. } = loaded;
        let tree = state.tree();
        if !tree.is_map() {
            let message = "the top level is no map, so that it has neither ids nor rows";
            return Err(Error::found(path, Finding::incompatible(Code::NotAMap, Level::Keys, message)));
        }
        let found = keys::ids(path, tree, &metadata, options)?;
        let ids = match found {
            Found::Value(key, id) => Ids::of(path, tree, key, id)?,
            Found::Metadata(key, json) => Ids::parse(path, key, json)?,
        };
        let rows = Rows::of(path, &state, keys::data(path, tree, found, options)?, options)?;
        if ids.len() != rows.len() {
            let message = format!("there are {} ids, and {} rows", ids.len(), rows.len());
            return Err(Error::found(path, Finding::incompatible(Code::ShapeMismatch, Level::Keys, message)));
        }
        Ok(Self { path: path.to_owned(), ids, rows, source, proof, records, state })
    }

    /// Returns where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns how many ids there are, each with its row; one that is there twice counts twice.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many elements a row has; 0 where there are no rows, and nothing says it.
    pub fn width(&self) -> u64 {
        self.rows.width
    }

    /// Returns the size of a row in bytes.
    pub fn row_bytes(&self) -> usize {
        self.rows.bytes
    }

    /// Returns the type of the elements; `None` where there are no rows, and nothing says it.
    pub fn dtype(&self) -> Option<Dtype> {
        self.rows.dtype
    }

    /// Returns the id at a place.
    pub fn id(&self, place: usize) -> Option<&str> {
        self.ids.get(self.state.tree(), place)
    }

    /// Returns all ids, in the order of the file.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|place| self.id(place))
    }

    /// Returns each id once, with the place of its last row, as a `dict` of Python would have it; and the ids that are there
    /// more than once, in the order of their first repetition.
    pub fn last_places(&self) -> (HashMap<&str, usize>, Vec<&str>) {
        let mut places = HashMap::with_capacity(self.len());
        let mut repeated = HashSet::new();
        let mut duplicates = Vec::new();
        for (place, id) in self.ids().enumerate() {
            if places.insert(id, place).is_some() && repeated.insert(id) {
                duplicates.push(id);
            }
        }
        (places, duplicates)
    }

    /// Fills `out` with a row: its elements, little-endian.
    ///
    /// # Errors
    ///
    /// There is no such row, `out` isn't as long as one, or the file can't be read any more.
    pub fn read_row(&self, place: usize, out: &mut [u8]) -> Result<(), Error> {
        if out.len() != self.rows.bytes {
            let message = format!("a row has {} bytes, and there is room for {}", self.rows.bytes, out.len());
            return Err(Error::usage(message).at(&self.path));
        }
        self.read_part(place, 0, out)
    }

    /// As [`Table::read_row`], from some byte on, as far as there is room.
    pub(in crate::features) fn read_part(
        &self,
        place: usize,
        from: usize,
        out: &mut [u8],
    ) -> Result<(), Error> {
        if place >= self.len() || from.checked_add(out.len()).is_none_or(|end| end > self.rows.bytes) {
            return Err(Error::usage(format!("there is no row {place} of that length")).at(&self.path));
        }
        self.rows.read(&self.state, place, from, out)
    }

    /// Returns the id of the proof that the file carries, where it carries one.
    pub fn proof(&self) -> Option<String> {
        self.proof.as_ref().map(Proof::id)
    }

    /// Returns a digest of the checksums of the archive's records, where the file is an archive and each has one.
    pub(in crate::features) fn records(&self) -> Option<Digest> {
        self.records
    }

    /// Returns the size of the file in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.source.len()
    }

    /// Returns the file, open since before it was read.
    pub(in crate::features) fn source(&self) -> &FileSource {
        &self.source
    }

    /// Refuses a file that was written to since it was opened: what was read may be a mixture.
    ///
    /// # Errors
    ///
    /// It changed, or can't be looked at.
    pub fn check_unchanged(&self) -> Result<(), Error> {
        if !self.source.changed().map_err(|error| Error::io(&self.path, "look at it", error))? {
            return Ok(());
        }
        let message = "the file changed while it was read";
        Err(Error::found(&self.path, Finding::unreadable(Code::ChangedWhileRead, Level::Load, message)))
    }
}

/// Returns whether a file is in memory already, if not in this process's.
fn is_cached(path: &Path) -> bool {
    FileSource::open(path).is_ok_and(|source| source.seems_cached())
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("path", &self.path)
            .field("ids", &self.len())
            .field("width", &self.width())
            .field("dtype", &self.dtype())
            .finish_non_exhaustive()
    }
}
