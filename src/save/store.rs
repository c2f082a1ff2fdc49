use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use super::marker::MarkerUpdate;
use super::{Format, SaveOptions, Saved};
use crate::Error;
use crate::format::torch::Pickled;
use crate::format::{EncodeOptions, Encoding, Head, safetensors, torch};
use crate::io::ScanSource;
use crate::io::commit::{Disk, DiskFile, Durability, Existing, LocalDisk, Temporary, clean_beside};
use crate::io::write::{Piece, PieceDigest, WriteError, WriteOptions, write_head, write_pieces};
use crate::record::{Code, Finding, Level, Proof, Verdict};
use crate::tensor::State;
use crate::validate::{VerifyOptions, proof_of, verify_source};

/// Saves a state: atomically, durably, and verified.
///
/// The file is written beside its destination under a name of its own, synced, read back from the device and
/// verified, and only then renamed. Whatever happens meanwhile, at `path` is the old file whole or the new one
/// whole. A link is followed: what it points to is replaced, and the link stays, unless
/// [`replace_link`](SaveOptions::replace_link) says otherwise. The mode and the owner of an existing file are kept.
///
/// Two states that are equal give the same bytes under equal options.
///
/// A safetensors file holds every state. Of a tensor that alone sees a part of its storage, or sees it
/// strided, it keeps the elements, row-major. A `.pt` refuses what `torch.load` would refuse, or has no
/// storage for (`f4`, NumPy's arrays, objects of unknown classes), and names it.
///
/// # Errors
///
/// The format can't hold the state, the disk is full, the destination can't be written, the written bytes
/// can't be read back as they were: the message says which. The old file is as it was, and nothing of the
/// new one is left.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("step-100.safetensors");
/// use ckpt::record::Position;
/// use ckpt::tensor::TensorView;
/// use ckpt::{Dtype, SaveOptions, State, load, save};
///
/// let weight: Vec<u8> = [0.5_f32, -1.0].iter().flat_map(|value| value.to_le_bytes()).collect();
/// let mut state = State::new();
/// state.insert("model.weight", TensorView::new(Dtype::F32, [2], &weight[..])?)?;
/// state.insert("step", 100)?;
///
/// let saved = save(&path, &state, &SaveOptions::default().with_position(Position::Step(100)))?;
/// println!("{} bytes, {}", saved.bytes, saved.proof.id());
///
/// let loaded = load(&path, &Default::default())?;
/// assert_eq!(loaded.tensor("model.weight").unwrap().bytes()?, &weight[..]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn save(path: &Path, state: &State<'_>, options: &SaveOptions) -> Result<Saved, Error> {
    save_on(&LocalDisk, path, state, options)
}

/// As [`save`], on a disk of the caller's: see [`Disk`].
///
/// # Errors
///
/// As [`save`].
pub fn save_on(
    disk: &dyn Disk,
    path: &Path,
    state: &State<'_>,
    options: &SaveOptions,
) -> Result<Saved, Error> {
    save_checked(disk, path, state, options, &|| Ok(()))
}

/// Saves what only Python's pickler could write down: see [`Pickled`]. As [`save`] in all else.
///
/// Where only who trusts it may load it, it is verified by its bytes alone: all of them, but not what they mean, and
/// [`Saved::validated`] says `container`. What a safe reader takes is verified as deep as asked.
///
/// # Errors
///
/// As [`save`]; or the format is another than [`Format::Torch`].
pub fn save_pickled(path: &Path, pickled: &Pickled<'_>, options: &SaveOptions) -> Result<Saved, Error> {
    save_pickled_on(&LocalDisk, path, pickled, options)
}

/// As [`save_pickled`], on a disk of the caller's: see [`Disk`].
///
/// # Errors
///
/// As [`save_pickled`].
pub fn save_pickled_on(
    disk: &dyn Disk,
    path: &Path,
    pickled: &Pickled<'_>,
    options: &SaveOptions,
) -> Result<Saved, Error> {
    let format = options.format.map_or_else(|| Format::of(path), Ok)?;
    if format != Format::Torch {
        let message =
            format!("a file of the format {} holds no pickled objects: end its name in .pt", format.as_str());
        return Err(Error::usage(message).at(path));
    }
    let encoding =
        torch::encode_pickled(pickled, &encode_options(options)).map_err(|error| error.at(path))?;
    let product = Product { encoding: &encoding, format, needs_trust: !pickled.is_safe() };
    store(disk, path, &product, options, &|| Ok(()))
}

