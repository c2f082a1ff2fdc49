//! burn: every kind of parameter comes back, and training goes on bit for bit.

use burn_autodiff::Autodiff;
use burn_core as burn;
use burn_core::module::{AutodiffModule, Module, Param, ParamId};
use burn_core::tensor::backend::Backend;
use burn_core::tensor::{Bool, DType, Int, Tensor, TensorData};
use burn_ndarray::{NdArray, NdArrayDevice};
use burn_nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn_optim::lr_scheduler::LrScheduler;
use burn_optim::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn_optim::momentum::MomentumConfig;
use burn_optim::{AdamConfig, AdamWConfig, GradientsParams, Optimizer, SgdConfig};
use ckpt::burn::{module_value, optimizer_value, read_optimizer, read_record, record_value, restore_module};
use ckpt::tensor::{RestoreOptions, TensorSource, TensorView, Value};
use ckpt::{Dtype, ErrorKind, LoadOptions, SaveOptions, State, load, save};

type Plain = NdArray<f32>;
type Trained = Autodiff<Plain>;

const DEVICE: NdArrayDevice = NdArrayDevice::Cpu;

/// A model with a parameter of each kind, in fields and in a list.
#[derive(Module, Debug)]
struct Model<B: Backend> {
    layers: Vec<Linear<B>>,
    norm: BatchNorm<B>,
    counts: Param<Tensor<B, 1, Int>>,
    mask: Param<Tensor<B, 2, Bool>>,
}

impl<B: Backend> Model<B> {
    fn new(device: &B::Device) -> Self {
        let mask = Tensor::from_data([[true, false, true]], device);
        Self {
            layers: vec![LinearConfig::new(4, 8).init(device), LinearConfig::new(8, 1).init(device)],
            norm: BatchNormConfig::new(8).init(device),
            counts: Param::initialized(ParamId::new(), Tensor::from_data([1, -2, 3], device)),
            mask: Param::initialized(ParamId::new(), mask),
        }
    }

    fn forward(&self, input: Tensor<B, 2>) -> Tensor<B, 2> {
        self.layers[1].forward(self.norm.forward(self.layers[0].forward(input)).tanh())
    }
}

/// Returns the state of a module, as names with dtypes and elements.
fn elements<B: Backend, M: Module<B>>(module: &M) -> Vec<(String, Dtype, Vec<u8>)> {
    let mut state = State::new();
    state.insert("model", module_value(module).unwrap()).unwrap();
    let tensors = state.tensors().unwrap();
    tensors.iter().map(|t| (t.name().to_owned(), t.dtype(), t.bytes().unwrap().into_owned())).collect()
}

/// Takes the steps of these numbers; each has data of its own.
fn train<O: Optimizer<Model<Trained>, Trained>>(
    mut model: Model<Trained>,
    optimizer: &mut O,
    steps: std::ops::Range<u8>,
) -> Model<Trained> {
    for step in steps {
        let numbers: Vec<f32> = (0..32).map(|i: u8| f32::from(i ^ step) / 16.0).collect();
        let data = Tensor::<Trained, 2>::from_data(TensorData::new(numbers, [8, 4]), &DEVICE);
        let error = model.forward(data.clone()) - data.sum_dim(1);
        let loss = (error.clone() * error).mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(0.01, model, gradients);
    }
    model
}

