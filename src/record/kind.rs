use std::fmt;

use serde::{Deserialize, Serialize};

/// What a file is, as its content tells; a name alone decides nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FormatKind {
    /// A safetensors file.
    Safetensors,
    /// What `torch.save` writes since PyTorch 1.6: a ZIP archive with `data.pkl`.
    TorchZip,
    /// What `torch.save` wrote before PyTorch 1.6: five pickles and the storages.
    TorchLegacy,
    /// PyTorch 0.1's tar archive.
    TorchTar,
    /// A TorchScript archive: code with weights.
    TorchScript,
    /// A `torch.export` archive (`.pt2`).
    TorchExport,
    /// A sharded Hugging Face checkpoint: an index and its shards.
    HuggingFaceSharded,
    /// A Hugging Face Trainer directory: `checkpoint-N/`.
    HuggingFaceTrainer,
    /// The directory of a managed checkpoint, with its manifest: `step-0000001200/`.
    Managed,
    /// A `torch.distributed.checkpoint` directory or its metadata.
    TorchDistributed,
    /// A NumPy array (`.npy`).
    Npy,
    /// A NumPy archive (`.npz`).
    Npz,
    /// A pickle that is no PyTorch checkpoint.
    Pickle,
    /// A ZIP archive that is no checkpoint.
    Zip,
    /// A tar archive that is no checkpoint.
    Tar,
    /// A 7z archive.
    SevenZip,
    /// A gzip stream.
    Gzip,
    /// A Zstandard stream.
    Zstd,
    /// An HDF5 file, as Keras writes.
    Hdf5,
    /// A GGUF model file.
    Gguf,
    /// An HTML page, mostly a download's error page.
    Html,
    /// A git-LFS pointer: the text that stands for a file that wasn't fetched.
    GitLfsPointer,
    /// A JSON document that is no shard index.
    Json,
    /// A directory that holds no checkpoint as a whole.
    Directory,
    /// Nothing there.
    Empty,
    /// Zero bytes only: what a file system leaves of a file that was never written back.
    Zeros,
    /// None of the known formats.
    Unknown,
}

impl FormatKind {
    /// Returns the word used in JSON and on the terminal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::TorchZip => "torch-zip",
            Self::TorchLegacy => "torch-legacy",
            Self::TorchTar => "torch-tar",
            Self::TorchScript => "torch-script",
            Self::TorchExport => "torch-export",
            Self::HuggingFaceSharded => "hugging-face-sharded",
            Self::HuggingFaceTrainer => "hugging-face-trainer",
            Self::Managed => "managed",
            Self::TorchDistributed => "torch-distributed",
            Self::Npy => "npy",
            Self::Npz => "npz",
            Self::Pickle => "pickle",
            Self::Zip => "zip",
            Self::Tar => "tar",
            Self::SevenZip => "seven-zip",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Hdf5 => "hdf5",
            Self::Gguf => "gguf",
            Self::Html => "html",
            Self::GitLfsPointer => "git-lfs-pointer",
            Self::Json => "json",
            Self::Directory => "directory",
            Self::Empty => "empty",
            Self::Zeros => "zeros",
            Self::Unknown => "unknown",
        }
    }

    /// Returns what the format is called in a sentence: "a TorchScript archive".
    pub fn describe(self) -> &'static str {
        match self {
            Self::Safetensors => "a safetensors file",
            Self::TorchZip => "a PyTorch checkpoint",
            Self::TorchLegacy => "a PyTorch checkpoint of before 1.6",
            Self::TorchTar => "a PyTorch 0.1 tar archive",
            Self::TorchScript => "a TorchScript archive",
            Self::TorchExport => "a torch.export archive (.pt2)",
            Self::HuggingFaceSharded => "a sharded Hugging Face checkpoint",
            Self::HuggingFaceTrainer => "a Hugging Face Trainer directory",
            Self::Managed => "a managed checkpoint's directory",
            Self::TorchDistributed => "a torch.distributed checkpoint",
            Self::Npy => "a NumPy array",
            Self::Npz => "a NumPy archive",
            Self::Pickle => "a plain pickle",
            Self::Zip => "a ZIP archive without a checkpoint in it",
            Self::Tar => "a tar archive",
            Self::SevenZip => "a 7z archive",
            Self::Gzip => "a gzip stream",
            Self::Zstd => "a Zstandard stream",
            Self::Hdf5 => "an HDF5 file",
            Self::Gguf => "a GGUF model",
            Self::Html => "an HTML page",
            Self::GitLfsPointer => "a git-LFS pointer",
            Self::Json => "a JSON document",
            Self::Directory => "a directory",
            Self::Empty => "an empty file",
            Self::Zeros => "a file of zero bytes only",
            Self::Unknown => "of no known format",
        }
    }
}

impl fmt::Display for FormatKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
