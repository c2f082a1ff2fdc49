//! Random numbers go on after a resume as if nothing had happened, here and in Python.

use ckpt::tch::RandomState;
use ckpt::{LoadOptions, SaveOptions, State, load, save};
use tch::{Tensor, kind};

use crate::python::{HEX, drawing, hex, python, run};

/// Draws what a training step draws: a dropout's mask, and numbers of three distributions.
fn draw() -> String {
    let mask = Tensor::ones([100], kind::FLOAT_CPU).dropout(0.25, true);
    let normal = Tensor::randn([17], kind::FLOAT_CPU);
    let order = Tensor::randperm(50, kind::INT64_CPU);
    [&mask, &normal, &order].map(hex).concat()
}

/// The same in Python.
const DRAW: &str = "
def draw():
    mask = torch.nn.functional.dropout(torch.ones(100), 0.25, True)
    normal = torch.randn(17)
    order = torch.randperm(50)
    return of(mask) + of(normal) + of(order)
";

#[test]
fn a_state_of_here_goes_on_in_python() {
    let Some(python) = python("a_state_of_here_goes_on_in_python") else { return };
    let _alone = drawing();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.pt");
    tch::manual_seed(7);
    draw();
    let mut state = State::new();
    state.insert("random", RandomState::capture().unwrap()).unwrap();
    save(&path, &state, &SaveOptions::default()).unwrap();
    let here = draw();
    let script = format!(
        "{HEX}{DRAW}
torch.manual_seed(7)
draw()
expected = torch.get_rng_state()
random = torch.load(sys.argv[1], weights_only=True)['random']
assert torch.equal(random['cpu'], expected), 'the bytes are those that Python has'
assert len(random['cuda']) == torch.cuda.device_count()
torch.manual_seed(0)
torch.set_rng_state(random['cpu'])
print(draw())"
    );
    assert_eq!(run(&python, &script, &[&path]), here);
}

#[test]
fn a_state_of_python_goes_on_here() {
    let Some(python) = python("a_state_of_python_goes_on_here") else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.pt");
    let script = format!(
        "{HEX}{DRAW}
torch.manual_seed(11)
torch.randn(3)  # an odd number of normals leaves one for later, which is part of the state
random = {{'cpu': torch.get_rng_state(), 'cuda': torch.cuda.get_rng_state_all()}}
torch.save({{'random': random}}, sys.argv[1])
print(draw())"
    );
    let there = run(&python, &script, &[&path]);
    let _alone = drawing();
    tch::manual_seed(0);
    let state = load(&path, &LoadOptions::default()).unwrap();
    RandomState::from_state(&state, "random").unwrap().restore().unwrap();
    assert_eq!(draw(), there);
}