/// Trains in one go, and with a save and a resume in between.
fn goes_on<O, R>(make: impl Fn() -> O)
where
    O: Optimizer<Model<Trained>, Trained>,
    O::Record: IntoIterator<Item = (ParamId, R)> + FromIterator<(ParamId, R)>,
    R: burn::record::Record<Trained>,
{
    let directory = tempfile::tempdir().unwrap();
    for name in ["last.safetensors", "last.pt"] {
        let path = directory.path().join(name);
        let mut optimizer = make();
        let whole = train(Model::new(&DEVICE), &mut optimizer, 0..5);
        let mut state = State::new();
        state.insert("model", module_value(&whole).unwrap()).unwrap();
        state.insert("optimizer", optimizer_value(&whole, optimizer.to_record()).unwrap()).unwrap();
        save(&path, &state, &SaveOptions::default()).unwrap();
        let whole = elements(&train(whole, &mut optimizer, 5..12));

        let mut resumed = Model::<Trained>::new(&DEVICE);
        let state = load(&path, &LoadOptions::default()).unwrap();
        restore_module(&mut resumed, &state, "model", RestoreOptions::default()).unwrap();
        let record = read_optimizer(&resumed, &state, "optimizer", &DEVICE).unwrap();
        let mut optimizer = make().load_record(record);
        let resumed = elements(&train(resumed, &mut optimizer, 5..12));
        assert_eq!(resumed, whole);

        // Without the optimizer's state it isn't the same: the test would see it.
        let mut forgetful = Model::<Trained>::new(&DEVICE);
        restore_module(&mut forgetful, &state, "model", RestoreOptions::default()).unwrap();
        assert_ne!(elements(&train(forgetful, &mut make(), 5..12)), whole);
    }
}

#[test]
fn training_with_adam_goes_on_bit_for_bit() {
    goes_on(|| AdamConfig::new().init::<Trained, Model<Trained>>());
}

#[test]
fn training_with_adamw_goes_on_bit_for_bit() {
    goes_on(|| AdamWConfig::new().with_weight_decay(0.1).init::<Trained, Model<Trained>>());
}

#[test]
fn training_with_momentum_goes_on_bit_for_bit() {
    goes_on(|| SgdConfig::new().with_momentum(Some(MomentumConfig::new())).init::<Trained, Model<Trained>>());
}

#[test]
fn names_are_those_of_the_fields() {
    let names: Vec<_> = elements(&Model::<Plain>::new(&DEVICE))
        .into_iter()
        .map(|(name, dtype, bytes)| (name, dtype, bytes.len()))
        .collect();
    let expected = [
        ("layers.0.weight", Dtype::F32, 128),
        ("layers.0.bias", Dtype::F32, 32),
        ("layers.1.weight", Dtype::F32, 32),
        ("layers.1.bias", Dtype::F32, 4),
        ("norm.gamma", Dtype::F32, 32),
        ("norm.beta", Dtype::F32, 32),
        ("norm.running_mean", Dtype::F32, 32),
        ("norm.running_var", Dtype::F32, 32),
        ("counts", Dtype::I64, 24),
        ("mask", Dtype::Bool, 3),
    ];
    assert_eq!(names, expected.map(|(name, dtype, len)| (format!("model.{name}"), dtype, len)));
}

#[test]
fn what_a_norm_has_seen_is_saved() {
    let model = Model::<Trained>::new(&DEVICE);
    let before = elements(&model);
    let data = Tensor::<Trained, 2>::ones([8, 4], &DEVICE);
    drop(model.forward(data));
    let after = elements(&model);
    let changed: Vec<_> =
        before.iter().zip(&after).filter(|(a, b)| a != b).map(|(a, _)| a.0.as_str()).collect();
    assert_eq!(changed, ["model.norm.running_mean", "model.norm.running_var"]);
}

#[test]
fn a_restored_module_is_trained_as_before() {
    let mut state = State::new();
    state.insert("model", module_value(&Model::<Trained>::new(&DEVICE)).unwrap()).unwrap();
    let mut model = Model::<Trained>::new(&DEVICE);
    model.layers[0] = model.layers[0].clone().no_grad();
    let ids =
        |model: &Model<Trained>| [model.layers[0].weight.id, model.layers[1].weight.id, model.counts.id];
    let before = ids(&model);
    restore_module(&mut model, &state, "model", RestoreOptions::default()).unwrap();
    let trained = |layer: &Linear<Trained>| layer.weight.is_require_grad();
    assert_eq!((trained(&model.layers[0]), trained(&model.layers[1])), (false, true));
    assert_eq!(ids(&model), before);
    // The same names on the backend without gradients.
    let mut plain = model.valid();
    restore_module(&mut plain, &state, "model", RestoreOptions::default()).unwrap();
    assert_eq!(elements(&plain), elements(&model));
}

