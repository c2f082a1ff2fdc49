use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::Error;
use crate::digest::Algorithm;
use crate::io::Cancel;
use crate::io::commit::Durability;
use crate::record::{Level, Position};

/// A format that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// safetensors: `.safetensors`.
    Safetensors,
    /// PyTorch's ZIP archive, as `torch.load` reads it: `.pt`, `.pth`, `.bin`, `.ckpt`.
    Torch,
    /// The same, holding nothing but a flat map of tensors: what `tch` and libtorch's C++ loader read.
    TorchFlat,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::Safetensors, Self::Torch, Self::TorchFlat];

    /// Returns the name: `safetensors`, `torch`, `torch-flat`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Torch => "torch",
            Self::TorchFlat => "torch-flat",
        }
    }

    /// Returns the format that goes by a path's extension.
    ///
    /// # Errors
    ///
    /// The extension is none of a format that can be written.
    ///
    /// ```
    /// use std::path::Path;
    /// use ckpt::save::Format;
    /// assert_eq!(Format::of(Path::new("step-100.safetensors")).unwrap(), Format::Safetensors);
    /// assert!(Format::of(Path::new("step-100.npz")).is_err());
    /// ```
    pub fn of(path: &Path) -> Result<Self, Error> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        match extension.to_ascii_lowercase().as_str() {
            "safetensors" => Ok(Self::Safetensors),
            "pt" | "pth" | "bin" | "ckpt" => Ok(Self::Torch),
            _ => Err(Error::usage(
                "the name says nothing of the format: end it in .safetensors or .pt, or name the format",
            )
            .at(path)),
        }
    }
}

/// Who hears, from any thread, how many further bytes were written.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// How [`save`](super::save()) goes about it.
#[derive(Clone)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct SaveOptions {
    /// The format. Default: as the extension says.
    pub format: Option<Format>,
    /// Whether the temporary file is read back, from the device, and verified before it takes its name.
    /// Default: yes.
    pub validate: bool,
    /// How deep it is verified. Default: [`Level::Load`].
    pub level: Level,
    /// Whether `save` returns only when the file would survive a loss of power. Default: yes.
    pub durability: Durability,
    /// Whether a completion marker (`NAME.done`) is made. Default: no; one that is there is kept true.
    pub marker: bool,
    /// Whether an existing file is replaced. Default: yes; otherwise it is an error and stays as it is.
    pub overwrite: bool,
    /// What the proof's digests are computed with. Default: [`Algorithm::Crc64Nvme`].
    pub algorithm: Algorithm,
    /// Where in the work the checkpoint was made.
    pub position: Option<Position>,
    /// The caller's own metadata.
    pub metadata: BTreeMap<String, String>,
    /// The most threads to use. Default: 8, also on fewer cores: they wait for the
    /// device most of the time.
    pub threads: usize,
    /// Hears how many further bytes were written.
    pub progress: Option<Progress>,
    /// Whether a link at the path is replaced itself: what it leads to stays as it is. Default: no, it is followed.
    pub replace_link: bool,
    /// Ends the save with an error, from another thread: as any error, it leaves the old file as it was. Once the new one
    /// begins to take its name, the save goes on to its end.
    pub cancel: Option<Cancel>,
}

impl Default for SaveOptions {
    fn default() -> Self {
        Self {
            format: None,
            validate: true,
            level: Level::Load,
            durability: Durability::Full,
            marker: false,
            overwrite: true,
            algorithm: Algorithm::default(),
            position: None,
            metadata: BTreeMap::new(),
            threads: 8,
            progress: None,
            replace_link: false,
            cancel: None,
        }
    }
}

impl SaveOptions {
    /// Sets the format, whatever the extension says.
    #[must_use]
    pub fn with_format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// Leaves out the validation of what was written.
    #[must_use]
    pub fn without_validation(mut self) -> Self {
        self.validate = false;
        self
    }

    /// Sets how deep the written file is verified.
    #[must_use]
    pub fn with_level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Sets what `save` waits for.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Asks for a completion marker.
    #[must_use]
    pub fn with_marker(mut self) -> Self {
        self.marker = true;
        self
    }

    /// Refuses to replace an existing file.
    #[must_use]
    pub fn without_overwriting(mut self) -> Self {
        self.overwrite = false;
        self
    }

    /// Sets what the proof's digests are computed with.
    #[must_use]
    pub fn with_algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Sets where in the work the checkpoint was made.
    #[must_use]
    pub fn with_position(mut self, position: Position) -> Self {
        self.position = Some(position);
        self
    }

    /// Adds an entry to the metadata.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Sets the most threads to use; 0 counts as 1.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets who hears of progress.
    #[must_use]
    pub fn with_progress(mut self, progress: impl Fn(u64) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }

    /// Replaces a link at the path itself, and not what it leads to.
    #[must_use]
    pub fn with_link_replaced(mut self) -> Self {
        self.replace_link = true;
        self
    }

    /// Sets what ends the save.
    #[must_use]
    pub fn with_cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = Some(cancel);
        self
    }
}

impl fmt::Debug for SaveOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaveOptions")
            .field("format", &self.format)
            .field("validate", &self.validate)
            .field("level", &self.level)
            .field("durability", &self.durability)
            .field("marker", &self.marker)
            .field("overwrite", &self.overwrite)
            .field("algorithm", &self.algorithm)
            .field("position", &self.position)
            .field("metadata", &self.metadata)
            .field("threads", &self.threads)
            .field("replace_link", &self.replace_link)
            .finish_non_exhaustive()
    }
}
