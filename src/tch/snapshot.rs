//! All that a training loop holds, of one step, in one state.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tch::nn::VarStore;

use super::optimizer::{Loaded, Optimizer, Rule};
use super::random::RandomState;
use super::variables::{plan, variables};
use crate::Error;
use crate::tensor::{RestoreOptions, State, Value, to_value};

/// The key of the random generators.
const RANDOM: &str = "random";

/// Gathers a model, its optimizer, the random state and whatever else a training loop holds.
///
/// All parts are borrowed until the state is saved, or staged by a background save. So none of them takes a step
/// in between, and what is saved is of one step.
///
/// ```
/// use ckpt::tch::{Adam, Optimizer, Snapshot};
/// use serde::{Deserialize, Serialize};
/// use tch::nn::{self, Module};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Progress {
///     step: u64,
///     position: u64,
/// }
///
/// let mut store = nn::VarStore::new(tch::Device::Cpu);
/// let layer = nn::linear(store.root() / "layer", 4, 2, Default::default());
/// let mut optimizer = Optimizer::of(&store, Adam::adamw())?;
/// let mut progress = Progress::default();
///
/// let loss = layer.forward(&tch::Tensor::ones([1, 4], tch::kind::FLOAT_CPU)).sum(tch::Kind::Float);
/// optimizer.backward_step(&loss)?;
/// progress.step += 1;
///
/// let snapshot = Snapshot::new()
///     .part("model", &store)
///     .part("optimizer", &optimizer)
///     .value("progress", &progress)?
///     .random();
/// let directory = tempfile::tempdir().map_err(|error| ckpt::Error::usage(error.to_string()))?;
/// let path = directory.path().join("step-1.safetensors");
/// ckpt::save(&path, &snapshot.state()?, &ckpt::SaveOptions::default())?;
///
/// let state = ckpt::load(&path, &ckpt::LoadOptions::default())?;
/// Snapshot::restore(&state)
///     .part("model", &mut store)
///     .part("optimizer", &mut optimizer)
///     .value("progress", &mut progress)
///     .random()
///     .apply()?;
/// assert_eq!(progress.step, 1);
/// # Ok::<(), ckpt::Error>(())
/// ```
#[derive(Default)]
pub struct Snapshot<'a> {
    parts: Vec<(String, Taken<'a>)>,
}

/// A part of a snapshot, taken when the state is made.
enum Taken<'a> {
    Part(&'a dyn Part),
    Value(Value<'static>),
    Random,
}

/// Something that a training loop holds: its value goes into a snapshot, and comes back from it.
///
/// The variables of a [`VarStore`] and an [`Optimizer`] are parts. What else has tensors can be one too.
pub trait Part {
    /// Returns the value, with the memory of the tensors.
    ///
    /// # Errors
    ///
    /// A tensor has elements that checkpoints have not.
    fn capture(&self) -> Result<Value<'_>, Error>;

    /// Looks for the value at a path of a state, holds it against what is here, reads it, and returns how it is put
    /// in its place. Nothing is changed until then.
    ///
    /// # Errors
    ///
    /// There is no such value, it doesn't fit, or its bytes can't be had.
    fn prepare<'p>(&'p mut self, state: &'p State<'p>, path: &str) -> Result<Prepared<'p>, Error>;
}

/// What puts a value in its place, once all others were found to fit too.
pub struct Prepared<'p>(Box<dyn FnOnce() -> Result<(), Error> + 'p>);

impl<'p> Prepared<'p> {
    /// Takes what is to be done. It fails only where a device does.
    pub fn new(apply: impl FnOnce() -> Result<(), Error> + 'p) -> Self {
        Self(Box::new(apply))
    }
}

impl std::fmt::Debug for Prepared<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prepared")
    }
}

impl Part for VarStore {
    fn capture(&self) -> Result<Value<'_>, Error> {
        variables(self)
    }

    fn prepare<'p>(&'p mut self, state: &'p State<'p>, path: &str) -> Result<Prepared<'p>, Error> {
        let planned = plan(self, state, path, RestoreOptions::default())?;
        Ok(Prepared::new(move || planned.apply().map(drop)))
    }
}