/// As [`save_on`], with a last question before the file takes its name: whether the state's bytes still are
/// what they were.
pub(crate) fn save_checked(
    disk: &dyn Disk,
    path: &Path,
    state: &State<'_>,
    options: &SaveOptions,
    check: &dyn Fn() -> Result<(), Error>,
) -> Result<Saved, Error> {
    let format = options.format.map_or_else(|| Format::of(path), Ok)?;
    let encoding = encode(state, format, options).map_err(|error| error.at(path))?;
    store(disk, path, &Product { encoding: &*encoding, format, needs_trust: false }, options, check)
}

/// What is to be written.
struct Product<'e> {
    encoding: &'e dyn Encoding,
    format: Format,
    /// Whether only who trusts the file may load it.
    needs_trust: bool,
}

/// Brings a state into a format.
fn encode<'s>(
    state: &'s State<'_>,
    format: Format,
    options: &SaveOptions,
) -> Result<Box<dyn Encoding + 's>, Error> {
    let encode = encode_options(options);
    Ok(match format {
        Format::Safetensors => Box::new(safetensors::encode(state, &encode)?),
        Format::Torch => Box::new(torch::encode(state, &encode, torch::Flavour::Full)?),
        Format::TorchFlat => Box::new(torch::encode(state, &encode, torch::Flavour::Flat)?),
    })
}

pub(super) fn encode_options(options: &SaveOptions) -> EncodeOptions {
    EncodeOptions {
        algorithm: options.algorithm,
        position: options.position.clone(),
        metadata: options.metadata.clone(),
    }
}

/// Writes, verifies and commits a file.
fn store(
    disk: &dyn Disk,
    path: &Path,
    product: &Product<'_>,
    options: &SaveOptions,
    check: &dyn Fn() -> Result<(), Error>,
) -> Result<Saved, Error> {
    let Product { encoding, format, needs_trust } = *product;
    let start = Instant::now();
    let existing = if options.overwrite { Existing::Replace } else { Existing::Keep };
    refuse_existing(disk, path, existing)?;
    // First of all: their room may be needed.
    clean_beside(disk, path);
    let mut temporary =
        if options.replace_link { Temporary::create_at(disk, path)? } else { Temporary::create(disk, path)? };
    let destination = temporary.destination().to_owned();
    temporary.reserve(encoding.len())?;
    let plan =
        Plan { pieces: encoding.pieces(), crc32: encoding.needs_crc32(), restarts: &[], len: encoding.len() };
    let finish = |digests: &[PieceDigest]| {
        let Head { parts, proof } = encoding.finish(digests);
        (parts, proof)
    };
    let proof = write(&mut temporary, &plan, options, finish)?;
    let mut writing = start.elapsed();
    let validating = if options.validate {
        validate(disk, &temporary, &proof, needs_trust, options)?
    } else {
        Duration::ZERO
    };
    let validated = if needs_trust { options.level.min(Level::Container) } else { options.level };
    check()?;
    // The last moment: what has begun to take its name is brought to an end.
    if let Some(cancel) = &options.cancel {
        cancel.check().map_err(|error| Error::io(&destination, "save it", error))?;
    }
    let committing = Instant::now();
    let marker = MarkerUpdate::begin(disk, &temporary, encoding.len(), &proof, options)?;
    temporary.commit(existing, options.durability)?;
    marker.finish()?;
    writing += committing.elapsed();
    Ok(Saved {
        path: destination,
        format,
        bytes: encoding.len(),
        proof,
        data: data_of(encoding),
        places: encoding.places(),
        validated: options.validate.then_some(validated),
        writing,
        validating,
        elapsed: start.elapsed(),
    })
}

/// Returns where the data lies.
fn data_of(encoding: &dyn Encoding) -> Vec<Range<u64>> {
    let range = |piece: Piece<'_>| piece.is_data.then(|| piece.offset..piece.offset + piece.source.len());
    encoding.pieces().into_iter().filter_map(range).collect()
}

/// Refuses to replace a file before the work begins; the commit refuses it again, without a gap.
pub(super) fn refuse_existing(disk: &dyn Disk, path: &Path, existing: Existing) -> Result<(), Error> {
    let is_there = || disk.resolve(path).and_then(|path| disk.stat(&path)).is_ok_and(|stat| stat.is_some());
    if existing == Existing::Keep && is_there() {
        return Err(Error::usage("it exists, and is not to be replaced").at(path));
    }
    Ok(())
}

