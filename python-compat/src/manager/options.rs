//! Keyword arguments of Python as the manager's options.

use std::collections::BTreeMap;
use std::sync::Arc;

use ckpt::manager::background::{OnFailure, Retry, SaverOptions, WhenBusy};
use ckpt::manager::retention::{Every, Policy, Rule};
use ckpt::manager::triggers::{Answer, Deadline, Signal, TriggerOptions};
use ckpt::manager::{ManagerOptions, ResumeOptions, SaveRequest, Semantic};
use ckpt::{Error, LoadOptions};
use pyo3::prelude::*;

use super::events::reporter;
use crate::errors;
use crate::memory::Storages;
use crate::options::{LoadArguments, SaveArguments, duration, level, wrong};

/// What a manager can be asked for, as `ckpt/manager.py` passes it.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct ManagerArguments {
    save: SaveArguments,
    retention: Option<PolicyArguments>,
    triggers: TriggerArguments,
    when_busy: String,
    on_failure: String,
    attempts: u32,
    copiers: Option<usize>,
    niceness: u8,
    expect_change: bool,
    expect_optimizer_steps: bool,
    reporter: Py<PyAny>,
}

impl ManagerArguments {
    pub(super) fn options(self, py: Python<'_>) -> PyResult<ManagerOptions> {
        let mut saver = SaverOptions::default()
            .with_when_busy(when_busy(&self.when_busy)?)
            .with_on_failure(on_failure(&self.on_failure)?)
            .with_retry(Retry { attempts: self.attempts, ..Retry::default() })
            .with_niceness(self.niceness)
            .with_reporter(reporter(self.reporter));
        saver.copiers = self.copiers.unwrap_or(saver.copiers);
        let mut semantic = Semantic::default();
        if !self.expect_change {
            semantic = semantic.without_comparison();
        }
        if !self.expect_optimizer_steps {
            semantic = semantic.without_optimizer_steps();
        }
        let mut options = ManagerOptions::default()
            .with_save(self.save.options()?)
            .with_saver(saver)
            .with_triggers(self.triggers.options(py)?)
            .with_semantic(semantic);
        options.retention = self.retention.map(|policy| policy.policy(py)).transpose()?;
        Ok(options)
    }
}

/// Which checkpoints are kept.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct PolicyArguments {
    keep_last: Option<u64>,
    keep_best: Vec<String>,
    keep_every: Vec<String>,
    keep_within_seconds: Option<f64>,
    remove_damaged: bool,
}

impl PolicyArguments {
    pub(super) fn policy(self, py: Python<'_>) -> PyResult<Policy> {
        let raise = |error: Error| errors::raise(py, &error);
        let mut rules: Vec<Rule> = self.keep_last.map(Rule::Last).into_iter().collect();
        for best in &self.keep_best {
            rules.push(Rule::Best(best.parse().map_err(raise)?));
        }
        for every in &self.keep_every {
            rules.push(Rule::Every(every.parse::<Every>().map_err(raise)?));
        }
        if let Some(seconds) = self.keep_within_seconds {
            rules.push(Rule::Within(duration("keep_within", seconds)?));
        }
        let policy = rules.into_iter().fold(Policy::default(), Policy::with_rule);
        Ok(policy.remove_damaged(self.remove_damaged))
    }
}

/// When a save is due.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct TriggerArguments {
    every_steps: Option<u64>,
    every_seconds: Option<f64>,
    /// Names of signals, with what they ask for.
    signals: Vec<(String, String)>,
    ends_at: Option<f64>,
    ends_after: Option<f64>,
    margin_seconds: f64,
    first_save_seconds: f64,
}

impl TriggerArguments {
    fn options(self, py: Python<'_>) -> PyResult<TriggerOptions> {
        let mut options = TriggerOptions::default()
            .with_margin(duration("margin", self.margin_seconds)?)
            .with_first_save(duration("first_save", self.first_save_seconds)?);
        options.steps = self.every_steps;
        options.time = self.every_seconds.map(|seconds| duration("every_seconds", seconds)).transpose()?;
        options.deadline = deadline(py, self.ends_at, self.ends_after)?;
        for (name, word) in &self.signals {
            options = options.on(signal(name)?, answer(word)?);
        }
        Ok(options)
    }
}

/// Returns when the job ends: at a time in seconds since 1970, or after so many seconds.
pub(super) fn deadline(py: Python<'_>, at: Option<f64>, after: Option<f64>) -> PyResult<Option<Deadline>> {
    if let Some(at) = at {
        // Whole seconds, and none too late: what is beyond an `i64` is refused as no time.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a cast from a float stops at the largest number"
        )]
        let second = at.floor() as i64;
        return Deadline::at_second(second).map(Some).map_err(|error| errors::raise(py, &error));
    }
    after.map(|seconds| duration("deadline", seconds).map(Deadline::After)).transpose()
}

/// What is saved beside the state.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct RequestArguments {
    pub(super) step: u64,
    metrics: BTreeMap<String, f64>,
    metadata: BTreeMap<String, String>,
    artifacts: BTreeMap<String, Vec<u8>>,
}

impl From<RequestArguments> for SaveRequest {
    fn from(arguments: RequestArguments) -> Self {
        let mut request = Self::at(arguments.step);
        request.metrics = arguments.metrics;
        request.metadata = arguments.metadata;
        request.artifacts = arguments.artifacts;
        request
    }
}

/// What `resume` can be asked for.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct ResumeArguments {
    load: LoadArguments,
    level: String,
    force: bool,
}

impl ResumeArguments {
    /// Returns the options; what is loaded goes to memory of PyTorch's.
    pub(super) fn options(self, py: Python<'_>) -> PyResult<ResumeOptions> {
        let load: LoadOptions = self.load.options(py)?.with_memory(Arc::new(Storages));
        let mut options = ResumeOptions::default().with_level(level(&self.level)?).with_load(load);
        options.force = self.force;
        Ok(options)
    }
}

fn when_busy(word: &str) -> PyResult<WhenBusy> {
    match word {
        "wait" => Ok(WhenBusy::Wait),
        "skip" => Ok(WhenBusy::Skip),
        "replace" => Ok(WhenBusy::Replace),
        _ => Err(wrong("answer to when_busy", word, &["wait", "skip", "replace"])),
    }
}

fn on_failure(word: &str) -> PyResult<OnFailure> {
    match word {
        "stop" => Ok(OnFailure::Stop),
        "go-on" => Ok(OnFailure::GoOn),
        _ => Err(wrong("answer to on_failure", word, &["stop", "go-on"])),
    }
}

fn signal(name: &str) -> PyResult<Signal> {
    let known = Signal::ALL.into_iter().find(|signal| signal.as_str() == name);
    known.ok_or_else(|| wrong("signal that can be listened to", name, &Signal::ALL.map(Signal::as_str)))
}

fn answer(word: &str) -> PyResult<Answer> {
    match word {
        "save" => Ok(Answer::Save),
        "save-and-stop" => Ok(Answer::SaveAndStop),
        _ => Err(wrong("answer to a signal", word, &["save", "save-and-stop"])),
    }
}
