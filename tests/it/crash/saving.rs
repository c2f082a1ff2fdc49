//! What these tests save, and how.

use std::path::Path;

use ckpt::io::commit::{Disk, Durability, LocalDisk};
use ckpt::save::SaveOptions;
use ckpt::tensor::{TensorView, Value};
use ckpt::{Dtype, Error, State};

pub(super) use ckpt::save::Format;

use super::random::Random;

/// How large a state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// Some kilobytes.
    Small,
    /// A megabyte, in several tensors.
    Medium,
    /// More than one window of the proof.
    Large,
}

/// How a state is saved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) format: Format,
    /// Whether a marker is asked for.
    pub(super) marker: bool,
    pub(super) validate: bool,
    /// Whether the save waits for the device.
    pub(super) durable: bool,
    pub(super) threads: usize,
}

impl Manner {
    /// By default, but with one thread: then the calls come in the same order in every run.
    pub(super) fn new(format: Format) -> Self {
        Self { format, marker: false, validate: true, durable: true, threads: 1 }
    }

    fn options(&self) -> SaveOptions {
        let mut options = SaveOptions::default().with_format(self.format).with_threads(self.threads);
        options.marker = self.marker;
        options.validate = self.validate;
        options.with_durability(if self.durable { Durability::Full } else { Durability::None })
    }
}

/// What a marker says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vouched {
    pub(super) bytes: u64,
    /// The proof's id, where the file has a proof.
    pub(super) id: Option<String>,
}

/// Returns the name of a file of that format.
pub(super) fn name(format: Format) -> &'static str {
    if format == Format::Safetensors { "model.safetensors" } else { "model.pt" }
}

/// Makes a state of several tensors and plain values. Each generation has other bytes; another length as well,
/// but for the first two in safetensors.
fn state(generation: u64, size: Size, format: Format) -> State<'static> {
    let elements = match size {
        Size::Small => 300,
        Size::Medium => 120_000,
        Size::Large => 600_000,
    };
    let further = if format == Format::Safetensors { generation.div_ceil(2) } else { generation };
    let mut random = Random::new(generation);
    let mut state = State::new();
    let mut tensor = |name: &str, elements: u64| {
        let bytes: Vec<u8> = (0..elements).flat_map(|_| random.next().to_le_bytes()[..4].to_vec()).collect();
        state.insert(name, TensorView::new(Dtype::I32, [elements], bytes).unwrap()).unwrap();
    };
    tensor("embedding.weight", elements);
    tensor("embedding.bias", 7 + further);
    tensor("empty", 0);
    tensor("head.weight", elements * 4 / 3);
    if format != Format::TorchFlat {
        state.insert("generation", i64::try_from(generation).unwrap()).unwrap();
        let betas = Value::List(vec![0.9.into(), 0.999.into()]);
        state
            .insert(
                "optimizer",
                [("betas", betas), ("name", "adam".into())].into_iter().collect::<Value<'_>>(),
            )
            .unwrap();
    }
    state
}

/// Saves a state on any disk.
pub(super) fn save_on(
    disk: &dyn Disk,
    path: &Path,
    generation: u64,
    size: Size,
    manner: &Manner,
) -> Result<Vouched, Error> {
    let saved = ckpt::save::save_on(disk, path, &state(generation, size, manner.format), &manner.options())?;
    Ok(Vouched { bytes: saved.bytes, id: Some(saved.proof.id()) })
}

/// Saves a state on the real disk.
pub(super) fn save(path: &Path, generation: u64, size: Size, manner: &Manner) -> Result<Vouched, Error> {
    save_on(&LocalDisk, path, generation, size, manner)
}
