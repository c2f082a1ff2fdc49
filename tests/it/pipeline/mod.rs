//! Pipelines through their public interface: what is done again and what isn't, and what is left of a killed one.

mod cleanup;
#[cfg(unix)]
mod kill;
mod page;
mod resume;
mod review;
mod stale;
mod state;

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use ckpt::Error;
use ckpt::pipeline::{Pipeline, PipelineOptions, Ran, Stage, StageRun};
use tempfile::TempDir;

/// The stages of most pipelines here.
const STAGES: [&str; 3] = ["extract", "merge", "predict"];

/// A directory in which a pipeline works.
struct Place {
    directory: TempDir,
    /// The stages that were really done, in order.
    done: RefCell<Vec<String>>,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), done: RefCell::default() }
    }

    fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }

    fn state(&self) -> PathBuf {
        self.at("pipeline.json")
    }

    fn open(&self) -> Pipeline {
        self.open_with(PipelineOptions::default()).unwrap()
    }

    fn open_with(&self, options: PipelineOptions) -> Result<Pipeline, Error> {
        Pipeline::open(self.state(), STAGES, options)
    }

    fn open_stages<S: Into<Stage>>(&self, stages: impl IntoIterator<Item = S>) -> Pipeline {
        Pipeline::open(self.state(), stages, PipelineOptions::default()).unwrap()
    }

    /// Does a stage: its output is a file of its name.
    fn run(&self, pipeline: &mut Pipeline, stage: &str) -> Ran {
        pipeline.run(stage, |run| self.work(run)).unwrap()
    }

    fn work(&self, run: &mut StageRun) -> Result<(), Error> {
        self.done.borrow_mut().push(run.name().to_owned());
        let path = run.output(format!("{}.txt", run.name()))?;
        fs::write(path, format!("what {} leaves", run.name())).unwrap();
        run.value("rows", &7)
    }

    /// Does all stages.
    fn run_all(&self, pipeline: &mut Pipeline) {
        for stage in STAGES {
            self.run(pipeline, stage);
        }
    }

    /// Opens the pipeline and does all stages; returns which were really done.
    fn go(&self) -> Vec<String> {
        self.done.borrow_mut().clear();
        self.run_all(&mut self.open());
        self.done.take()
    }

    /// The names beside the state file that begin with its own.
    fn beside(&self) -> Vec<String> {
        let names = fs::read_dir(self.directory.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.starts_with("pipeline.json")).collect();
        names.sort();
        names
    }
}
