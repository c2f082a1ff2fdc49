//! Differences: what differs is said, with where and by how much.

use std::path::{Path, PathBuf};

use ckpt::record::{Compared, ComparedBy, DifferingElements, DifferingKind};
use ckpt::save::{DiffOptions, diff};
use ckpt::tensor::{State, TensorView, Value};
use ckpt::{Dtype, SaveOptions, save};
use tempfile::TempDir;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// Saves a state.
    fn put(&self, name: &str, state: &State<'_>) -> PathBuf {
        let path = self.0.path().join(name);
        save(&path, state, &SaveOptions::default()).unwrap();
        path
    }
}

fn compare(one: &Path, other: &Path) -> Compared {
    diff(one, other, &DiffOptions::default()).unwrap()
}

/// A state of one tensor.
fn tensor(dtype: Dtype, shape: &[u64], bytes: Vec<u8>) -> State<'static> {
    let mut state = State::new();
    state.insert("w", TensorView::new(dtype, shape, bytes).unwrap()).unwrap();
    state
}

fn floats(values: &[f32]) -> State<'static> {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor(Dtype::F32, &[values.len() as u64], bytes)
}

/// Compares two states of one tensor.
fn elements(one: &State<'_>, other: &State<'_>) -> DifferingElements {
    let place = Place::new();
    let compared = compare(&place.put("a.safetensors", one), &place.put("b.safetensors", other));
    assert!(!compared.equal && compared.differences.len() == 1);
    assert_eq!(compared.differences[0].kind, DifferingKind::Elements);
    compared.differences[0].elements.clone().unwrap()
}

/// One bit of the last element is another.
#[test]
fn every_dtype_is_compared() {
    for &dtype in Dtype::ALL.iter().filter(|dtype| !dtype.torch_name().starts_with('q')) {
        let len = usize::try_from(dtype.tensor_bytes(6).unwrap()).unwrap();
        let size = usize::try_from(dtype.bits()).unwrap().div_ceil(8);
        let mut other = vec![0; len];
        other[len - size] = 1;
        let found = elements(&tensor(dtype, &[2, 3], vec![0; len]), &tensor(dtype, &[2, 3], other));
        assert_eq!(found.differing, 1, "{dtype}");
        match found.largest {
            Some(largest) => {
                assert!(largest > 0.0 && found.without_number == 0, "{dtype}");
                assert_eq!(found.at, [1, 2], "{dtype}");
            }
            None => assert!(found.at.is_empty() && found.without_number == 1, "{dtype}"),
        }
    }
}

#[test]
fn the_largest_difference_is_found() {
    let found = elements(&floats(&[1.0, 2.0, 3.0, 4.0]), &floats(&[1.0, 2.5, 1.0, 6.0]));
    assert_eq!((found.count, found.differing, found.largest), (4, 3, Some(2.0)));
    assert_eq!(found.at, [2], "the first of two equal ones");
    let nan = |bits| f32::from_bits(bits);
    let found = elements(
        &floats(&[nan(0x7fc0_0000), f32::NAN, f32::INFINITY, 0.0]),
        &floats(&[nan(0x7fc0_0001), 1.0, 1.0, -0.0]),
    );
    assert_eq!((found.differing, found.both_nan, found.without_number, found.largest), (4, 1, 2, Some(0.0)));
    // Windows are compared apart from each other.
    let len = (9 << 20) + 12;
    let mut other = vec![0; len];
    for at in [5 << 20, len - 4] {
        other[at..at + 4].copy_from_slice(&1_f32.to_le_bytes());
    }
    let shape = [len as u64 / 4];
    let found = elements(&tensor(Dtype::F32, &shape, vec![0; len]), &tensor(Dtype::F32, &shape, other));
    assert_eq!((found.differing, found.largest, &found.at[..]), (2, Some(1.0), &[5 << 18][..]));
}

