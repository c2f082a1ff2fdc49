//! Variables in files, and what Python reads from them.

use ckpt::tch::{restore_variables, variables};
use ckpt::tensor::RestoreOptions;
use ckpt::{LoadOptions, SaveOptions, State, load, save};
use tch::nn::{self, VarStore};
use tch::{Device, Kind, Tensor};

use crate::python::{HEX, drawing, hex, python, run};

/// A small model with all that a file must keep: buffers, tied weights, several dtypes, strides.
fn model() -> VarStore {
    let _alone = drawing();
    let store = VarStore::new(Device::Cpu);
    let _layer = nn::linear(store.root() / "layer", 6, 4, nn::LinearConfig::default());
    let _norm = nn::batch_norm1d(store.root() / "norm", 4, nn::BatchNormConfig::default());
    let mut variables = store.variables_.lock().unwrap();
    let weight = variables.named_variables["layer.weight"].shallow_clone();
    let mut add = |name: &str, tensor: Tensor| variables.named_variables.insert(name.to_owned(), tensor);
    add("bf16", Tensor::randn([3, 5], (Kind::BFloat16, Device::Cpu)));
    add("turned", Tensor::randn([3, 5], (Kind::Double, Device::Cpu)).tr());
    add("f8", Tensor::randn([9], (Kind::Float, Device::Cpu)).to_kind(Kind::Float8e4m3fn));
    add("count", Tensor::from(12_i64));
    add("none", Tensor::zeros([0, 3], (Kind::Half, Device::Cpu)));
    add("tied", weight);
    drop(variables);
    store
}

/// Returns names and bytes, one to a line.
fn listed(store: &VarStore) -> String {
    let mut lines: Vec<_> =
        store.variables().iter().map(|(name, tensor)| format!("{name} {}", hex(tensor))).collect();
    lines.sort();
    lines.join("\n")
}

#[test]
fn a_model_comes_back_from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["model.safetensors", "model.pt"] {
        let (source, mut target) = (model(), model());
        assert_ne!(listed(&source), listed(&target));
        let path = directory.path().join(name);
        let mut state = State::new();
        state.insert("model", variables(&source).unwrap()).unwrap();
        let storages = state.tree().storages().len();
        save(&path, &state, &SaveOptions::default()).unwrap();
        let loaded = load(&path, &LoadOptions::default()).unwrap();
        assert_eq!(loaded.tree().storages().len(), storages, "{name}: what is tied stays tied");
        restore_variables(&mut target, &loaded, "model", RestoreOptions::default()).unwrap();
        assert_eq!(listed(&source), listed(&target), "{name}");
    }
}

#[test]
fn python_reads_the_same_elements() {
    let Some(python) = python("python_reads_the_same_elements") else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.pt");
    let store = model();
    let mut state = State::new();
    state.insert("model", variables(&store).unwrap()).unwrap();
    save(&path, &state, &SaveOptions::default()).unwrap();
    let script = format!(
        "{HEX}
model = torch.load(sys.argv[1], weights_only=True)['model']
assert model['tied'].data_ptr() == model['layer.weight'].data_ptr()
assert model['f8'].dtype == torch.float8_e4m3fn and model['none'].shape == (0, 3)
print('\\n'.join(sorted(f'{{name}} {{of(tensor)}}' for name, tensor in model.items())))"
    );
    assert_eq!(run(&python, &script, &[&path]), listed(&store));
}
