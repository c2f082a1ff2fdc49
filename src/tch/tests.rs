//! What holds of tensors and variables, against tch itself.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tch::nn::{self, VarStore};
use tch::{Device, Kind, Tensor, kind, no_grad};

use super::*;
use crate::tensor::{RestoreOptions, State, Value};
use crate::{Dtype, ErrorKind};

/// Held while a test draws random numbers: the generator is one for all of them.
pub(super) fn drawing() -> MutexGuard<'static, ()> {
    static DRAWING: Mutex<()> = Mutex::new(());
    DRAWING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the bytes that a state has of a tensor.
fn bytes(tensor: &Tensor) -> Vec<u8> {
    let mut state = State::new();
    state.insert("t", view(tensor).unwrap()).unwrap();
    state.tensor("t").unwrap().bytes().unwrap().into_owned()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn a_tensor_on_the_host_is_borrowed() {
    let tensor = Tensor::from_slice(&[1.0_f32, 2.0, 3.0]);
    let mut state = State::new();
    state.insert("t", view(&tensor).unwrap()).unwrap();
    let found = state.tensor("t").unwrap();
    let bytes = found.bytes().unwrap();
    assert_eq!(bytes.as_ptr().addr(), tensor.data_ptr().addr());
    assert_eq!((found.dtype(), found.shape(), bytes.len()), (Dtype::F32, &[3][..], 12));
}

#[test]
fn elements_are_row_major_whatever_their_strides() {
    let tensor = Tensor::from_slice(&[1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0]).view([2, 3]);
    assert_eq!(bytes(&tensor.tr()), floats(&[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]));
    assert_eq!(bytes(&tensor.narrow(1, 1, 2)), floats(&[2.0, 3.0, 5.0, 6.0]));
    assert_eq!(bytes(&tensor.get(1)), floats(&[4.0, 5.0, 6.0]));
    assert_eq!(bytes(&Tensor::from(2.5_f32).expand([3], false)), floats(&[2.5; 3]));
    assert_eq!(bytes(&Tensor::from(2.5_f32)), floats(&[2.5]));
    assert!(bytes(&tensor.narrow(0, 0, 0)).is_empty());
}

#[test]
fn pending_operations_on_complex_numbers_are_done() {
    let parts = Tensor::from_slice(&[1.0_f32, 2.0]).view([1, 2]);
    let number = parts.view_as_complex();
    assert_eq!(bytes(&number), floats(&[1.0, 2.0]));
    assert_eq!(bytes(&number.conj()), floats(&[1.0, -2.0]));
    assert_eq!(bytes(&number.conj().imag()), floats(&[-2.0]));
}

#[test]
fn every_kind_goes_in_and_comes_back() {
    let kinds = [
        (Kind::Uint8, Dtype::U8),
        (Kind::Int8, Dtype::I8),
        (Kind::Int16, Dtype::I16),
        (Kind::Int, Dtype::I32),
        (Kind::Int64, Dtype::I64),
        (Kind::Half, Dtype::F16),
        (Kind::Float, Dtype::F32),
        (Kind::Double, Dtype::F64),
        (Kind::ComplexHalf, Dtype::C32),
        (Kind::ComplexFloat, Dtype::C64),
        (Kind::ComplexDouble, Dtype::C128),
        (Kind::Bool, Dtype::Bool),
        (Kind::BFloat16, Dtype::Bf16),
        (Kind::Float8e5m2, Dtype::F8E5m2),
        (Kind::Float8e4m3fn, Dtype::F8E4m3fn),
        (Kind::Float8e5m2fnuz, Dtype::F8E5m2fnuz),
        (Kind::Float8e4m3fnuz, Dtype::F8E4m3fnuz),
    ];
    for (kind, dtype) in kinds {
        let values = Tensor::from_slice(&[0.0_f32, 1.0, 2.0, 0.5]).view([2, 2]).to_kind(kind);
        let mut store = store_of(&[("w", &values)]);
        let saved = bytes(&values);
        assert_eq!(saved.len() as u64, 4 * dtype.bits() / 8, "{dtype}");
        let mut state = State::new();
        state.insert("m", detached(&store)).unwrap();
        assert_eq!(state.tensor("m.w").unwrap().dtype(), dtype);
        drop(no_grad(|| store.variables()["w"].shallow_clone().zero_()));
        assert_ne!(bytes(&store.variables()["w"]), saved);
        restore_variables(&mut store, &state, "m", RestoreOptions::default()).unwrap();
        assert_eq!(bytes(&store.variables()["w"]), saved, "{dtype}");
    }
}

#[test]
fn what_a_checkpoint_cannot_have_is_refused() {
    let quantized = Tensor::from_slice(&[1.0_f32, 2.0]).quantize_per_tensor(0.1, 10, Kind::QUInt8);
    let error = view(&quantized).unwrap_err();
    assert!(error.to_string().contains("dequantize"), "{error}");
    let sparse = Tensor::eye(3, kind::FLOAT_CPU).to_sparse(None, None::<&[i64]>, None);
    let error = view(&sparse).unwrap_err();
    assert!(error.to_string().contains("to_dense"), "{error}");
    let error = view(&Tensor::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    let store = store_of(&[("a", &Tensor::from(1.0_f32))]);
    store.variables_.lock().unwrap().named_variables.insert("q".to_owned(), quantized);
    let error = variables(&store).unwrap_err();
    assert!(error.to_string().contains("variable 'q': a quantized tensor"), "{error}");
}

#[test]
fn a_state_keeps_what_it_has_when_a_handle_is_resized() {
    let tensor = Tensor::from_slice(&[1.0_f32, 2.0, 3.0]);
    let mut state = State::new();
    state.insert("t", view(&tensor).unwrap()).unwrap();
    for len in [0, 1_000_000] {
        drop(tensor.shallow_clone().resize_([len]));
        assert_eq!(*state.tensor("t").unwrap().bytes().unwrap(), floats(&[1.0, 2.0, 3.0]));
    }
}

/// Makes a store of copies of tensors.
fn store_of(tensors: &[(&str, &Tensor)]) -> VarStore {
    let store = VarStore::new(Device::Cpu);
    for (name, tensor) in tensors {
        store.variables_.lock().unwrap().named_variables.insert((*name).to_owned(), tensor.copy());
    }
    store
}

/// As [`variables`], with elements of its own.
fn detached(store: &VarStore) -> Value<'static> {
    let mut state = State::new();
    state.insert("all", variables(store).unwrap()).unwrap();
    let own = |tensor: crate::tensor::TensorRef<'_>| {
        let bytes = tensor.bytes().unwrap().into_owned();
        let view = crate::tensor::TensorView::new(tensor.dtype(), tensor.shape(), bytes).unwrap();
        (tensor.name().strip_prefix("all.").unwrap().to_owned(), view.into())
    };
    state.tensors().unwrap().into_iter().map(own).collect()
}