#[test]
fn a_tolerance_is_absolute() {
    let place = Place::new();
    let one = place.put("a.pt", &floats(&[1.0, 2.0, f32::NAN]));
    let other = place.put("b.pt", &floats(&[1.0, 2.25, f32::from_bits(0x7fc0_0003)]));
    let within = |tolerance| diff(&one, &other, &DiffOptions::default().with_tolerance(tolerance)).unwrap();
    assert!(within(0.25).equal && within(0.25).within == 1 && !within(0.125).equal);
    for senseless in [-1.0, f64::NAN] {
        assert!(diff(&one, &other, &DiffOptions::default().with_tolerance(senseless)).is_err());
    }
}

/// A state of many kinds of values.
fn training(step: i64, rate: f64, betas: Value<'static>) -> State<'static> {
    let mut state = floats(&[1.0, 2.0]);
    state.insert("step", step).unwrap();
    state.insert("group", Value::Map(vec![("lr".into(), rate.into()), ("betas".into(), betas)])).unwrap();
    state
}

fn pair() -> Value<'static> {
    Value::Tuple(vec![0.9.into(), f64::NAN.into()])
}

#[test]
fn formats_and_nesting_are_no_difference() {
    let place = Place::new();
    let state = training(7, 0.1, pair());
    let one = place.put("a.pt", &state);
    let same = compare(&one, &place.put("b.safetensors", &state));
    assert!(same.equal && same.tensors == 1 && same.values == 5, "{same:?}");
    let mut flat = floats(&[1.0, 2.0]);
    for (name, value) in [("step", Value::Int(7)), ("group.lr", 0.1.into()), ("group.betas", pair())] {
        flat.insert(name, value).unwrap();
    }
    assert!(compare(&one, &place.put("flat.pt", &flat)).equal);
}

#[test]
fn what_differs_is_named() {
    let place = Place::new();
    let one = place.put("a.pt", &training(7, 0.1, pair()));
    let mut other = training(8, 0.1, Value::List(vec![0.9.into(), f64::NAN.into()]));
    other.insert("w", TensorView::new(Dtype::F32, [1, 2], vec![0; 8]).unwrap()).unwrap();
    other.insert("new", TensorView::new(Dtype::U8, [1], vec![0]).unwrap()).unwrap();
    let other = place.put("b.pt", &other);
    let found = |compared: Compared| -> Vec<(String, DifferingKind)> {
        compared.differences.into_iter().map(|difference| (difference.path, difference.kind)).collect()
    };
    let named = |path: &str, kind| (path.to_owned(), kind);
    assert_eq!(
        found(compare(&one, &other)),
        [
            named("w", DifferingKind::Shape),
            named("step", DifferingKind::Value),
            named("group.betas", DifferingKind::Type),
            named("new", DifferingKind::OnlyRight),
        ]
    );
    assert_eq!(found(compare(&other, &one))[3], named("new", DifferingKind::OnlyLeft));
    let keys = diff(&one, &other, &DiffOptions::default().with_keys_only()).unwrap();
    assert_eq!(found(keys), [named("w", DifferingKind::Shape), named("new", DifferingKind::OnlyRight)]);
    let dtype = place.put("c.pt", &tensor(Dtype::I32, &[2], vec![0; 8]));
    assert_eq!(
        found(compare(&place.put("d.pt", &floats(&[0.0, 0.0])), &dtype)),
        [named("w", DifferingKind::Dtype)]
    );
}

#[test]
fn equal_proofs_are_believed_unless_all_is_asked_for() {
    let place = Place::new();
    let state = floats(&[1.0; 3]);
    let (one, other) = (place.put("a.safetensors", &state), place.put("b.safetensors", &state));
    let mut damaged = std::fs::read(&other).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    std::fs::write(&other, damaged).unwrap();
    let compared = compare(&one, &other);
    assert!(compared.equal && compared.by == ComparedBy::Proof && compared.tensors == 1);
    let compared = diff(&one, &other, &DiffOptions::default().with_full()).unwrap();
    assert!(!compared.equal && compared.by == ComparedBy::Values);
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let place = Place::new();
    let one = place.put("a.pt", &floats(&[1.0]));
    assert!(diff(&one, &place.0.path().join("gone.pt"), &DiffOptions::default()).is_err());
}