impl<R: Rule> Part for Optimizer<R> {
    fn capture(&self) -> Result<Value<'_>, Error> {
        self.value()
    }

    fn prepare<'p>(&'p mut self, state: &'p State<'p>, path: &str) -> Result<Prepared<'p>, Error> {
        let loaded: Loaded<R> = Self::prepare(self, state, path)?;
        Ok(Prepared::new(move || {
            self.apply(loaded);
            Ok(())
        }))
    }
}

impl<'a> Snapshot<'a> {
    /// Makes a snapshot without parts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the variables of a store, an optimizer, or another [`Part`], under a key of the state's top level.
    #[must_use]
    pub fn part(mut self, key: impl Into<String>, part: &'a impl Part) -> Self {
        self.parts.push((key.into(), Taken::Part(part)));
        self
    }

    /// Adds a value that `serde` can serialise, such as a schedule, the place in the data, or a generator of the
    /// `rand` family ([`to_value`] says which).
    ///
    /// # Errors
    ///
    /// As [`to_value`].
    pub fn value(mut self, key: impl Into<String>, value: &'a impl Serialize) -> Result<Self, Error> {
        self.parts.push((key.into(), Taken::Value(to_value(value)?)));
        Ok(self)
    }

    /// Adds the states of libtorch's random generators, under `random`.
    #[must_use]
    pub fn random(mut self) -> Self {
        self.parts.push((RANDOM.to_owned(), Taken::Random));
        self
    }

    /// Returns the state.
    ///
    /// It has the memory of the tensors, not a copy: see the [room's documentation](crate::tch).
    ///
    /// # Errors
    ///
    /// A key is there twice, a tensor has elements that checkpoints have not, or libtorch refuses.
    pub fn state(&self) -> Result<State<'a>, Error> {
        let mut state = State::new();
        for (key, taken) in &self.parts {
            if state.tree().get(state.tree().root(), key).is_some() {
                return Err(Error::usage(format!("the snapshot has two parts '{}'", key.escape_debug())));
            }
            let value = match taken {
                Taken::Part(part) => part.capture()?,
                Taken::Value(value) => value.clone(),
                Taken::Random => RandomState::capture()?.into(),
            };
            state.insert(key.clone(), value)?;
        }
        Ok(state)
    }

    /// Begins to put the parts of a state back in their places.
    pub fn restore(state: &'a State<'a>) -> Restoring<'a> {
        Restoring { state, prepared: Vec::new(), failed: None }
    }
}

impl std::fmt::Debug for Snapshot<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.parts.iter().map(|(key, _)| key)).finish()
    }
}

/// The parts that a state is restored to: all of them, or where one doesn't fit, none.
#[must_use = "nothing is restored until `apply`"]
#[derive(Debug)]
pub struct Restoring<'a> {
    state: &'a State<'a>,
    prepared: Vec<Prepared<'a>>,
    failed: Option<Error>,
}

impl<'a> Restoring<'a> {
    /// Restores the variables of a store, an optimizer, or another [`Part`].
    pub fn part(self, key: &str, part: &'a mut impl Part) -> Self {
        self.with(|state| part.prepare(state, key))
    }

    /// Restores a value.
    pub fn value<T: DeserializeOwned>(self, key: &str, value: &'a mut T) -> Self {
        self.with(|state| {
            let decoded: T = state.decode(key)?;
            Ok(Prepared::new(move || {
                *value = decoded;
                Ok(())
            }))
        })
    }

    /// Restores libtorch's random generators.
    pub fn random(self) -> Self {
        self.with(|state| {
            let random = RandomState::from_state(state, RANDOM)?;
            // libtorch says only when it takes a state whether it does: it is tried on.
            let before = RandomState::capture()?;
            random.restore()?;
            before.restore()?;
            Ok(Prepared::new(move || random.restore()))
        })
    }

    /// Puts everything in its place.
    ///
    /// # Errors
    ///
    /// A part isn't in the state, or doesn't fit: it is the first such one, and nothing was changed. Where a device
    /// fails while elements are copied to it, some parts are changed.
    pub fn apply(self) -> Result<(), Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.prepared.into_iter().try_for_each(|Prepared(apply)| apply())
    }

    fn with(mut self, prepare: impl FnOnce(&'a State<'a>) -> Result<Prepared<'a>, Error>) -> Self {
        if self.failed.is_none() {
            match prepare(self.state) {
                Ok(prepared) => self.prepared.push(prepared),
                Err(error) => self.failed = Some(error),
            }
        }
        self
    }
}