/// A layer, and the batch norm behind it: variables that are trained, and some that aren't.
fn model() -> VarStore {
    let _alone = drawing();
    let store = VarStore::new(Device::Cpu);
    let _layer = nn::linear(store.root() / "layer", 3, 2, nn::LinearConfig::default());
    let _norm = nn::batch_norm1d(store.root() / "norm", 2, nn::BatchNormConfig::default());
    store
}

fn all(store: &VarStore) -> BTreeMap<String, Vec<u8>> {
    store.variables().into_iter().map(|(name, tensor)| (name, bytes(&tensor))).collect()
}

#[test]
fn parameters_and_buffers_come_back_in_place() {
    let (source, mut target) = (model(), model());
    drop(no_grad(|| source.variables()["norm.running_mean"].shallow_clone().fill_(3.0)));
    let mut state = State::new();
    state.insert("model", variables(&source).unwrap()).unwrap();
    assert_ne!(all(&source), all(&target));
    let before = target.variables()["layer.weight"].data_ptr();
    let restored = restore_variables(&mut target, &state, "model", RestoreOptions::default()).unwrap();
    let names = ["layer.bias", "layer.weight", "norm.bias", "norm.running_mean", "norm.running_var"];
    assert_eq!(restored.restored[..5], names);
    assert_eq!(restored.restored.len(), 6);
    assert_eq!(all(&source), all(&target));
    let weight = &target.variables()["layer.weight"];
    assert!(weight.requires_grad() && weight.data_ptr() == before);
}

#[test]
fn tied_variables_stay_tied() {
    let store = model();
    let tied = store.variables()["layer.weight"].shallow_clone();
    store.variables_.lock().unwrap().named_variables.insert("head.weight".into(), tied.view([3, 2]));
    let mut state = State::new();
    state.insert("model", variables(&store).unwrap()).unwrap();
    assert_eq!(state.tensors().unwrap().len(), 7);
    assert_eq!(state.tree().storages().len(), 6);
    let (head, layer) = (state.tensor("model.head.weight"), state.tensor("model.layer.weight"));
    assert_eq!(head.unwrap().bytes().unwrap(), layer.unwrap().bytes().unwrap());
}

