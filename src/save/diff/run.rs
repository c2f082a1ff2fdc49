use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use super::DiffOptions;
use super::elements::{Elements, Pair};
use super::items::{Item, Key, items};
use super::plain::{Plain, show};
use crate::Error;
use crate::record::{Compared, ComparedBy, DIFF_SCHEMA, Differing, DifferingKind};
use crate::save::LoadOptions;
use crate::save::load::{Loaded, open_streamed};
use crate::tensor::{Node, State, TensorRef};

/// Compares two checkpoints, of any formats: names, dtypes, shapes, elements, and plain values.
///
/// Values are paired by the keys that lead to them, joined by dots, so that a flat file can be compared with a
/// nested one. The order of keys, the kinds of maps, devices, and what shares a storage with what are not
/// compared. Neither file's data is held against its checksums; see [`verify`](crate::verify()) for that.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let (a, b) = (directory.path().join("a.pt"), directory.path().join("b.safetensors"));
/// use ckpt::save::{DiffOptions, diff};
/// use ckpt::tensor::TensorView;
/// use ckpt::{Dtype, State, save};
///
/// for (path, last) in [(&a, 3), (&b, 5)] {
///     let mut state = State::new();
///     state.insert("w", TensorView::new(Dtype::U8, [3], vec![1, 2, last])?)?;
///     save(path, &state, &Default::default())?;
/// }
/// let compared = diff(&a, &b, &DiffOptions::default())?;
/// let elements = compared.differences[0].elements.as_ref().ok_or("no elements")?;
/// assert_eq!((elements.differing, elements.largest, &elements.at[..]), (1, Some(2.0), &[2][..]));
/// assert!(diff(&a, &b, &DiffOptions::default().with_tolerance(2.0))?.equal);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// A file can't be read, its structure is damaged or of no use, or it is several files. A tolerance that is
/// negative or NaN makes no sense.
pub fn diff(left: &Path, right: &Path, options: &DiffOptions) -> Result<Compared, Error> {
    let start = Instant::now();
    if options.tolerance.is_some_and(|tolerance| tolerance.is_nan() || tolerance < 0.0) {
        return Err(Error::usage("the tolerance must be 0 or more"));
    }
    let load = LoadOptions { allowed_globals: options.allowed_globals.clone(), ..LoadOptions::default() };
    let (one, other) = (open_streamed(left, &load)?, open_streamed(right, &load)?);
    let mut compared = Compared {
        schema: DIFF_SCHEMA.to_owned(),
        left: left.to_owned(),
        right: right.to_owned(),
        equal: true,
        by: if options.keys_only { ComparedBy::Keys } else { ComparedBy::Values },
        tolerance: options.tolerance,
        tensors: 0,
        within: 0,
        values: 0,
        differences: Vec::new(),
        elapsed_ms: 0,
    };
    if !options.full && is_same_file(&one, &other) {
        compared.by = ComparedBy::Proof;
        let tensors = one.state.tensors()?.len();
        (compared.tensors, compared.values) = (tensors as u64, plain_values(&one.state)?);
    } else {
        Comparison { left: &one.state, right: &other.state, options }.run(&mut compared)?;
    }
    compared.equal = compared.differences.is_empty();
    compared.elapsed_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(compared)
}

/// Returns whether two files have the same bytes, by their proofs.
fn is_same_file(one: &Loaded, other: &Loaded) -> bool {
    match (&one.proof, &other.proof) {
        (Some(one), Some(other)) => one.id() == other.id(),
        _ => false,
    }
}

/// Counts the values that are no tensors.
fn plain_values(state: &State<'_>) -> Result<u64, Error> {
    let plain = items(state)?.iter().filter(|(_, item)| !matches!(item, Item::Tensor(_))).count();
    Ok(plain as u64)
}

/// Two states that are compared.
struct Comparison<'s> {
    left: &'s State<'s>,
    right: &'s State<'s>,
    options: &'s DiffOptions,
}

impl<'s> Comparison<'s> {
    /// Compares all of it: what both have in the order of the first, then what only the second has.
    fn run(&self, compared: &mut Compared) -> Result<(), Error> {
        let others = items(self.right)?;
        let order: Vec<Key> = others.iter().map(|(key, _)| key.clone()).collect();
        let mut others: HashMap<Key, Item<'s>> = others.into_iter().collect();
        // The place of each pair among the differences, which come in order.
        let (mut pairs, mut places) = (Vec::new(), Vec::new());
        let mut found: Vec<Option<Differing>> = Vec::new();
        for (key, item) in items(self.left)? {
            let other = others.remove(&key);
            let pair = match (&item, &other) {
                (Item::Tensor(one), Some(Item::Tensor(other))) => matching(one, other),
                _ => None,
            };
            if let Some(pair) = pair {
                places.push((found.len(), key.0));
                pairs.push(pair);
                found.push(None);
            } else {
                let difference = self.differ(&key.0, &item, other.as_ref())?;
                compared.values += u64::from(difference.is_none());
                found.push(difference);
            }
        }
        self.elements(&pairs, &places, &mut found, compared)?;
        compared.differences = found.into_iter().flatten().collect();
        let rest = order.into_iter().filter_map(|key| Some((others.remove(&key)?, key)));
        let only_right = |(item, key): (Item<'_>, Key)| {
            differing(&key.0, DifferingKind::OnlyRight, None, Some(describe(self.right, &item)))
        };
        compared.differences.extend(rest.map(only_right));
        Ok(())
    }

