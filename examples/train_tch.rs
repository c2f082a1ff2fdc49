//! Trains a small transformer on this project's own pages, and can be stopped at any moment.
//!
//! ```sh
//! cargo run --release --features tch --example train_tch -- runs/pages
//! ```
//!
//! needs libtorch, as the README says, and takes half a minute on two cores. It saves in the background, and where the
//! run has a checkpoint it goes on from the newest one that is proven good: after Ctrl-C, `kill -9` or a power cut,
//! start it again, and it comes to the same weights, bit for bit. On SIGTERM it saves a last time and ends with exit
//! code 75, for batch systems that start it again.
//!
//! What makes it so: everything that the next step depends on is in the [`Snapshot`] (weights, moments, both random
//! generators, the count of steps), and libtorch runs on a fixed number of threads.

#![cfg_attr(not(test), expect(clippy::print_stdout, clippy::print_stderr, reason = "it says how far it is"))]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use ckpt::manager::retention::Policy;
use ckpt::manager::triggers::{Due, EXIT_REQUEUE, TriggerOptions};
use ckpt::manager::{Manager, ManagerOptions, SaveRequest};
use ckpt::tch::{Adam, Group, Optimizer, Snapshot};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tch::nn::{self, Module, ModuleT, VarStore};
use tch::{Device, Kind, Tensor};

/// What the model learns to write.
const TEXT: &str = concat!(
    include_str!("../README.md"),
    include_str!("../ARCHITECTURE.md"),
    include_str!("../docs/proof.md"),
    include_str!("../docs/report.md"),
);

/// How many characters the model sees, how many such pieces make a batch, and how often its layers are repeated.
const CONTEXT: i64 = 64;
const BATCH: i64 = 16;
const LAYERS: i64 = 2;
const HEADS: u16 = 4;
const DROPOUT: f64 = 0.1;

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("train_tch: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Trains, and returns the exit code.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> Result<u8, Box<dyn Error>> {
    let options = Options::parse(arguments)?;
    // Another number of threads adds in another order, and rounds otherwise.
    tch::set_num_threads(2);
    tch::set_num_interop_threads(1);
    tch::manual_seed(1);
    Training::new(&options)?.run(&options)
}

/// All that changes from step to step.
struct Training {
    store: VarStore,
    model: nn::FuncT<'static>,
    optimizer: Optimizer<Adam>,
    text: Text,
    /// Chooses what is in a batch. Dropout has libtorch's own generator.
    chooser: ChaCha8Rng,
    progress: Progress,
}

/// How far the training is.
#[derive(Serialize, Deserialize)]
struct Progress {
    step: u64,
    loss: f64,
    schedule: Schedule,
}

impl Training {
    fn new(options: &Options) -> Result<Self, Box<dyn Error>> {
        let text = Text::new(TEXT);
        let store = VarStore::new(Device::Cpu);
        let model = transformer(&store.root(), options.width, text.alphabet);
        let adamw = Adam::adamw().with_betas(0.9, 0.95).with_weight_decay(0.1);
        // Matrices decay; biases and norms don't.
        let decays = |name: &str| name.ends_with("weight") && !name.contains("norm");
        let optimizer = Optimizer::new(vec![
            Group::matching(&store, adamw, decays),
            Group::matching(&store, adamw.with_weight_decay(0.0), |name| !decays(name)),
        ])?;
        let schedule = Schedule { peak: 3e-3, warmup: options.steps / 10, steps: options.steps };
        let progress = Progress { step: 0, loss: f64::NAN, schedule };
        Ok(Self { store, model, optimizer, text, chooser: ChaCha8Rng::seed_from_u64(1), progress })
    }