#[test]
fn where_anything_differs_nothing_changes() {
    let mut store =
        store_of(&[("a", &Tensor::from_slice(&[1.0_f32, 2.0])), ("b", &Tensor::from_slice(&[3.0_f32]))]);
    let before = all(&store);
    let others: [&[(&str, Tensor)]; 4] = [
        // tch's own loading would broadcast the first, convert the second and pass over the rest.
        &[("a", Tensor::from_slice(&[9.0_f32])), ("b", Tensor::from_slice(&[9.0_f32]))],
        &[("a", Tensor::from_slice(&[9.0_f32, 9.0])), ("b", Tensor::from_slice(&[9.0_f64]))],
        &[("a", Tensor::from_slice(&[9.0_f32, 9.0]))],
        &[
            ("a", Tensor::from_slice(&[9.0_f32, 9.0])),
            ("b", Tensor::from_slice(&[9.0_f32])),
            ("c", Tensor::from_slice(&[9.0_f32])),
        ],
    ];
    for other in others {
        let other = store_of(&other.iter().map(|(name, tensor)| (*name, tensor)).collect::<Vec<_>>());
        let mut state = State::new();
        state.insert("model", variables(&other).unwrap()).unwrap();
        let error = restore_variables(&mut store, &state, "model", RestoreOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Incompatible, "{error}");
        assert_eq!(all(&store), before, "{error}");
    }
}

#[test]
fn what_is_allowed_is_done_and_reported() {
    let other =
        store_of(&[("a", &Tensor::from_slice(&[1.5_f64, 2.5])), ("c", &Tensor::from_slice(&[9.0_f32]))]);
    let variables = other.variables();
    let mut state = State::new();
    for name in ["a", "c"] {
        state.insert(name, view(&variables[name]).unwrap()).unwrap();
    }
    let wide = Tensor::zeros([2, 2], kind::FLOAT_CPU);
    let mut store = store_of(&[("b", &Tensor::from_slice(&[3.0_f32]))]);
    // A variable that isn't row-major is written to where its elements are.
    let column = wide.tr().get(0);
    store.variables_.lock().unwrap().named_variables.insert("a".into(), column);
    let options = RestoreOptions::default().with_partial().with_cast();
    let report = restore_variables(&mut store, &state, "", options).unwrap();
    assert_eq!(report.restored, ["a"]);
    assert_eq!(report.cast, [("a".to_owned(), Dtype::F64, Dtype::F32)]);
    assert_eq!((report.missing, report.unexpected), (vec!["b".to_owned()], vec!["c".to_owned()]));
    assert_eq!(bytes(&wide), floats(&[1.5, 0.0, 2.5, 0.0]));
    assert_eq!(bytes(&store.variables()["b"]), floats(&[3.0]));
}

#[test]
fn arithmetic_has_its_factor() {
    let mut weight = Tensor::from_slice(&[1.0_f32, 2.0]).set_requires_grad(true);
    let (one, two) = (Tensor::from_slice(&[4.0_f32, 8.0]), Tensor::from_slice(&[2.0_f32, 4.0]));
    arithmetic::add_(&mut weight, &one, 0.5).unwrap();
    assert_eq!(bytes(&weight), floats(&[3.0, 6.0]));
    arithmetic::addcmul_(&mut weight, &one, &two, 0.25).unwrap();
    assert_eq!(bytes(&weight), floats(&[5.0, 14.0]));
    arithmetic::addcdiv_(&mut weight, &one, &two, -2.0).unwrap();
    assert_eq!(bytes(&weight), floats(&[1.0, 10.0]));
    let error = arithmetic::add_(&mut weight, &Tensor::from_slice(&[1.0_f32; 3]), 1.0).unwrap_err();
    assert!(error.to_string().starts_with("libtorch: The size of tensor a (2)"), "{error}");
}

#[test]
fn random_numbers_go_on_where_they_were() {
    let _alone = drawing();
    let mut state = State::new();
    state.insert("random", RandomState::capture().unwrap()).unwrap();
    let draw = || {
        let dropped = Tensor::ones([64], kind::FLOAT_CPU).dropout(0.5, true);
        (bytes(&dropped), bytes(&Tensor::randn([5], kind::FLOAT_CPU)))
    };
    let first = draw();
    assert_ne!(first, draw());
    RandomState::from_state(&state, "random").unwrap().restore().unwrap();
    assert_eq!(first, draw());
}

#[test]
fn a_random_state_that_is_none_is_refused_and_changes_nothing() {
    let _alone = drawing();
    let broken = Tensor::from_slice(&[1_u8, 2, 3]);
    let mut state = State::new();
    state.insert("random", Value::from_iter([("cpu", view(&broken).unwrap().into())])).unwrap();
    let random = RandomState::from_state(&state, "random").unwrap();
    let before = RandomState::capture().unwrap();
    let error = random.restore_common().unwrap_err();
    assert!(error.to_string().starts_with("libtorch: "), "{error}");
    assert_eq!(before, RandomState::capture().unwrap());
    let error = RandomState::from_state(&state, "elsewhere").unwrap_err();
    assert!(error.to_string().contains("'elsewhere.cpu'"), "{error}");
}
