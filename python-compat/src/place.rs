//! A directory in which one process alone stages, commits and removes directories.
//!
//! The plug-ins for other trainers write through this: their own code fills a staged directory, and it gets its name as
//! a whole, by the crate's commit.

use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ckpt::Error;
use ckpt::io::commit::{
    DiskLock, Durability, LocalDisk, Locked, StagedDirectory, clean_staged, create_directories,
    resolve_directory, sync_tree, take_lock,
};
use jiff::Timestamp;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::errors;

/// The file whose lock stands for all that is staged in a directory.
const LOCK: &str = ".ckpt-lock";

/// Holds the lock of a directory from its making until it is closed. What a killed process staged there is removed.
#[pyclass(frozen)]
#[derive(Debug)]
pub(crate) struct Place {
    directory: PathBuf,
    held: Mutex<Option<Held>>,
}

/// What is given up when a place is closed; the staged directory first, while the lock is still held.
#[derive(Debug)]
struct Held {
    staged: Option<StagedDirectory<'static>>,
    _lock: Box<dyn DiskLock>,
}

#[pymethods]
impl Place {
    #[new]
    fn new(py: Python<'_>, directory: PathBuf) -> PyResult<Self> {
        let opened = py.detach(|| open(&directory));
        opened.map_err(|error| errors::raise(py, &error))
    }

    /// Makes an empty directory under a temporary name, and returns its path.
    fn stage(&self, py: Python<'_>) -> PyResult<PathBuf> {
        // The mutex is never held while the interpreter is released: another thread could wait for both.
        if self.lock().as_ref().ok_or_else(closed)?.staged.is_some() {
            return Err(PyRuntimeError::new_err(
                "something is staged already: commit it or discard it first",
            ));
        }
        let made = py.detach(|| StagedDirectory::create(&LocalDisk, &self.directory));
        let staged = made.map_err(|error| errors::raise(py, &error))?;
        let path = staged.path().to_owned();
        self.lock().as_mut().ok_or_else(closed)?.staged = Some(staged);
        Ok(path)
    }

    /// Makes all that is in the staged directory durable, and gives it its name; with `part`, it is the directory of that
    /// name within the staged one. A directory that has the name already is removed when the new one is durable.
    fn commit(&self, py: Python<'_>, name: &str, part: bool) -> PyResult<PathBuf> {
        plain(name)?;
        let staged = self.lock().as_mut().ok_or_else(closed)?.staged.take();
        let Some(staged) = staged else {
            return Err(PyRuntimeError::new_err("nothing is staged: there is nothing to commit"));
        };
        let committed = py.detach(|| {
            sync_tree(&LocalDisk, staged.path())?;
            let full = Durability::Full;
            if part { staged.replace_by_part(name, full) } else { staged.replace(name, full) }
        });
        committed.map_err(|error| errors::raise(py, &error))
    }

    /// Removes what is staged; nothing to do where nothing is.
    fn discard(&self, py: Python<'_>) {
        let staged = self.lock().as_mut().and_then(|held| held.staged.take());
        py.detach(|| drop(staged));
    }

    /// Removes a directory by its name, never to be seen in part. Returns whether there was one.
    fn remove(&self, py: Python<'_>, name: &str) -> PyResult<bool> {
        plain(name)?;
        if self.lock().is_none() {
            return Err(closed());
        }
        let removed = py.detach(|| StagedDirectory::create(&LocalDisk, &self.directory)?.remove(name));
        removed.map_err(|error| errors::raise(py, &error))
    }

    /// Removes what is staged, and frees the lock.
    fn close(&self, py: Python<'_>) {
        let held = self.lock().take();
        py.detach(|| drop(held));
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __exit__(&self, py: Python<'_>, _kind: Py<PyAny>, _error: Py<PyAny>, _traceback: Py<PyAny>) {
        self.close(py);
    }
}

impl Place {
    fn lock(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes all that a directory holds durable: what a process that doesn't commit wrote there.
#[pyfunction]
pub(crate) fn sync_directory(py: Python<'_>, path: PathBuf) -> PyResult<()> {
    py.detach(|| sync_tree(&LocalDisk, &path)).map_err(|error| errors::raise(py, &error))
}

/// Takes a directory, which is made where there is none, and removes what killed processes left there.
fn open(directory: &Path) -> Result<Place, Error> {
    let directory = resolve_directory(&LocalDisk, directory)?;
    create_directories(&LocalDisk, &directory)?;
    let path = directory.join(LOCK);
    let lock = match take_lock(&LocalDisk, &path, Timestamp::now()) {
        Ok(Locked::Ours(lock)) => lock,
        Ok(Locked::Others(holder)) => {
            let message = format!(
                "another process saves or removes checkpoints here: {holder}; wait for its end, or save elsewhere"
            );
            return Err(Error::usage(message).at(path));
        }
        Err(error) => return Err(Error::io(path, "make the lock of the directory", error)),
    };
    clean_staged(&LocalDisk, &directory, &*lock);
    Ok(Place { directory, held: Mutex::new(Some(Held { staged: None, _lock: lock })) })
}

/// Refuses what isn't the name of something in the directory or below it.
fn plain(name: &str) -> PyResult<()> {
    let mut parts = Path::new(name).components();
    if name.is_empty() || !parts.all(|part| matches!(part, Component::Normal(_))) {
        return Err(PyValueError::new_err(format!("'{name}' is no name within the directory")));
    }
    Ok(())
}

fn closed() -> PyErr {
    PyRuntimeError::new_err("the place is closed: open it again")
}
