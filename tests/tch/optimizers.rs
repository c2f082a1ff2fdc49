//! Each optimizer takes the steps that `torch.optim` takes, to the bit, and goes on from the other's state.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use ckpt::tch::{Adam, Group, Optimizer, Rule, Sgd, view};
use ckpt::tensor::Value;
use ckpt::{Dtype, LoadOptions, SaveOptions, State, load, save};
use tch::{Kind, Tensor};
use tempfile::TempDir;

use crate::python::python;

const STEPS: usize = 100;
const HALF: usize = 50;

/// The variables, as the script has them: those with `weight` in their name are one group.
const NAMES: [&str; 4] = ["conv.weight", "conv.bias", "scale", "head.weight"];

/// A rule of either kind.
#[derive(Clone, Copy)]
enum Chosen {
    Sgd(Sgd),
    Adam(Adam),
}

/// The variants of the script, with the hyperparameters that it gives them.
fn variants() -> Vec<(&'static str, Chosen)> {
    let sgd = Sgd::default();
    let (adam, adamw) = (Adam::default().with_lr(1e-2), Adam::adamw().with_lr(1e-2));
    vec![
        ("sgd", Chosen::Sgd(sgd.with_lr(0.1))),
        ("sgd_decay", Chosen::Sgd(sgd.with_lr(0.1).with_weight_decay(0.03))),
        ("sgd_momentum", Chosen::Sgd(sgd.with_lr(0.05).with_momentum(0.9))),
        (
            "sgd_dampening",
            Chosen::Sgd(sgd.with_lr(0.05).with_momentum(0.9).with_dampening(0.3).with_weight_decay(0.01)),
        ),
        (
            "sgd_nesterov",
            Chosen::Sgd(sgd.with_lr(0.05).with_momentum(0.8).with_nesterov().with_weight_decay(0.01)),
        ),
        ("sgd_maximize", Chosen::Sgd(sgd.with_lr(0.05).with_momentum(0.8).with_maximize())),
        ("adam", Chosen::Adam(adam)),
        ("adam_decay", Chosen::Adam(adam.with_betas(0.8, 0.95).with_eps(1e-6).with_weight_decay(0.1))),
        ("adam_amsgrad", Chosen::Adam(adam.with_amsgrad())),
        ("adam_maximize", Chosen::Adam(adam.with_maximize().with_weight_decay(0.1))),
        ("adam_complex", Chosen::Adam(adam.with_amsgrad().with_weight_decay(0.1))),
        ("adamw", Chosen::Adam(adamw)),
        ("adamw_amsgrad", Chosen::Adam(adamw.with_amsgrad().with_weight_decay(0.2))),
        ("adamw_bf16", Chosen::Adam(adamw.with_betas(0.9, 0.95))),
        ("adamw_f64", Chosen::Adam(adamw.with_maximize())),
    ]
}

/// What Python trained: made once for all tests.
struct Made {
    python: PathBuf,
    directory: TempDir,
    state: State<'static>,
}

fn made(test: &str) -> Option<&'static Made> {
    static MADE: OnceLock<Made> = OnceLock::new();
    let python = python(test)?;
    Some(MADE.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made.pt");
        script(&python, &["make".as_ref(), &path]);
        let state = load(&path, &LoadOptions::default()).unwrap();
        Made { python, directory, state }
    }))
}

fn script(python: &Path, arguments: &[&Path]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/optimizers.py");
    let output = Command::new(python).arg(script).args(arguments).output().expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the script prints text")
}

/// Returns the tensor at a path, as one of tch's.
fn tensor(state: &State<'_>, path: &str) -> Option<Tensor> {
    let found = state.tensor(path)?;
    let kind = match found.dtype() {
        Dtype::F32 => Kind::Float,
        Dtype::F64 => Kind::Double,
        Dtype::Bf16 => Kind::BFloat16,
        Dtype::C64 => Kind::ComplexFloat,
        other => panic!("the script has no {other}"),
    };
    let shape: Vec<i64> = found.shape().iter().map(|length| i64::try_from(*length).unwrap()).collect();
    Some(Tensor::from_data_size(&found.bytes().unwrap(), &shape, kind))
}

/// The variables of a variant, as they are at a path.
fn variables(state: &State<'_>, path: &str) -> Vec<(&'static str, Tensor)> {
    let variable = |name| (name, tensor(state, &format!("{path}.{name}")).unwrap().set_requires_grad(true));
    NAMES.into_iter().map(variable).collect()
}

