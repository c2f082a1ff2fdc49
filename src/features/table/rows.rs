//! Where the rows of a table lie.

use std::path::Path;

use super::TableOptions;
use super::ids::unfit;
use super::keys;
use super::narrow::{is_floats, narrow, narrow_items};
use crate::record::{Code, Finding, Level};
use crate::tensor::{Body, Node, NodeId, Source as _, State, StorageId, Tensor, TensorRef};
use crate::{Dtype, Error};

/// The rows of a table: all of one dtype and one length.
#[derive(Debug)]
pub(super) struct Rows {
    /// The type of the elements; none where there are no rows, and nothing says it.
    pub(super) dtype: Option<Dtype>,
    /// How many elements a row has.
    pub(super) width: u64,
    /// The size of a row in bytes.
    pub(super) bytes: usize,
    places: Places,
}

/// Where the rows are.
#[derive(Debug)]
enum Places {
    /// In one storage, from `start` on, `stride` bytes apart.
    Strided { count: usize, storage: StorageId, start: u64, stride: u64 },
    /// Put into order in memory: those of a tensor whose rows don't lie one element behind the other.
    Gathered { count: usize, bytes: Vec<u8> },
    /// Each at a place of its own.
    Each(Vec<Place>),
}

/// Where one row is.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// In a storage, from here on.
    Stored(StorageId, u64),
    /// A list of floats, packed.
    Floats(NodeId),
    /// An ordinary list of floats.
    Items(NodeId),
}

impl Rows {
    /// Finds the rows in a value. `key` is what leads to it.
    pub(super) fn of(
        path: &Path,
        state: &State<'_>,
        (key, data): (&str, NodeId),
        options: &TableOptions,
    ) -> Result<Self, Error> {
        match state.tree().node(data) {
            Node::Tensor(tensor) => Self::of_tensor(path, state, key, tensor),
            Node::List(items) | Node::Tuple(items) => Self::of_list(path, state, key, items, options),
            other => {
                let what =
                    format!("the rows are no tensor and no list, but a value of type {}", other.type_name());
                Err(unfit(path, key, &what))
            }
        }
    }

    fn of_tensor(path: &Path, state: &State<'_>, key: &str, tensor: &Tensor) -> Result<Self, Error> {
        let &[count, width] = tensor.shape.as_slice() else {
            let message =
                format!("the tensor '{}' has the shape {:?}, and no rows", key.escape_debug(), tensor.shape);
            return Err(Error::found(path, Finding::incompatible(Code::ShapeMismatch, Level::Keys, message)));
        };
        let (storage, offset, strides) = plain(path, key, tensor)?;
        let too_large = || unfit(path, key, "the tensor is larger than the memory has addresses");
        let element = tensor.dtype.bytes_for(1).ok_or_else(too_large)?;
        let bytes =
            width.checked_mul(element).and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(too_large)?;
        let count = usize::try_from(count).map_err(|_| too_large())?;
        let is_gapless = width <= 1 || strides.get(1) == Some(&1);
        let start = offset.checked_mul(element);
        let stride = strides.first().and_then(|stride| stride.checked_mul(element));
        let places = match (start, stride, is_gapless) {
            (Some(start), Some(stride), true) => Places::Strided { count, storage, start, stride },
            // Put into order in memory, within the limits of a tensor that claims to be larger than its storage.
            _ => Places::Gathered { count, bytes: TensorRef::new(key, tensor, state).bytes()?.into_owned() },
        };
        Ok(Self { dtype: Some(tensor.dtype), width, bytes, places })
    }

    fn of_list(
        path: &Path,
        state: &State<'_>,
        key: &str,
        items: &[NodeId],
        options: &TableOptions,
    ) -> Result<Self, Error> {
        let tree = state.tree();
        let value_key = match items.first() {
            Some(first) if matches!(tree.node(*first), Node::Map(..)) => {
                Some(keys::value(path, tree, *first, options)?)
            }
            _ => None,
        };
        let mut common: Option<(Dtype, u64)> = None;
        let mut places = Vec::with_capacity(items.len());
        for (number, item) in items.iter().enumerate() {
            let name = || format!("{key}.{number}");
            let elements = match value_key {
                None => *item,
                Some(value_key) => tree.get(*item, value_key).ok_or_else(|| {
                    unfit(path, &name(), &format!("the row has no '{}'", value_key.escape_debug()))
                })?,
            };
            let (place, dtype, width) = row(path, state, &name, elements)?;
            let (expected, expected_width) = *common.get_or_insert((dtype, width));
            if dtype != expected {
                let message = format!("row {number} is {dtype}, and those before it {expected}");
                return Err(Error::found(
                    path,
                    Finding::incompatible(Code::DtypeMismatch, Level::Keys, message),
                ));
            }
            if width != expected_width {
                let message =
                    format!("row {number} has {width} elements, and those before it {expected_width}");
                return Err(Error::found(
                    path,
                    Finding::incompatible(Code::ShapeMismatch, Level::Keys, message),
                ));
            }
            places.push(place);
        }
        let (dtype, width) = common.map_or((None, 0), |(dtype, width)| (Some(dtype), width));
        let bytes = dtype.map_or(Some(0), |dtype| dtype.bytes_for(width));
        let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
        let bytes = bytes.ok_or_else(|| unfit(path, key, "a row is larger than the memory has addresses"))?;
        Ok(Self { dtype, width, bytes, places: Places::Each(places) })
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        match &self.places {
            Places::Strided { count, .. } | Places::Gathered { count, .. } => *count,
            Places::Each(places) => places.len(),
        }
    }