#[test]
fn a_restore_is_of_all_or_of_nothing() {
    let mut model = Model::<Plain>::new(&DEVICE);
    let whole = module_value(&Model::<Plain>::new(&DEVICE)).unwrap();
    let Value::Map(entries) = whole else { panic!("a map") };
    let tensor =
        |dtype, shape: &[u64], len| Value::from(TensorView::new(dtype, shape, vec![1; len]).unwrap());
    let replace = |name: &str, by: Option<Value<'static>>| {
        let mut entries = entries.clone();
        entries.retain(|(key, _)| !matches!(key, Value::Text(text) if text == name));
        entries.extend(by.map(|value| (name.into(), value)));
        let mut state = State::new();
        state.insert("model", Value::Map(entries)).unwrap();
        state
    };
    let before = elements(&model);
    for state in [
        replace("mask", None),
        replace("more", Some(tensor(Dtype::F32, &[1], 4))),
        replace("counts", Some(tensor(Dtype::I32, &[3], 12))),
        replace("counts", Some(tensor(Dtype::I64, &[3, 1], 24))),
    ] {
        let error = restore_module(&mut model, &state, "model", RestoreOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Incompatible, "{error}");
        assert_eq!(elements(&model), before);
    }
    // A type that burn hasn't is refused whatever is allowed.
    let state = replace("norm.gamma", Some(tensor(Dtype::F8E4m3fn, &[8], 8)));
    let options = RestoreOptions::default().with_partial().with_cast();
    assert!(restore_module(&mut model, &state, "model", options).is_err());
    assert_eq!(elements(&model), before);
}

#[test]
fn a_part_and_a_cast_are_reported() {
    let mut state = State::new();
    let numbers: Vec<u8> = [7_i32, -8, 9].iter().flat_map(|n| n.to_le_bytes()).collect();
    let counts = TensorView::new(Dtype::I32, [3], numbers).unwrap();
    let mask = TensorView::new(Dtype::Bool, [1, 3], vec![0, 2, 255]).unwrap();
    let model = Value::from_iter([("counts", counts.into()), ("mask", mask.into())]);
    state.insert("model", model).unwrap();
    let mut model = Model::<Plain>::new(&DEVICE);
    let options = RestoreOptions::default().with_partial().with_cast();
    let report = restore_module(&mut model, &state, "model", options).unwrap();
    assert_eq!(report.restored, ["counts", "mask"]);
    assert_eq!(report.cast, [("counts".to_owned(), Dtype::I32, Dtype::I64)]);
    assert_eq!(report.missing.len(), 8);
    assert_eq!(model.counts.val().into_data().to_vec::<i64>().unwrap(), [7, -8, 9]);
    // Any byte but zero is true, and the tensor holds ones.
    assert_eq!(model.mask.val().into_data().to_vec::<bool>().unwrap(), [false, true, true]);
}

#[test]
fn the_layout_makes_no_difference() {
    let tensor = Tensor::<Plain, 1, Int>::arange(0..24, &DEVICE).reshape([2, 3, 4]);
    let views = [tensor.clone().swap_dims(0, 2), tensor.clone().slice([0..2, 1..3, 1..2]), tensor.flip([1])];
    for view in views {
        let numbers: Vec<u8> = view.to_data().iter::<i64>().flat_map(i64::to_le_bytes).collect();
        let ours = view.view().unwrap();
        let mut state = State::new();
        state.insert("t", ours).unwrap();
        let found = state.tensors().unwrap().remove(0);
        assert_eq!((found.dtype(), &*found.bytes().unwrap()), (Dtype::I64, &numbers[..]));
        assert_eq!(found.shape(), TensorSource::shape(&view));
    }
}

