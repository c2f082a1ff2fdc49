use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Init, Linear, Module, Optimizer, SGD, VarBuilder, VarMap, linear, loss};

use super::*;
use crate::tensor::{RestoreOptions, State, TensorSource, TensorView, Value};
use crate::{Dtype, ErrorKind, LoadOptions, SaveOptions, load, save};

/// The types whose elements candle can make of numbers.
const TYPES: [DType; 10] = [
    DType::U8,
    DType::U32,
    DType::I16,
    DType::I32,
    DType::I64,
    DType::BF16,
    DType::F16,
    DType::F32,
    DType::F64,
    DType::F8E4M3,
];

fn numbers(dtype: DType) -> Tensor {
    let numbers = Tensor::from_vec((0..24_u8).collect::<Vec<_>>(), (2, 3, 4), &Device::Cpu).unwrap();
    numbers.to_dtype(DType::F32).unwrap().to_dtype(dtype).unwrap()
}

fn map(tensors: &[(&str, Tensor)]) -> VarMap {
    let map = VarMap::new();
    for (name, tensor) in tensors {
        map.data().lock().unwrap().insert((*name).to_owned(), Var::from_tensor(tensor).unwrap());
    }
    map
}

fn state_of(map: &VarMap) -> State<'static> {
    let mut state = State::new();
    state.insert("model", var_map_value(map).unwrap()).unwrap();
    state
}

fn var(map: &VarMap, name: &str) -> Tensor {
    map.data().lock().unwrap()[name].as_tensor().clone()
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    tensor::to_bytes(tensor).unwrap()
}

#[test]
fn every_type_comes_back_bit_for_bit() {
    for dtype in TYPES {
        let tensor = numbers(dtype);
        let view = tensor.view().unwrap();
        let mut state = State::new();
        state.insert("t", view).unwrap();
        let found = state.tensors().unwrap().remove(0);
        let back = from_bytes(&found.bytes().unwrap(), found.dtype(), found.shape(), &Device::Cpu).unwrap();
        assert_eq!((back.dtype(), back.dims()), (dtype, &[2, 3, 4][..]));
        assert_eq!(bytes(&back), bytes(&tensor), "{dtype:?}");
    }
    let scales = from_bytes(&[127, 0, 255], Dtype::F8E8m0fnu, &[3], &Device::Cpu).unwrap();
    assert_eq!(bytes(&scales), [127, 0, 255]);
}

#[test]
fn the_bytes_are_those_of_the_numbers() {
    let tensor = Tensor::new(&[[1.5_f32, -2.0]], &Device::Cpu).unwrap();
    let expected: Vec<u8> = [1.5_f32, -2.0].into_iter().flat_map(f32::to_le_bytes).collect();
    assert_eq!(bytes(&tensor), expected);
    assert_eq!(TensorSource::shape(&tensor), [1, 2]);
}

#[test]
fn the_layout_makes_no_difference() {
    for dtype in TYPES {
        let tensor = numbers(dtype);
        let views = [
            tensor.transpose(0, 2).unwrap(),
            tensor.narrow(1, 1, 2).unwrap(),
            tensor.narrow(0, 1, 1).unwrap(),
            tensor.i_first().broadcast_as((5, 3, 4)).unwrap(),
        ];
        for view in views {
            let plain = view.force_contiguous().unwrap();
            assert_eq!(bytes(&view), bytes(&plain), "{dtype:?} {:?}", view.layout());
        }
    }
}

trait First {
    fn i_first(&self) -> Tensor;
}

impl First for Tensor {
    fn i_first(&self) -> Tensor {
        self.get(0).unwrap()
    }
}

#[test]
fn what_candle_has_not_is_an_error() {
    assert_eq!(dtype::ours(DType::F4).unwrap_err().kind(), ErrorKind::Usage);
    assert!(from_bytes(&[0; 8], Dtype::C64, &[1], &Device::Cpu).is_err());
    assert!(from_bytes(&[0; 7], Dtype::F32, &[2], &Device::Cpu).is_err());
    assert!(from_bytes(&[], Dtype::F32, &[u64::MAX, u64::MAX], &Device::Cpu).is_err());
    assert_eq!(from_bytes(&[], Dtype::F32, &[0, 3], &Device::Cpu).unwrap().dims(), [0, 3]);
}