    fn run(mut self, options: &Options) -> Result<u8, Box<dyn Error>> {
        let triggers = TriggerOptions::default().every_steps(options.every).on_usual_signals();
        let manager = Manager::open(
            &options.run,
            ManagerOptions::default().with_triggers(triggers).with_retention(Policy::default().keep_last(3)),
        )?;
        if let Some(resumed) = manager.resume()? {
            self.restore(&resumed.state)?;
            println!("goes on from {}", resumed.path.display());
        }
        while self.progress.step < self.progress.schedule.steps {
            self.step()?;
            let Progress { step, loss, ref schedule } = self.progress;
            if step.is_multiple_of(options.say) {
                println!("step {step} of {}: loss {loss:.4}", schedule.steps);
            }
            let request = SaveRequest::at(step).with_metric("loss", loss);
            match manager.should_save(step) {
                Some(Due::Final { .. }) => {
                    manager.save(request, &self.snapshot()?)?;
                    manager.finish()?;
                    println!("saved step {step}, to go on later");
                    return Ok(EXIT_REQUEUE);
                }
                // Returns once the state is copied: the next step may change it.
                Some(_) => drop(manager.save_async(request, &self.snapshot()?)?),
                None if step == schedule.steps => drop(manager.save(request, &self.snapshot()?)?),
                None => {}
            }
        }
        // Waits for what is under way, and tells of what failed.
        manager.finish()?;
        println!("done: loss {:.4}", self.progress.loss);
        Ok(0)
    }

    /// Takes one step.
    fn step(&mut self) -> Result<(), ckpt::Error> {
        self.optimizer.set_lr(self.progress.schedule.rate(self.progress.step));
        let (seen, next) = self.text.batch(&mut self.chooser);
        let logits = self.model.forward_t(&seen, true);
        let loss = logits.flatten(0, 1).cross_entropy_for_logits(&next.flatten(0, 1));
        self.optimizer.backward_step(&loss)?;
        self.progress.step += 1;
        self.progress.loss = loss.double_value(&[]);
        Ok(())
    }

    /// Gathers all that the next step depends on.
    fn snapshot(&self) -> Result<ckpt::State<'_>, ckpt::Error> {
        Snapshot::new()
            .part("model", &self.store)
            .part("optimizer", &self.optimizer)
            .value("chooser", &self.chooser)?
            .value("progress", &self.progress)?
            .random()
            .state()
    }

    /// Takes all of it back, or nothing.
    fn restore(&mut self, state: &ckpt::State<'_>) -> Result<(), ckpt::Error> {
        Snapshot::restore(state)
            .part("model", &mut self.store)
            .part("optimizer", &mut self.optimizer)
            .value("chooser", &mut self.chooser)
            .value("progress", &mut self.progress)
            .random()
            .apply()
    }
}

/// A learning rate that rises, and falls along a cosine.
#[derive(Serialize, Deserialize)]
struct Schedule {
    peak: f64,
    warmup: u64,
    steps: u64,
}

impl Schedule {
    fn rate(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.peak * part(step + 1, self.warmup);
        }
        let done = part(step - self.warmup, self.steps - self.warmup);
        self.peak * (0.05 + 0.95 * 0.5 * (1.0 + (std::f64::consts::PI * done).cos()))
    }
}

#[expect(clippy::cast_precision_loss, reason = "no run has 2⁵³ steps")]
fn part(some: u64, all: u64) -> f64 {
    some as f64 / all as f64
}

/// A text, as numbers of its characters.
struct Text {
    numbers: Tensor,
    /// How many characters there are to choose from.
    alphabet: i64,
}

impl Text {
    fn new(text: &str) -> Self {
        let characters: BTreeSet<char> = text.chars().collect();
        let numbers: BTreeMap<char, i64> = characters.into_iter().zip(0..).collect();
        let text: Vec<i64> = text.chars().filter_map(|character| numbers.get(&character).copied()).collect();
        Self {
            numbers: Tensor::from_slice(&text),
            alphabet: numbers.values().map(|number| number + 1).max().unwrap_or(0),
        }
    }