fn optimizer<R: Rule>(rule: R, third: R, variables: &[(&'static str, Tensor)]) -> Optimizer<R> {
    let group = |rule: R, weights: bool| {
        let members = variables.iter().filter(|(name, _)| name.contains("weight") == weights);
        Group::new(rule, members.map(|(name, tensor)| (*name, tensor.shallow_clone())))
    };
    Optimizer::new(vec![group(rule, true), group(third, false)]).unwrap()
}

/// Gives a variable a gradient, as a backward pass does.
fn give_gradient(variable: &Tensor, gradient: &Tensor) {
    let product = if gradient.is_complex() {
        (variable * gradient.conj()).real().sum(Kind::Float)
    } else {
        (variable * gradient).sum(gradient.kind())
    };
    product.backward();
}

/// Takes the steps that the script takes.
fn train<R: Rule>(
    optimizer: &mut Optimizer<R>,
    variables: &[(&'static str, Tensor)],
    state: &State<'_>,
    variant: &str,
    steps: std::ops::Range<usize>,
) {
    for step in steps {
        optimizer.zero_grad().unwrap();
        for (name, variable) in variables {
            if let Some(gradient) = tensor(state, &format!("{variant}.gradients.{step}.{name}")) {
                give_gradient(variable, &gradient);
            }
        }
        let rates: Vec<f64> = state.decode(&format!("{variant}.rates.{step}")).unwrap();
        for (rule, rate) in optimizer.rules_mut().zip(rates) {
            rule.set_lr(rate);
        }
        optimizer.step().unwrap();
    }
}

/// Returns what a training loop would save.
fn saved<'a, R: Rule>(optimizer: &'a Optimizer<R>, variables: &'a [(&'static str, Tensor)]) -> State<'a> {
    let mut state = State::new();
    let model = variables.iter().map(|(name, tensor)| (*name, view(tensor).unwrap().into()));
    state.insert("model", model.collect::<Value<'_>>()).unwrap();
    state.insert("optimizer", optimizer.value().unwrap()).unwrap();
    state
}

/// Holds variables and slots against the script's, bit by bit.
#[track_caller]
fn assert_same(ours: &State<'_>, made: &State<'_>, variant: &str, when: &str) {
    let prefix = format!("{variant}.{when}.");
    let theirs = made.tensors().unwrap().into_iter().filter(|it| it.name().starts_with(&prefix));
    let mut count = 0;
    for their in theirs {
        let name = their.name().strip_prefix(&prefix).unwrap();
        let name = name.strip_prefix("params").map_or(name.to_owned(), |name| format!("model{name}"));
        let our = ours.tensor(&name).unwrap_or_else(|| panic!("{variant}: there is no {name}"));
        assert_eq!((our.dtype(), our.shape()), (their.dtype(), their.shape()), "{variant}: {name}");
        assert!(our.bytes().unwrap() == their.bytes().unwrap(), "{variant}: {name} has other bits {when}");
        count += 1;
    }
    assert_eq!(count, ours.tensors().unwrap().len(), "{variant}: the state has as many tensors");
}

/// Runs a test on each variant, with the rule of its kind and one of a third of its rate.
macro_rules! each {
    ($run:ident, $made:expr) => {
        for (variant, chosen) in variants() {
            match chosen {
                Chosen::Sgd(rule) => $run($made, variant, rule, rule.with_lr(rule.lr / 3.0)),
                Chosen::Adam(rule) => $run($made, variant, rule, rule.with_lr(rule.lr / 3.0)),
            }
        }
    };
}

#[test]
fn every_step_has_the_bits_of_pythons() {
    fn run<R: Rule>(made: &Made, variant: &str, rule: R, third: R) {
        let variables = variables(&made.state, &format!("{variant}.first"));
        let mut optimizer = optimizer(rule, third, &variables);
        train(&mut optimizer, &variables, &made.state, variant, 0..HALF);
        assert_same(&saved(&optimizer, &variables), &made.state, variant, "half");
        train(&mut optimizer, &variables, &made.state, variant, HALF..STEPS);
        assert_same(&saved(&optimizer, &variables), &made.state, variant, "last");
    }
    let Some(made) = made("every_step_has_the_bits_of_pythons") else { return };
    each!(run, made);
}

#[test]
fn goes_on_from_pythons_state() {
    fn run<R: Rule>(made: &Made, variant: &str, rule: R, third: R) {
        let variables = variables(&made.state, &format!("{variant}.half.params"));
        let mut optimizer = optimizer(rule, third, &variables);
        optimizer.restore(&made.state, &format!("{variant}.half.optimizer")).unwrap();
        train(&mut optimizer, &variables, &made.state, variant, HALF..STEPS);
        assert_same(&saved(&optimizer, &variables), &made.state, variant, "last");
    }
    let Some(made) = made("goes_on_from_pythons_state") else { return };
    each!(run, made);
}

#[test]
fn python_goes_on_from_our_state() {
    fn run<R: Rule>(made: &Made, variant: &str, rule: R, third: R) {
        let variables = variables(&made.state, &format!("{variant}.first"));
        let mut optimizer = optimizer(rule, third, &variables);
        train(&mut optimizer, &variables, &made.state, variant, 0..HALF);
        let path = made.directory.path().join(format!("{variant}.pt"));
        save(&path, &saved(&optimizer, &variables), &SaveOptions::default()).unwrap();
    }
    let Some(made) = made("python_goes_on_from_our_state") else { return };
    each!(run, made);
    let directory = made.directory.path();
    let said = script(&made.python, &["continue".as_ref(), &directory.join("made.pt"), directory]);
    let expected: Vec<_> = variants().iter().map(|(variant, _)| format!("{variant} same")).collect();
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}