#[test]
fn a_restore_is_of_all_or_of_nothing() {
    let saved = map(&[("a", numbers(DType::F32)), ("b", numbers(DType::I64))]);
    let state = state_of(&saved);
    let zeros = |dtype| numbers(dtype).zeros_like().unwrap();
    let differing = [
        vec![("a", zeros(DType::F32)), ("b", zeros(DType::F32))],
        vec![("a", zeros(DType::F32)), ("b", zeros(DType::I64)), ("c", zeros(DType::F32))],
        vec![("a", zeros(DType::F32))],
        vec![("a", zeros(DType::F32)), ("b", zeros(DType::I64).flatten_all().unwrap())],
    ];
    for tensors in differing {
        let other = map(&tensors);
        let error = restore_var_map(&other, &state, "model", RestoreOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Incompatible, "{error}");
        assert_eq!(bytes(&var(&other, "a")), bytes(&zeros(DType::F32)), "nothing is touched");
    }
    let other = map(&[("a", zeros(DType::F32)), ("b", zeros(DType::I64))]);
    let kept = var(&other, "a");
    restore_var_map(&other, &state, "model", RestoreOptions::default()).unwrap();
    assert_eq!(bytes(&kept), bytes(&numbers(DType::F32)), "the variable is still the one it was");
}

#[test]
fn a_part_and_a_cast_are_reported() {
    let state = state_of(&map(&[("a", numbers(DType::F32)), ("b", numbers(DType::F32))]));
    let other = map(&[("a", numbers(DType::BF16).zeros_like().unwrap()), ("c", numbers(DType::F32))]);
    let options = RestoreOptions::default().with_partial().with_cast();
    let report = restore_var_map(&other, &state, "model", options).unwrap();
    assert_eq!((report.restored, report.missing), (vec!["a".to_owned()], vec!["c".to_owned()]));
    assert_eq!(report.unexpected, ["b"]);
    assert_eq!(report.cast, [("a".to_owned(), Dtype::F32, Dtype::Bf16)]);
    assert_eq!(bytes(&var(&other, "a")), bytes(&numbers(DType::BF16)));
    // A type that candle can't convert from is one, whatever is allowed.
    let mut state = State::new();
    let complex = TensorView::new(Dtype::C64, [2, 3, 4], vec![0; 192]).unwrap();
    state.insert("model", Value::from_iter([("a", complex.into())])).unwrap();
    assert!(restore_var_map(&other, &state, "model", options).is_err());
    assert_eq!(bytes(&var(&other, "a")), bytes(&numbers(DType::BF16)));
}

/// A model of two layers with its optimizer.
struct Training {
    map: VarMap,
    layers: [Linear; 2],
    sgd: SGD,
}

impl Training {
    fn new() -> Self {
        let map = VarMap::new();
        let build = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
        let layers = [linear(4, 8, build.pp("first")).unwrap(), linear(8, 1, build.pp("second")).unwrap()];
        let sgd = SGD::new(map.all_vars(), 0.05).unwrap();
        Self { map, layers, sgd }
    }

    /// Takes the steps of these numbers; each has data of its own.
    fn train(&mut self, steps: std::ops::Range<u8>) {
        for step in steps {
            let data =
                Tensor::from_vec((0..32).map(|i| f32::from(i ^ step) / 16.0).collect(), (8, 4), &Device::Cpu);
            let data: Tensor = data.unwrap();
            let target = data.sum_keepdim(1).unwrap();
            let hidden = self.layers[0].forward(&data).unwrap().tanh().unwrap();
            let error = loss::mse(&self.layers[1].forward(&hidden).unwrap(), &target).unwrap();
            self.sgd.backward_step(&error).unwrap();
        }
    }

    fn weights(&self) -> Vec<Vec<u8>> {
        let names = ["first.weight", "first.bias", "second.weight", "second.bias"];
        names.map(|name| bytes(&var(&self.map, name))).to_vec()
    }
}

#[test]
fn training_goes_on_bit_for_bit() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["last.safetensors", "last.pt"] {
        let path = directory.path().join(name);
        let mut whole = Training::new();
        whole.train(0..5);
        let mut state = state_of(&whole.map);
        state.insert("step", 5).unwrap();
        save(&path, &state, &SaveOptions::default()).unwrap();
        whole.train(5..12);

        let mut resumed = Training::new();
        assert_ne!(resumed.weights(), whole.weights());
        let state = load(&path, &LoadOptions::default()).unwrap();
        let report = restore_var_map(&resumed.map, &state, "model", RestoreOptions::default()).unwrap();
        assert_eq!(report.restored, ["first.bias", "first.weight", "second.bias", "second.weight"]);
        resumed.train(5..12);
        assert_eq!(resumed.weights(), whole.weights());
    }
}

#[test]
fn what_is_saved_does_not_change_with_the_variable() {
    let map = VarMap::new();
    let tensor = map.get(3, "x", Init::Const(1.0), DType::F32, &Device::Cpu).unwrap();
    let before = bytes(&tensor);
    let state = state_of(&map);
    let zeros = Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap();
    map.data().lock().unwrap()["x"].set(&zeros).unwrap();
    assert_ne!(bytes(&tensor), before);
    assert_eq!(&*state.tensors().unwrap()[0].bytes().unwrap(), &before);
}