#[test]
fn every_type_that_the_backend_has_comes_back() {
    for (burn, ours) in [
        (DType::F64, Dtype::F64),
        (DType::F32, Dtype::F32),
        (DType::I64, Dtype::I64),
        (DType::I32, Dtype::I32),
        (DType::I16, Dtype::I16),
        (DType::I8, Dtype::I8),
        (DType::U64, Dtype::U64),
        (DType::U32, Dtype::U32),
        (DType::U16, Dtype::U16),
        (DType::U8, Dtype::U8),
    ] {
        let data = TensorData::from([1_i32, 2, 100]).convert_dtype(burn);
        let expected = data.as_bytes().to_vec();
        let saved = if burn.is_float() {
            elements(&Param::initialized(
                ParamId::new(),
                Tensor::<Plain, 1>::from_data(data, (&DEVICE, burn)),
            ))
        } else {
            let tensor = Tensor::<Plain, 1, Int>::from_data(data, (&DEVICE, burn));
            elements(&Param::initialized(ParamId::new(), tensor))
        };
        assert_eq!(saved, [("model.".to_owned(), ours, expected)], "{burn:?}");
    }
}

#[test]
fn a_schedule_goes_on() {
    let make = || CosineAnnealingLrSchedulerConfig::new(0.1, 50).init().unwrap();
    let mut whole = make();
    for _ in 0..7 {
        whole.step();
    }
    let mut state = State::new();
    state.insert("schedule", record_value::<Plain, _>(whole.to_record::<Plain>()).unwrap()).unwrap();
    let mut resumed =
        make().load_record::<Plain>(read_record::<Plain, _>(&state, "schedule", &DEVICE).unwrap());
    assert_eq!(resumed.step().to_bits(), whole.step().to_bits());
    assert!(read_record::<Plain, usize>(&state, "elsewhere", &DEVICE).is_err());
}

#[test]
fn a_record_that_fits_nothing_is_refused() {
    let mut optimizer = AdamConfig::new().init::<Trained, Model<Trained>>();
    let model = train(Model::new(&DEVICE), &mut optimizer, 0..1);
    let other = Model::<Trained>::new(&DEVICE);
    let error = optimizer_value(&other, optimizer.to_record()).unwrap_err();
    assert!(error.to_string().contains("trains another one"), "{error}");

    let mut state = State::new();
    state.insert("optimizer", optimizer_value(&model, optimizer.to_record()).unwrap()).unwrap();
    let linear = LinearConfig::new(4, 8).init::<Trained>(&DEVICE);
    let names_another = read_optimizer::<_, Trained, _, _, Vec<(ParamId, Option<usize>)>>;
    assert!(names_another(&linear, &state, "optimizer", &DEVICE).is_err());
    assert!(names_another(&linear, &state, "gone", &DEVICE).is_err());

    // Bytes that are no record.
    let mut state = State::new();
    let bytes = TensorView::new(Dtype::U8, [3], vec![1, 2, 3]).unwrap();
    state.insert("optimizer", Value::from_iter([("weight", bytes.into())])).unwrap();
    assert!(names_another(&linear, &state, "optimizer", &DEVICE).is_err());
}

#[test]
fn equal_models_give_equal_bytes() {
    let mut optimizer = AdamConfig::new().init::<Trained, Model<Trained>>();
    let model = train(Model::new(&DEVICE), &mut optimizer, 0..2);
    let state = || {
        let mut state = State::new();
        state.insert("model", module_value(&model).unwrap()).unwrap();
        state.insert("optimizer", optimizer_value(&model, optimizer.to_record()).unwrap()).unwrap();
        state
    };
    let directory = tempfile::tempdir().unwrap();
    let files = ["a.safetensors", "b.safetensors"].map(|name| {
        let path = directory.path().join(name);
        save(&path, &state(), &SaveOptions::default()).unwrap();
        std::fs::read(path).unwrap()
    });
    assert!(files[0] == files[1]);
}