    /// Compares the elements of tensors, and puts the differences in their places.
    fn elements(
        &self,
        pairs: &[Pair<'_>],
        places: &[(usize, String)],
        found: &mut [Option<Differing>],
        compared: &mut Compared,
    ) -> Result<(), Error> {
        if self.options.keys_only {
            compared.tensors = pairs.len() as u64;
            return Ok(());
        }
        let elements = Elements { left: self.left, right: self.right, options: self.options };
        let tallies = elements.compare(pairs)?;
        for ((tally, pair), (place, path)) in tallies.iter().zip(pairs).zip(places) {
            if tally.differing == 0 || (self.options.tolerance.is_some() && tally.beyond == 0) {
                compared.tensors += 1;
                compared.within += u64::from(tally.differing > 0);
            } else if let Some(slot) = found.get_mut(*place) {
                let elements = Some(tally.record(pair.one.tensor()));
                *slot = Some(Differing { elements, ..differing(path, DifferingKind::Elements, None, None) });
            }
        }
        Ok(())
    }

    /// Compares two values that aren't two tensors of one dtype and shape.
    fn differ(
        &self,
        path: &str,
        one: &Item<'_>,
        other: Option<&Item<'_>>,
    ) -> Result<Option<Differing>, Error> {
        let left = Some(describe(self.left, one));
        let Some(other) = other else {
            return Ok(Some(differing(path, DifferingKind::OnlyLeft, left, None)));
        };
        let right = Some(describe(self.right, other));
        let kind = match (one, other) {
            (Item::Plain(a) | Item::Whole(a), Item::Plain(b) | Item::Whole(b)) => {
                if self.options.keys_only {
                    return Ok(None);
                }
                let (first, second) = (self.left.tree().node(*a), self.right.tree().node(*b));
                let plain = Plain { left: self.left, right: self.right, tolerance: self.options.tolerance };
                let same = match other {
                    Item::Whole(_) => plain.same_within(*a, *b)?,
                    _ => plain.same(*a, *b)?,
                };
                if same {
                    return Ok(None);
                }
                if same_type(first, second) { DifferingKind::Value } else { DifferingKind::Type }
            }
            (Item::Tensor(a), Item::Tensor(b)) if a.dtype() != b.dtype() => DifferingKind::Dtype,
            (Item::Tensor(a), Item::Tensor(b)) if a.shape() != b.shape() => DifferingKind::Shape,
            _ => DifferingKind::Type,
        };
        Ok(Some(differing(path, kind, left, right)))
    }
}

/// Returns two tensors whose elements can be compared: of one dtype and shape, and read the same way.
fn matching<'s>(one: &TensorRef<'s>, other: &TensorRef<'s>) -> Option<Pair<'s>> {
    let kind = |tensor: &TensorRef<'s>| {
        let tensor = tensor.tensor();
        (tensor.dtype, &tensor.shape, tensor.conjugated, tensor.negated)
    };
    let is_same = one.dtype() == other.dtype() && one.shape() == other.shape();
    (is_same && kind(one).2 == kind(other).2 && kind(one).3 == kind(other).3)
        .then(|| Pair { one: one.clone(), other: other.clone() })
}

fn same_type(one: &Node, other: &Node) -> bool {
    one.type_name() == other.type_name()
}

fn differing(path: &str, kind: DifferingKind, left: Option<String>, right: Option<String>) -> Differing {
    Differing { path: path.to_owned(), kind, left, right, elements: None }
}

/// Describes a value in a few words.
fn describe(state: &State<'_>, item: &Item<'_>) -> String {
    match item {
        Item::Plain(id) | Item::Whole(id) => show(state.tree().node(*id)),
        Item::Tensor(tensor) => {
            let flags =
                [(tensor.tensor().conjugated, ", conjugated"), (tensor.tensor().negated, ", negated")];
            let flags: String = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, word)| *word).collect();
            format!("{}{:?}{flags}", tensor.dtype(), tensor.shape())
        }
    }
}
