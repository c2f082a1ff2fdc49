//! The checkpoints of a run: saved, listed, found again.

mod back;
mod background;
mod bytes;
mod chain;
mod places;
mod together;

use std::fs;
use std::path::{Path, PathBuf};

use ckpt::manager::{Manager, ManagerOptions, Resumed, SaveRequest};
use ckpt::record::CheckpointId;
use ckpt::tensor::TensorView;
use ckpt::{Dtype, Error, SaveOptions, State};

/// Returns the bytes of the weights at a step.
fn weights(step: u64) -> Vec<u8> {
    (0..500_u64).flat_map(|i| (i * step).to_le_bytes()[..4].to_vec()).collect()
}

/// Makes the state at a step.
fn state(step: u64, dtype: Dtype) -> State<'static> {
    let mut state = State::new();
    state.insert("model.weight", TensorView::new(dtype, [500], weights(step)).unwrap()).unwrap();
    state.insert("step", i64::try_from(step).unwrap()).unwrap();
    state
}

/// Opens a run whose saves don't wait for the device.
fn open(directory: &Path) -> Manager {
    let mut save = SaveOptions::default().with_threads(1);
    save.durability = ckpt::io::commit::Durability::None;
    Manager::open(directory, ManagerOptions::default().with_save(save)).unwrap()
}

/// Saves these steps, each with a further file.
fn save_all(manager: &Manager, steps: &[u64]) -> Result<(), Error> {
    for step in steps {
        let request = SaveRequest::at(*step).with_metric("loss", 0.5).with_artifact("notes.txt", "fine");
        manager.save(request, &state(*step, Dtype::F32))?;
    }
    Ok(())
}

/// Makes a run of these steps.
fn run_of(steps: &[u64]) -> (tempfile::TempDir, Manager) {
    let directory = tempfile::tempdir().unwrap();
    let manager = open(&directory.path().join("run"));
    save_all(&manager, steps).unwrap();
    (directory, manager)
}

/// Returns the path of a step's file, of the first generation.
fn file(manager: &Manager, step: u64, name: &str) -> PathBuf {
    manager.run().path(CheckpointId { generation: 0, step }).join(name)
}

/// The file of a state.
const STATE: &str = "state.safetensors";

/// Changes the bytes of a file.
fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Asserts that a state is the one of a step, to the last byte.
fn assert_is(resumed: &Resumed, step: u64) {
    assert_eq!(resumed.step(), step);
    let found = resumed.state.tensor("model.weight").unwrap();
    assert_eq!(*found.bytes().unwrap(), weights(step));
}
