//! A training loop goes on from a snapshot to the bit, and takes all of it or nothing.

use ckpt::tch::{Adam, Group, Optimizer, Part, Sgd, Snapshot};
use ckpt::tensor::Value;
use ckpt::{ErrorKind, LoadOptions, SaveOptions, State, load, save};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tch::nn::{self, Module, VarStore};
use tch::{Device, Kind, Tensor};

use crate::python::drawing;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Progress {
    step: u64,
    lowest: f64,
}

/// A training loop with a bit of everything.
struct Loop {
    store: VarStore,
    model: nn::Sequential,
    optimizer: Optimizer<Adam>,
    data: ChaCha8Rng,
    progress: Progress,
}

impl Loop {
    fn new() -> Self {
        let store = VarStore::new(Device::Cpu);
        let model = nn::seq()
            .add(nn::linear(store.root() / "first", 4, 8, nn::LinearConfig::default()))
            .add_fn(|x| x.relu().dropout(0.5, true))
            .add(nn::linear(store.root() / "second", 8, 1, nn::LinearConfig::default()));
        let optimizer = Optimizer::of(&store, Adam::adamw().with_lr(0.01)).unwrap();
        let progress = Progress { step: 0, lowest: f64::INFINITY };
        Self { store, model, optimizer, data: ChaCha8Rng::seed_from_u64(7), progress }
    }

    fn step(&mut self) {
        let inputs: Vec<f32> = (0..16)
            .map(|_| f32::from(u16::try_from(self.data.next_u32() >> 16).unwrap()) / 65536.0)
            .collect();
        let inputs = Tensor::from_slice(&inputs).view([4, 4]);
        let loss = (self.model.forward(&inputs) - inputs.sum_dim_intlist(1, true, Kind::Float)).square();
        let loss = loss.mean(Kind::Float);
        self.optimizer.set_lr(0.01 / f64::from(u32::try_from(self.progress.step + 1).unwrap()));
        self.optimizer.backward_step(&loss).unwrap();
        self.progress.step += 1;
        self.progress.lowest = self.progress.lowest.min(loss.double_value(&[]));
    }

    fn snapshot(&self) -> State<'_> {
        let snapshot = Snapshot::new().part("model", &self.store).part("optimizer", &self.optimizer);
        let snapshot = snapshot.value("data", &self.data).unwrap().value("progress", &self.progress).unwrap();
        snapshot.random().state().unwrap()
    }

    fn restore(&mut self, state: &State<'_>) -> Result<(), ckpt::Error> {
        Snapshot::restore(state)
            .part("model", &mut self.store)
            .part("optimizer", &mut self.optimizer)
            .value("data", &mut self.data)
            .value("progress", &mut self.progress)
            .random()
            .apply()
    }
}

#[test]
fn a_resumed_loop_takes_the_same_steps() {
    let _alone = drawing();
    tch::manual_seed(3);
    let directory = tempfile::tempdir().unwrap();
    for name in ["half.safetensors", "half.pt"] {
        let path = directory.path().join(name);
        let mut whole = Loop::new();
        (0..7).for_each(|_| whole.step());
        save(&path, &whole.snapshot(), &SaveOptions::default()).unwrap();
        (0..9).for_each(|_| whole.step());

        let mut resumed = Loop::new();
        resumed.step();
        resumed.restore(&load(&path, &LoadOptions::default()).unwrap()).unwrap();
        assert_eq!(resumed.progress.step, 7);
        (0..9).for_each(|_| resumed.step());
        assert_eq!(resumed.snapshot().same_as(&whole.snapshot()).unwrap(), None);
    }
}

/// Returns a loop's state with another optimizer's.
fn with<'a>(saved: &'a Loop, optimizer: &'a impl Part) -> State<'a> {
    let snapshot = Snapshot::new().part("model", &saved.store).part("optimizer", optimizer);
    let snapshot = snapshot.value("data", &saved.data).unwrap().value("progress", &saved.progress).unwrap();
    snapshot.random().state().unwrap()
}

/// Returns a state that has another value under a key.
fn changed(state: &State<'static>, key: &str, value: Value<'static>) -> State<'static> {
    let mut state = state.clone();
    state.insert(key, value).unwrap();
    state
}

/// Returns a state in memory of its own.
fn in_memory(state: &State<'_>) -> State<'static> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("saved.safetensors");
    save(&path, state, &SaveOptions::default()).unwrap();
    load(&path, &LoadOptions::default()).unwrap()
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let _alone = drawing();
    tch::manual_seed(4);
    let mut saved = Loop::new();
    (0..3).for_each(|_| saved.step());
    let good = in_memory(&saved.snapshot());
    let mut receiver = Loop::new();
    receiver.step();
    let before = in_memory(&receiver.snapshot());
    let mut refused = |state: &State<'_>, expected: &str| {
        let error = receiver.restore(state).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Incompatible, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(receiver.snapshot().same_as(&before).unwrap(), None, "{error}");
    };

    refused(&changed(&good, "progress", Value::None), "the value at 'progress'");
    refused(&changed(&good, "model", Value::Map(vec![])), "the state hasn't");
    refused(&changed(&good, "optimizer", Value::None), "no state of an optimizer");
    let store = &saved.store;
    let adam = Optimizer::of(store, Adam::default()).unwrap();
    refused(&with(&saved, &adam), "the state is of Adam, and the optimizer AdamW");
    let sgd = Optimizer::of(store, Sgd::default().with_momentum(0.9)).unwrap();
    refused(&with(&saved, &sgd), "missing field `betas`");
    let group = |begin: &str| Group::matching(store, Adam::adamw(), |name| name.starts_with(begin));
    let two = Optimizer::new(vec![group("first"), group("second")]).unwrap();
    refused(&with(&saved, &two), "has 2 groups, and the optimizer 1");
    let fewer = Optimizer::new(vec![group("first")]).unwrap();
    refused(&with(&saved, &fewer), "has 2 variables, and the optimizer's 4");
    let renamed = store.variables().into_iter().map(|(name, tensor)| (name + "_", tensor));
    let renamed = Optimizer::new(vec![Group::new(Adam::adamw(), renamed)]).unwrap();
    refused(&with(&saved, &renamed), "hasn't 'first.bias'");
    // The right names, and moments of another shape and dtype.
    let longer = store.variables().into_keys().map(|name| (name, trained_vector(Kind::Float)));
    let mut longer = Optimizer::new(vec![Group::new(Adam::adamw(), longer)]).unwrap();
    longer.step().unwrap();
    refused(&with(&saved, &longer), "the state has the shape [3], and the optimizer [8]");
    let doubled = store.variables().into_iter().map(|(name, it)| (name, doubled(&it)));
    let mut doubled = Optimizer::new(vec![Group::new(Adam::adamw(), doubled)]).unwrap();
    doubled.step().unwrap();
    refused(&with(&saved, &doubled), "the state has the dtype f64, and the optimizer f32");

    receiver.restore(&good).unwrap();
    assert_eq!(receiver.snapshot().same_as(&good).unwrap(), None);
}

/// Returns a variable of three elements that has a gradient.
fn trained_vector(kind: Kind) -> Tensor {
    let variable = Tensor::ones([3], (kind, Device::Cpu)).set_requires_grad(true);
    variable.sum(kind).backward();
    variable
}

/// Returns a variable of the same shape in double precision that has a gradient.
fn doubled(variable: &Tensor) -> Tensor {
    let variable = variable.detach().to_kind(Kind::Double).set_requires_grad(true);
    variable.sum(Kind::Double).backward();
    variable
}
