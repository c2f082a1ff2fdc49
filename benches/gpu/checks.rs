//! Whether what is saved is what was there.

use std::error::Error;

use ckpt::io::Staging;
use ckpt::tch::{RandomState, restore_variables, variables, view};
use ckpt::{LoadOptions, SaveOptions, State, load, save};
use tch::{Device, Kind, Tensor, no_grad};

use crate::{Options, model};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

type Check = fn(&Options) -> Result<()>;

/// How many threads copy what is on the host.
const COPIERS: usize = 4;

/// Runs all, and prints what came of each. Returns whether all are right.
pub(crate) fn run(options: &Options) -> bool {
    let checks: [(&str, Check); 6] = [
        ("every kind, and strides", kinds_and_strides),
        ("a large state, restored to the device", large_state),
        ("weights changed while a staged state is saved", changed_meanwhile),
        ("work that is still running when a state is staged", computed_before),
        ("work that is still running when a state is saved in place", computed_before_saving),
        ("random numbers after a restore", random_numbers),
    ];
    let mut right = true;
    for (name, check) in checks {
        let said = check(options).map_or_else(|error| format!("FAILED: {error}"), |()| "right".to_owned());
        println!("{name}: {said}");
        right &= said == "right";
    }
    right
}

/// Saves a state, loads it again, and removes the file.
fn through_a_file(options: &Options, state: &State<'_>) -> Result<State<'static>> {
    let path = options.directory.join("ckpt-gpu-check.safetensors");
    save(&path, state, &SaveOptions::default())?;
    let loaded = load(&path, &LoadOptions::default());
    std::fs::remove_file(&path)?;
    Ok(loaded?)
}

/// Holds a loaded tensor against one that libtorch itself brings to the host.
fn compare(state: &State<'_>, name: &str, tensor: &Tensor) -> Result<()> {
    let host = tensor.to_device(Device::Cpu).contiguous();
    let mut wanted = vec![0; host.numel() * host.kind().elt_size_in_bytes()];
    host.f_copy_data_u8(&mut wanted, host.numel())?;
    let found = state.tensor(name).ok_or("it is missing")?;
    if *found.bytes()? == wanted { Ok(()) } else { Err(format!("{name} has other bytes").into()) }
}

fn kinds_and_strides(options: &Options) -> Result<()> {
    let values = Tensor::randn([33, 65], (Kind::Float, options.device)) * 50.0;
    let kinds = [
        Kind::BFloat16,
        Kind::Half,
        Kind::Float,
        Kind::Double,
        Kind::Int64,
        Kind::Uint8,
        Kind::Bool,
        Kind::ComplexFloat,
        Kind::Float8e4m3fn,
    ];
    let mut tensors = Vec::new();
    for kind in kinds {
        let tensor = values.to_kind(kind);
        tensors.push((format!("{kind:?} transposed"), tensor.tr()));
        tensors.push((format!("{kind:?} cut"), tensor.narrow(1, 3, 40).narrow(0, 1, 7)));
        tensors.push((format!("{kind:?}"), tensor));
    }
    tensors.push(("scalar".to_owned(), values.get(0).get(0)));
    tensors.push(("nothing".to_owned(), values.narrow(0, 0, 0)));
    let mut state = State::new();
    for (name, tensor) in &tensors {
        state.insert(name.as_str(), view(tensor)?)?;
    }
    let staged = Staging::new(COPIERS).stage(&state, &[])?;
    for loaded in [through_a_file(options, &staged)?, through_a_file(options, &state)?] {
        for (name, tensor) in &tensors {
            compare(&loaded, name, tensor)?;
        }
    }
    Ok(())
}

fn large_state(options: &Options) -> Result<()> {
    let mut store = model::make(options.device, options.bytes);
    let wanted = model::on_host(&store);
    let mut state = State::new();
    state.insert("model", variables(&store)?)?;
    let staged = Staging::new(COPIERS).stage(&state, &[])?;
    drop(state);
    let loaded = through_a_file(options, &staged)?;
    drop(staged);
    model::wipe(&store);
    restore_variables(&mut store, &loaded, "model", ckpt::tensor::RestoreOptions::default())?;
    let found = store.variables();
    for (name, tensor) in wanted {
        let found = found.get(&name).ok_or("a variable is missing")?;
        if !found.to_device(Device::Cpu).f_equal(&tensor)? {
            return Err(format!("{name} came back with other elements").into());
        }
    }
    Ok(())
}

fn changed_meanwhile(options: &Options) -> Result<()> {
    let store = model::make(options.device, options.bytes / 4);
    let wanted = model::on_host(&store);
    let staging = Staging::new(COPIERS);
    let staged = {
        let mut state = State::new();
        state.insert("model", variables(&store)?)?;
        staging.stage(&state, &[])?
    };
    let loaded = std::thread::scope(|scope| {
        let saver = scope.spawn(|| through_a_file(options, &staged).map_err(|error| error.to_string()));
        for _ in 0..20 {
            model::wipe(&store);
        }
        saver.join().map_err(|_| "the saver panicked".to_owned())?
    })?;
    wanted.iter().try_for_each(|(name, tensor)| compare(&loaded, &format!("model.{name}"), tensor))
}

/// Gives the device work for a while, at the end of which the weight is overwritten with a result.
fn compute(options: &Options, weight: &mut Tensor) -> Tensor {
    let side = if options.device == Device::Cpu { 256 } else { 8192 };
    let mut product = Tensor::randn([side, side], (Kind::Float, options.device));
    for _ in 0..30 {
        product = product.matmul(&product).tanh();
    }
    let result = product.narrow(0, 0, 16).contiguous();
    no_grad(|| weight.copy_(&result.view([-1]).narrow(0, 0, 4096)));
    result
}

fn computed_before(options: &Options) -> Result<()> {
    let mut weight = Tensor::zeros([4096], (Kind::Float, options.device));
    let staging = Staging::new(COPIERS);
    {
        let mut state = State::new();
        state.insert("w", view(&weight)?)?;
        // Memory is allocated now: allocating would wait for the device, and hide a copy that doesn't.
        staging.prepare(&state)?;
    }
    let result = compute(options, &mut weight);
    let staged = {
        let mut state = State::new();
        state.insert("w", view(&weight)?)?;
        staging.stage(&state, &[])?
    };
    drop(weight.fill_(-1.0));
    compare(&through_a_file(options, &staged)?, "w", &result.view([-1]).narrow(0, 0, 4096))
}

fn computed_before_saving(options: &Options) -> Result<()> {
    let mut weight = Tensor::zeros([4096], (Kind::Float, options.device));
    let result = compute(options, &mut weight);
    let mut state = State::new();
    state.insert("w", view(&weight)?)?;
    compare(&through_a_file(options, &state)?, "w", &result.view([-1]).narrow(0, 0, 4096))
}

fn random_numbers(options: &Options) -> Result<()> {
    let mut state = State::new();
    state.insert("random", RandomState::capture()?)?;
    let loaded = through_a_file(options, &state)?;
    let draw = || {
        let mask = Tensor::ones([10_000], (Kind::Float, options.device)).dropout(0.3, true);
        let normal = Tensor::randn([999], (Kind::BFloat16, options.device));
        (mask, normal, Tensor::randn([10], (Kind::Double, Device::Cpu)))
    };
    let (first, other) = (draw(), draw());
    RandomState::from_state(&loaded, "random")?.restore()?;
    let again = draw();
    if first.0.f_equal(&other.0)? {
        return Err("the generator doesn't go on".into());
    }
    if first.0.f_equal(&again.0)? && first.1.f_equal(&again.1)? && first.2.f_equal(&again.2)? {
        return Ok(());
    }
    Err("other numbers were drawn".into())
}
