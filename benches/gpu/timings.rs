//! How long the training loop is held, and when the file is durable.

use std::error::Error;
use std::time::{Duration, Instant};

use ckpt::io::Staging;
use ckpt::tch::variables;
use ckpt::{SaveOptions, State, save};
use tch::nn::VarStore;
use tch::{Cuda, Device, Kind, Tensor};

use crate::{Options, disk, model};

/// How many threads copy what is on the host.
const COPIERS: usize = 4;

/// The times of all rounds.
#[derive(Default)]
struct Times {
    /// Of one copy into pinned memory, by libtorch alone.
    copy: Vec<Duration>,
    /// Of staging.
    held: Vec<Duration>,
    /// From the call until the file is durable.
    durable: Vec<Duration>,
    /// The same, with the file read back and verified.
    verified: Vec<Duration>,
    /// Of as many bytes to the disk, by nobody in particular.
    disk: Vec<Duration>,
    is_direct: bool,
}

/// Measures, one after the other in each round, and prints the table.
pub(crate) fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let store = model::make(options.device, options.bytes);
    let mut state = State::new();
    state.insert("model", variables(&store)?)?;
    let bytes = state.len_bytes();
    let staging = Staging::new(COPIERS);
    staging.prepare(&state)?;
    drop(state);
    let from = Tensor::zeros([i64::try_from(bytes)?], (Kind::Uint8, options.device));
    let mut to = Tensor::zeros([i64::try_from(bytes)?], (Kind::Uint8, Device::Cpu));
    if options.device != Device::Cpu {
        to = to.pin_memory(options.device);
    }
    let mut times = Times::default();
    // The first round is to touch memory and files, and doesn't count.
    for round in 0..=options.rounds {
        let mut one = Times::default();
        measure(options, &store, &staging, (&from, &mut to), &mut one)?;
        if round > 0 {
            times.add(one);
        }
    }
    times.print(bytes);
    Ok(())
}

fn measure(
    options: &Options,
    store: &VarStore,
    staging: &Staging,
    (from, to): (&Tensor, &mut Tensor),
    times: &mut Times,
) -> Result<(), Box<dyn Error>> {
    synchronize(options.device);
    let start = Instant::now();
    to.copy_(from);
    synchronize(options.device);
    times.copy.push(start.elapsed());

    let path = options.directory.join("ckpt-gpu-timing.safetensors");
    for verify in [false, true] {
        synchronize(options.device);
        let start = Instant::now();
        let mut state = State::new();
        state.insert("model", variables(store)?)?;
        let staged = staging.stage(&state, &[])?;
        let held = start.elapsed();
        drop(state);
        let options = SaveOptions::default();
        save(&path, &staged, &if verify { options } else { options.without_validation() })?;
        let elapsed = start.elapsed();
        times.held.push(held);
        let times = if verify { &mut times.verified } else { &mut times.durable };
        times.push(elapsed);
        std::fs::remove_file(&path)?;
    }
    let (elapsed, is_direct) =
        disk::write(&options.directory.join("ckpt-gpu-raw"), from.size1()?.unsigned_abs())?;
    times.disk.push(elapsed);
    times.is_direct = is_direct;
    Ok(())
}

fn synchronize(device: Device) {
    if let Device::Cuda(index) = device {
        Cuda::synchronize(i64::try_from(index).unwrap_or(0));
    }
}

impl Times {
    fn add(&mut self, one: Self) {
        self.copy.extend(one.copy);
        self.held.extend(one.held);
        self.durable.extend(one.durable);
        self.verified.extend(one.verified);
        self.disk.extend(one.disk);
        self.is_direct = one.is_direct;
    }

    fn print(self, bytes: u64) {
        let Self { copy, held, durable, verified, disk, is_direct } = self;
        let [copy, held, durable, verified, disk] = [copy, held, durable, verified, disk].map(median);
        let gigabytes = Duration::from_nanos(bytes).as_secs_f64();
        let row = |name: &str, time: Duration, against: &str| {
            let seconds = time.as_secs_f64();
            println!("| {name} | {seconds:.3} s | {:.2} GB/s | {against} |", gigabytes / seconds);
        };
        let ratio = |time: Duration, other: Duration| time.as_secs_f64() / other.as_secs_f64();
        let slower = copy.max(disk);
        println!("| work | median | rate | against |\n|---|---|---|---|");
        row("one pinned copy by libtorch", copy, "");
        row("raw write to the disk", disk, if is_direct { "around the cache" } else { "through the cache" });
        row(
            "the loop is held",
            held,
            &format!("{:.2} of the pinned copy (aim: at most 1.15)", ratio(held, copy)),
        );
        let reached =
            format!("{:.2} of the slower of copy and disk (aim: at least 0.9)", ratio(slower, durable));
        row("from the call until durable", durable, &reached);
        row("the same, read back and verified", verified, "");
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
