use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal,)+) => {
        /// The kind of a [`Finding`](super::Finding): stable, made for programs to compare.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ #[serde(rename = $word)] $name,)+
        }

        impl Code {
            /// All codes, in the order of their documentation.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Returns the word used in JSON and on the terminal.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            /// Returns the one-line meaning.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

codes! {
    // The file as a whole.
    /// Nothing is at the path.
    Missing = "missing",
    /// The path is neither a regular file nor a directory.
    NotRegular = "not-regular",
    /// The file has no bytes.
    Empty = "empty",
    /// The operating system refused the read.
    IoError = "io-error",
    /// The size isn't the one that the completion marker, the seal or the manifest names.
    SizeMismatch = "size-mismatch",
    /// There is no completion marker, and one was required.
    MarkerMissing = "marker-missing",
    /// The file is finished, as its completion marker says.
    Marked = "marked",
    /// The completion marker was written for another file than the one that is there.
    MarkerStale = "marker-stale",
    /// The seal is older than the file, which carries its own proof.
    SealStale = "seal-stale",
    /// The seal is damaged, or none at all.
    SealDamaged = "seal-damaged",
    /// The contents were not checked: only presence, size and completion marker.
    ContentsNotChecked = "contents-not-checked",
    /// The file changed while it was checked.
    ChangedWhileRead = "changed-while-read",
    /// The check was ended before it was done.
    Cancelled = "cancelled",

    // What the content is.
    /// The file is zero at its beginning and at its end: it was never written back.
    AllZero = "all-zero",
    /// The content is another format than a checkpoint's.
    ForeignFormat = "foreign-format",
    /// The file's name promises another format than its content has.
    MisleadingName = "misleading-name",
    /// The content is of no known format.
    UnknownFormat = "unknown-format",

    // Containers: ZIP.
    /// The end of the archive is missing: the file is short or overwritten.
    DirectoryMissing = "directory-missing",
    /// The central directory is malformed.
    DirectoryDamaged = "directory-damaged",
    /// An entry lies outside the file, or over another.
    EntryOutOfBounds = "entry-out-of-bounds",
    /// Two entries share bytes.
    EntriesOverlap = "entries-overlap",
    /// An entry's local header says something else than the central directory.
    HeaderDisagrees = "header-disagrees",
    /// Padding or an unused field of an archive written by PyTorch has another value than PyTorch writes.
    LayoutDamaged = "layout-damaged",
    /// Two readers could read the archive differently.
    Ambiguous = "ambiguous",
    /// There are bytes before or behind the archive.
    StrayBytes = "stray-bytes",
    /// An entry uses a compression method that no checkpoint reader supports.
    UnsupportedMethod = "unsupported-method",
    /// An entry is encrypted.
    Encrypted = "encrypted",
    /// The compressed data doesn't decompress to what the directory promises.
    CompressionDamaged = "compression-damaged",
    /// A record that every checkpoint has is missing.
    RecordMissing = "record-missing",
    /// The container's own version is newer than any known one.
    ContainerTooNew = "container-too-new",
    /// The container's version is no number from 1 on.
    ContainerVersion = "container-version",
    /// The byte order record has a value that no writer writes.
    ByteOrderUnknown = "byte-order-unknown",
    /// A limit that protects this reader was exceeded.
    TooComplex = "too-complex",

    // Containers: safetensors and others.
    /// The header's length doesn't fit the file.
    HeaderLength = "header-length",
    /// The header is no well-formed JSON of the specified form.
    HeaderMalformed = "header-malformed",
    /// A tensor's byte range doesn't fit its dtype and shape.
    TensorSize = "tensor-size",
    /// The data has a hole, an overlap, or bytes that belong to no tensor.
    DataLayout = "data-layout",
    /// A dtype that no framework has.
    DtypeUnknown = "dtype-unknown",
    /// The header deviates from the specification in a way that readers tolerate.
    HeaderTolerated = "header-tolerated",
    /// The file ends before its contents do.
    Truncated = "truncated",

    // Checksums.
    /// Bytes don't have the checksum that was stored for them.
    ChecksumMismatch = "checksum-mismatch",
    /// The format or the writer stored no checksums: damage inside the data can't be seen.
    NoChecksums = "no-checksums",

    /// The file's own proof is damaged, or isn't the proof of this file.
    ProofDamaged = "proof-damaged",
    /// The file's own proof is of a version that isn't known here.
    ProofUnknown = "proof-unknown",

    // The pickle.
    /// The pickle ends early or is malformed, and no checksum vouches for its bytes.
    PickleDamaged = "pickle-damaged",
    /// The pickle's bytes are as written, and no reader can make sense of them.
    PickleInvalid = "pickle-invalid",
    /// The pickle asks for code that isn't on the list of safe names. Unsafe to load elsewhere.
    NeedsTrust = "needs-trust",
    /// A global was accepted by name, as data.
    GlobalAllowed = "global-allowed",
    /// PyTorch's own safe reader (`weights_only=True`) refuses what was read here.
    TorchRefuses = "torch-refuses",
    /// A tensor doesn't fit into its storage.
    TensorOutOfBounds = "tensor-out-of-bounds",
    /// A storage's record hasn't the size that the pickle gives.
    StorageSize = "storage-size",
    /// Tensors were saved from a device that this machine may not have.
    DeviceTag = "device-tag",

    // Several files.
    /// A file of the checkpoint is missing.
    ArtifactMissing = "artifact-missing",
    /// The files don't hold what the index, the state file or the manifest says.
    IndexDisagrees = "index-disagrees",
    /// The index, the state file or the manifest is malformed.
    IndexMalformed = "index-malformed",
    /// An artifact that needs trust by nature is intact, which is all that can be asked of it.
    IntactOnly = "intact-only",
    /// The checkpoint's directory holds a file that its manifest doesn't list.
    Unlisted = "unlisted",
    /// Files of the checkpoint are younger than the metadata that describes them: they may be of a later save.
    MetadataOlder = "metadata-older",

    // Keys.
    /// The checkpoint's top level is no map, so it has no keys.
    NotAMap = "not-a-map",
    /// A required key is missing.
    KeyMissing = "key-missing",
    /// A tensor has another dtype than required.
    DtypeMismatch = "dtype-mismatch",
    /// A tensor has another shape than required.
    ShapeMismatch = "shape-mismatch",
    /// A value is another one than what is restored from it can take.
    ValueMismatch = "value-mismatch",
    /// The reference checkpoint doesn't have this tensor.
    KeyUnexpected = "key-unexpected",
    /// The checkpoint was written by a newer major version.
    VersionTooNew = "version-too-new",
    /// The checkpoint carries no version: it is taken as 0.x.
    VersionMissing = "version-missing",
    /// The checkpoint says of itself that it isn't finished.
    InProgress = "in-progress",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