/// What is to be written, but for the head.
pub(super) struct Plan<'a> {
    /// The data, and what of the head doesn't depend on its digests.
    pub(super) pieces: Vec<Piece<'a>>,
    /// Whether the CRC-32 of each piece is wanted.
    pub(super) crc32: bool,
    /// Where the windows of the file begin anew.
    pub(super) restarts: &'a [u64],
    /// The length of the file.
    pub(super) len: u64,
}

/// Runs of bytes with their places.
pub(super) type Runs = Vec<(u64, Vec<u8>)>;

/// Writes the data, then the head that `finish` makes of the data's digests; and waits for the device where asked
/// for. Returns what `finish` says beside the head.
pub(super) fn write<T>(
    temporary: &mut Temporary<'_>,
    plan: &Plan<'_>,
    options: &SaveOptions,
    finish: impl FnOnce(&[PieceDigest]) -> (Runs, T),
) -> Result<T, Error> {
    let progress = |bytes| {
        if let Some(progress) = &options.progress {
            progress(bytes);
        }
    };
    let write_options = WriteOptions {
        threads: options.threads,
        algorithm: options.algorithm,
        crc32: plan.crc32,
        progress: Some(&progress),
        cancel: options.cancel.as_ref(),
        restarts: plan.restarts,
    };
    let written = write_all(temporary.file(), plan, &write_options, finish);
    let said = written.map_err(|error| match error {
        WriteError::Disk(error) => temporary.failed_to_write(error),
        WriteError::Source(error) => error,
    })?;
    if options.durability == Durability::Full {
        temporary.sync()?;
    }
    Ok(said)
}

/// Writes a file as a whole.
fn write_all<T>(
    file: &dyn DiskFile,
    plan: &Plan<'_>,
    options: &WriteOptions<'_>,
    finish: impl FnOnce(&[PieceDigest]) -> (Runs, T),
) -> Result<T, WriteError> {
    let digests = write_pieces(file, &plan.pieces, options)?;
    let (head, said) = finish(&digests);
    let head: Vec<Piece<'_>> =
        head.iter().map(|(offset, bytes)| Piece { offset: *offset, source: bytes, is_data: false }).collect();
    write_head(file, &plan.pieces, &head)?;
    file.set_len(plan.len)?;
    Ok(said)
}

/// Reads the temporary file back and verifies it; returns how long that took.
///
/// That it proves itself isn't enough: a device that lost the writes may still hold another checkpoint there.
fn validate(
    disk: &dyn Disk,
    temporary: &Temporary<'_>,
    proof: &Proof,
    needs_trust: bool,
    options: &SaveOptions,
) -> Result<Duration, Error> {
    let start = Instant::now();
    let path = temporary.destination();
    let source =
        disk.open(temporary.path()).map_err(|error| Error::io(path, "read back what was written", error))?;
    let mut verify = VerifyOptions::default().with_level(options.level);
    verify.threads = options.threads;
    verify.cancel.clone_from(&options.cancel);
    match unlike(path, &*source, proof, needs_trust, &verify) {
        None => Ok(start.elapsed()),
        Some(finding) if finding.code == Code::Cancelled => Err(Error::found(path, finding)),
        Some(finding) => Err(Error::found(path, not_as_it_was(finding))),
    }
}

/// Verifies what was read back, and returns why it isn't what was written.
///
/// Of what needs trust only damage counts: that no safe reader takes it is known.
pub(super) fn unlike(
    path: &Path,
    source: &dyn ScanSource,
    proof: &Proof,
    needs_trust: bool,
    verify: &VerifyOptions,
) -> Option<Finding> {
    let report = verify_source(path, source, verify);
    let is_known = |finding: &Finding| {
        needs_trust && finding.verdict == Verdict::Incompatible && finding.level == Level::Load
    };
    let failures = report.findings.iter().filter(|finding| finding.is_failure() && !is_known(finding));
    failures.max_by_key(|finding| finding.verdict).cloned().or_else(|| {
        let is_ours = proof_of(source).is_some_and(|proven| proven.proof.root == proof.root);
        let other = || Finding::corrupted(Code::ProofDamaged, Level::Container, "it has another proof");
        (!is_ours).then(other)
    })
}

/// Says of what was found that it was found in what was just written.
pub(super) fn not_as_it_was(mut finding: Finding) -> Finding {
    finding.message = format!("what was written can't be read back as it was: {}", finding.message);
    finding
}
