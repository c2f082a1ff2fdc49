use std::ops::Range;
use std::sync::Arc;

use crate::format::torch::ReadOptions;
use crate::io::Cancel;
use crate::tensor::Allocator;
use crate::validate::{ProgressSink, Requirement};

/// Where the bytes of tensors are once a checkpoint is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Access {
    /// Mapped where that is fast and safe (see [`Mapping::is_fast_and_safe`](crate::io::Mapping)), read
    /// elsewhere: on network file systems, and on those that aren't known.
    #[default]
    Auto,
    /// Read into memory, and checked on the way. The file can do what it likes afterwards.
    Eager,
    /// Left in the file until they are looked at, and checked then. Who cuts the file **in place** while it is
    /// mapped ends the process with `SIGBUS`; a file that is replaced, as ckpt does, stays readable.
    Mapped,
    /// Left in the file, and read anew whenever they are looked at: for who passes more on than fits into memory. The
    /// head is held against its proof, and a deflated storage against its checksum; other data isn't held against
    /// anything, so whoever needs that proven [verifies](crate::verify) the file first. The file stays open meanwhile.
    Streamed,
}

/// What [`load`](super::load) is to read, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LoadOptions {
    /// Where the bytes of tensors are afterwards.
    pub access: Access,
    /// The tensors to load, by name or pattern; all where there are none. Others are left out of the state;
    /// plain values stay. Each is also required.
    pub tensors: Vec<Requirement>,
    /// The keys that the checkpoint must have. They are looked at before any tensor is read.
    pub require: Vec<Requirement>,
    /// Whether bytes that have a checksum are held against it. Default: true.
    pub verify: bool,
    /// Globals accepted in a pickle by name (`module.name`), as data. Nothing is executed.
    pub allowed_globals: Vec<String>,
    /// Whether lists of nothing but floats come as one node: see
    /// [`ReadOptions`]. Default: false.
    pub packed_floats: bool,
    /// The number of threads that read. Default: one per core, at least 4 and at most 8: they wait for the
    /// device most of the time.
    pub threads: usize,
    /// Hears of every byte that was read.
    pub progress: Option<ProgressSink>,
    /// The bytes of the file that are the checkpoint, where several lie in one. Default: all.
    pub section: Option<Range<u64>>,
    /// Who provides the memory for storages; what is loaded is read then, whatever `access` says. Default: this crate.
    pub memory: Option<Arc<dyn Allocator>>,
    /// Ends the load with an error, from another thread. Bytes that are left in the file are read when they are looked at,
    /// and nothing ends that.
    pub cancel: Option<Cancel>,
}

impl Default for LoadOptions {
    /// Loads all tensors, checks what can be checked, and allows no names.
    fn default() -> Self {
        Self {
            access: Access::Auto,
            tensors: Vec::new(),
            require: Vec::new(),
            verify: true,
            allowed_globals: Vec::new(),
            packed_floats: false,
            threads: std::thread::available_parallelism().map_or(1, usize::from).clamp(4, 8),
            progress: None,
            section: None,
            memory: None,
            cancel: None,
        }
    }
}

impl LoadOptions {
    /// Sets where the bytes of tensors are afterwards.
    #[must_use]
    pub fn with_access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Adds tensors to load.
    #[must_use]
    pub fn with_tensors(mut self, tensors: Requirement) -> Self {
        self.tensors.push(tensors);
        self
    }

    /// Adds a key that the checkpoint must have.
    #[must_use]
    pub fn with_required(mut self, key: Requirement) -> Self {
        self.require.push(key);
        self
    }

    /// Sets whether bytes are held against their checksums.
    #[must_use]
    pub fn with_verify(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// Has lists of nothing but floats come as [`Node::Floats`](crate::tensor::Node): for embeddings that were saved as
    /// plain lists. Who asks for it knows the node; a state with such a list can't be saved as a pickle again.
    #[must_use]
    pub fn with_packed_floats(mut self) -> Self {
        self.packed_floats = true;
        self
    }

    /// Sets the number of threads. 0 counts as 1.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Loads one of several checkpoints that lie in a file one behind the other: see
    /// [`save_series`](crate::save::save_series).
    #[must_use]
    pub fn with_section(mut self, section: Range<u64>) -> Self {
        self.section = Some(section);
        self
    }

    /// Sets who provides the memory for storages: a framework, so that its tensors need no copy.
    ///
    /// The allocator is called once for each storage, on the thread that loads. A storage that is a part of another
    /// has no memory of its own.
    #[must_use]
    pub fn with_memory(mut self, memory: Arc<dyn Allocator>) -> Self {
        self.memory = Some(memory);
        self
    }

    /// Sets what ends the load.
    #[must_use]
    pub fn with_cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = Some(cancel);
        self
    }

    /// Returns how PyTorch files are to be read.
    pub(super) fn read_options(&self) -> ReadOptions {
        let options = ReadOptions::default().with_allowed_globals(self.allowed_globals.iter().cloned());
        if self.packed_floats { options.with_packed_floats() } else { options }
    }
}
