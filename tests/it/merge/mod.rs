//! Embedding merges: the right rows together, whatever form they come in, whatever happens meanwhile.

mod corpus;
mod damage;
mod forms;
mod joins;
#[cfg(feature = "cli")]
#[cfg(unix)]
mod kill;
mod outputs;
mod torch;

use std::path::{Path, PathBuf};

use ckpt::features::merge::{MergeOptions, merge};
use ckpt::record::Merged;
use ckpt::tensor::{Node, TensorView, Value};
use ckpt::{Dtype, Error, LoadOptions, SaveOptions, State, load, save};
use tempfile::TempDir;

/// A directory of its own.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Saves a feature file, and returns where.
    fn save(&self, name: &str, table: &[(&str, Value<'static>)]) -> PathBuf {
        let mut state = State::new();
        for (key, value) in table {
            state.insert(*key, value.clone()).unwrap();
        }
        let path = self.at(name);
        save(&path, &state, &SaveOptions::default()).unwrap();
        path
    }

    /// Merges `a.pt` and `b.pt` to `out.pt`.
    fn merge(&self, options: &MergeOptions) -> Result<Merged, Error> {
        merge(&self.at("a.pt"), &self.at("b.pt"), &self.at("out.pt"), options)
    }
}

fn ids(ids: &[&str]) -> Value<'static> {
    Value::List(ids.iter().map(|id| Value::from(*id)).collect())
}

fn float32(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A tensor of rows.
fn matrix(rows: &[&[f32]]) -> Value<'static> {
    let width = rows.first().map_or(0, |row| row.len());
    let bytes = rows.iter().flat_map(|row| float32(row)).collect::<Vec<u8>>();
    TensorView::new(Dtype::F32, [rows.len() as u64, width as u64], bytes).unwrap().into()
}

/// A tensor of one dimension.
fn vector(row: &[f32]) -> Value<'static> {
    TensorView::new(Dtype::F32, [row.len() as u64], float32(row)).unwrap().into()
}

/// A list of floats.
fn floats(row: &[f32]) -> Value<'static> {
    Value::List(row.iter().map(|value| Value::Float(f64::from(*value))).collect())
}

/// A row as a map, as the tools that extract embeddings write it.
fn mapped(id: &str, value: Value<'static>) -> Value<'static> {
    Value::Map(vec![("label".into(), id.into()), ("mean_representation".into(), value)])
}

/// What is in an output: its ids, its shape, and its elements.
#[derive(Debug, PartialEq)]
struct Output {
    ids: Vec<String>,
    shape: Vec<u64>,
    data: Vec<f32>,
}

fn read(path: &Path) -> Output {
    let state = load(path, &LoadOptions::default()).unwrap();
    let Some(Node::List(ids)) = state.value("ids") else { panic!("no ids: {:?}", state.value("ids")) };
    let ids = ids.iter().map(|id| state.tree().node(*id).as_str().unwrap().to_owned()).collect();
    let data = state.tensor("data").unwrap();
    assert_eq!(data.dtype(), Dtype::F32);
    let bytes = data.bytes().unwrap();
    let (elements, _) = bytes.as_chunks::<4>();
    let elements = elements.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Output { ids, shape: data.shape().to_vec(), data: elements }
}

/// The two files that most tests begin with, and what is made of them.
fn usual(place: &Place) {
    place.save(
        "a.pt",
        &[("ids", ids(&["x", "y", "z"])), ("data", matrix(&[&[1.0, 2.0], &[3.0, 4.0], &[5.0, 6.0]]))],
    );
    place.save("b.pt", &[("ids", ids(&["z", "w", "x"])), ("data", matrix(&[&[7.0], &[8.0], &[9.0]]))]);
}

fn usual_output() -> Output {
    Output { ids: vec!["x".into(), "z".into()], shape: vec![2, 3], data: vec![1.0, 2.0, 9.0, 5.0, 6.0, 7.0] }
}