    /// Chooses pieces of the text; returns their characters, and for each the one that follows.
    fn batch(&self, chooser: &mut ChaCha8Rng) -> (Tensor, Tensor) {
        let starts = self.numbers.size1().unwrap_or(0) - CONTEXT;
        let pieces = (0..BATCH).map(|_| {
            let start = i64::from(chooser.next_u32()) % starts;
            self.numbers.narrow(0, start, CONTEXT + 1)
        });
        let pieces = Tensor::stack(&pieces.collect::<Vec<_>>(), 0);
        (pieces.narrow(1, 0, CONTEXT), pieces.narrow(1, 1, CONTEXT))
    }
}

/// Makes a transformer that says which character follows.
fn transformer(path: &nn::Path<'_>, size: u16, alphabet: i64) -> nn::FuncT<'static> {
    let width = i64::from(size);
    let characters = nn::embedding(path / "characters", alphabet, width, nn::EmbeddingConfig::default());
    let places = path.var("places", &[CONTEXT, width], nn::Init::Randn { mean: 0.0, stdev: 0.02 });
    let mut blocks = nn::seq_t();
    for layer in 0..LAYERS {
        blocks = blocks.add(block(&(path / format!("block{layer}")), size));
    }
    let norm = nn::layer_norm(path / "norm", vec![width], nn::LayerNormConfig::default());
    let head = nn::linear(path / "head", width, alphabet, nn::LinearConfig::default());
    nn::func_t(move |numbers, train| {
        let seen = (characters.forward(numbers) + &places).dropout(DROPOUT, train);
        head.forward(&norm.forward(&blocks.forward_t(&seen, train)))
    })
}

/// Makes one layer: attention, then two linear maps, each beside a way past it.
fn block(path: &nn::Path<'_>, size: u16) -> nn::FuncT<'static> {
    let (width, heads, share) = (i64::from(size), i64::from(HEADS), size / HEADS);
    let linear = |name: &str, from, to| nn::linear(path / name, from, to, nn::LinearConfig::default());
    let norm = |name: &str| nn::layer_norm(path / name, vec![width], nn::LayerNormConfig::default());
    let (before, after) = (norm("norm1"), norm("norm2"));
    let (attend, mix) = (linear("attend", width, 3 * width), linear("mix", width, width));
    let (widen, narrow) = (linear("widen", width, 4 * width), linear("narrow", 4 * width, width));
    let later = Tensor::ones([CONTEXT, CONTEXT], (Kind::Bool, Device::Cpu)).triu(1);
    nn::func_t(move |seen, train| {
        let maps = attend.forward(&before.forward(seen)).view([-1, CONTEXT, 3, heads, i64::from(share)]);
        let [query, key, value] = [0, 1, 2].map(|which| maps.select(2, which).transpose(1, 2));
        let scores = query.matmul(&key.transpose(2, 3)) / f64::from(share).sqrt();
        let weights = scores.masked_fill(&later, f64::NEG_INFINITY).softmax(-1, Kind::Float);
        let attended = weights.dropout(DROPOUT, train).matmul(&value).transpose(1, 2).flatten(2, 3);
        let seen = seen + mix.forward(&attended).dropout(DROPOUT, train);
        let inner = widen.forward(&after.forward(&seen)).gelu("none");
        &seen + narrow.forward(&inner).dropout(DROPOUT, train)
    })
}

/// What the command line says.
struct Options {
    /// The directory of the run.
    run: PathBuf,
    /// How many steps there are, and after how many of them it is saved, or told.
    steps: u64,
    every: u64,
    say: u64,
    /// How many numbers stand for a character.
    width: u16,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let usage = "usage: train_tch RUN [--steps 600] [--every 50] [--say 20] [--width 128]";
        let run = arguments.next().filter(|run| !run.starts_with('-')).ok_or(usage)?;
        let mut options = Self { run: run.into(), steps: 600, every: 50, say: 20, width: 128 };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or(usage)?;
            match name.as_str() {
                "--steps" => options.steps = value.parse()?,
                "--every" => options.every = value.parse()?,
                "--say" => options.say = value.parse::<u64>()?.max(1),
                "--width" => options.width = value.parse()?,
                _ => return Err(usage.into()),
            }
        }
        Ok(options)
    }
}