    /// Fills `out` with bytes of a row, from `from` on: as many as it has room for. The caller keeps within the row.
    pub(super) fn read(
        &self,
        state: &State<'_>,
        row: usize,
        from: usize,
        out: &mut [u8],
    ) -> Result<(), Error> {
        let place = match &self.places {
            Places::Strided { storage, start, stride, .. } => {
                let start = (row as u64).checked_mul(*stride).and_then(|offset| start.checked_add(offset));
                start.map(|start| Place::Stored(*storage, start))
            }
            Places::Gathered { bytes, .. } => {
                let start = row.checked_mul(self.bytes).and_then(|start| start.checked_add(from));
                let part = start.and_then(|start| bytes.get(start..start.checked_add(out.len())?));
                out.copy_from_slice(part.ok_or_else(outside)?);
                return Ok(());
            }
            Places::Each(places) => places.get(row).copied(),
        };
        match place.ok_or_else(outside)? {
            Place::Stored(storage, start) => {
                let data = state.data(storage).ok_or_else(outside)?;
                data.read_at(out, start.checked_add(from as u64).ok_or_else(outside)?)
            }
            Place::Floats(id) => match state.tree().node(id) {
                Node::Floats(floats) => self.part(from, out, |out| narrow(floats, out)),
                _ => Err(outside()),
            },
            Place::Items(id) => match state.tree().node(id) {
                Node::List(items) | Node::Tuple(items) => {
                    self.part(from, out, |out| narrow_items(state.tree(), items, out))
                }
                _ => Err(outside()),
            },
        }
    }

    /// Has a row made, and takes a part of it; a whole one is made where it is wanted.
    fn part(&self, from: usize, out: &mut [u8], make: impl FnOnce(&mut [u8])) -> Result<(), Error> {
        if out.len() == self.bytes {
            make(out);
            return Ok(());
        }
        let mut row = vec![0; self.bytes];
        make(&mut row);
        let part = from.checked_add(out.len()).and_then(|end| row.get(from..end));
        out.copy_from_slice(part.ok_or_else(outside)?);
        Ok(())
    }
}

/// Finds where the elements of one row lie, of what type and how many they are.
fn row(
    path: &Path,
    state: &State<'_>,
    name: &dyn Fn() -> String,
    elements: NodeId,
) -> Result<(Place, Dtype, u64), Error> {
    let tree = state.tree();
    match tree.node(elements) {
        Node::Floats(floats) => Ok((Place::Floats(elements), Dtype::F32, floats.len() as u64)),
        Node::List(items) | Node::Tuple(items) if is_floats(tree, items) => {
            Ok((Place::Items(elements), Dtype::F32, items.len() as u64))
        }
        Node::Tensor(tensor) => {
            let &[width] = tensor.shape.as_slice() else {
                let message =
                    format!("a row's tensor has the shape {:?}, and not one dimension", tensor.shape);
                let finding = Finding::incompatible(Code::ShapeMismatch, Level::Keys, message);
                return Err(Error::found(path, finding.at_tensor(name())));
            };
            let (storage, ..) = plain(path, &name(), tensor)?;
            match tensor.contiguous_start() {
                Some(start) => Ok((Place::Stored(storage, start), tensor.dtype, width)),
                None => {
                    Err(unfit(path, &name(), "the elements of a row's tensor don't lie one behind the other"))
                }
            }
        }
        other => {
            let what = format!(
                "a row is no tensor and no list of floats, but a value of type {}",
                other.type_name()
            );
            Err(unfit(path, &name(), &what))
        }
    }
}

/// Returns where a tensor lies that is nothing but elements in a storage.
fn plain<'t>(path: &Path, name: &str, tensor: &'t Tensor) -> Result<(StorageId, u64, &'t [u64]), Error> {
    match &tensor.body {
        Body::Strided { storage, offset, strides, quantizer: None }
            if !tensor.conjugated && !tensor.negated && tensor.dtype.elements_per_byte() == 1 =>
        {
            Ok((*storage, *offset, strides))
        }
        _ => Err(unfit(path, name, "a tensor of rows is sparse, quantized, or has no elements of its own")),
    }
}

/// The error for a row that isn't there: the table said otherwise when it was opened.
fn outside() -> Error {
    Error::usage("a row was asked for that the table hasn't")
}
