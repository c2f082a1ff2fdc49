use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use super::ConvertOptions;
use super::fit::{Fitted, fit};
use crate::Error;
use crate::io::FileSource;
use crate::io::commit::LocalDisk;
use crate::record::{CONVERT_SCHEMA, Code, Converted, Dropped, Finding, Level};
use crate::save::load::{Loaded, open_streamed};
use crate::save::store::save_checked;
use crate::save::{Format, LoadOptions, SaveOptions};
use crate::tensor::State;
use crate::validate::verify;

/// How many of the values that can't be carried over an error names.
const NAMED_LOSSES: usize = 3;

/// Converts a checkpoint to the format of the destination's extension, or to the one that the options name.
///
/// The source is verified first. Its tensors are read while the new file is written, so that memory is bounded
/// by the largest one that is compressed, big-endian, or no plain run of bytes. Names, dtypes, shapes and
/// bytes, plain values, what shares a storage with what, and the file's own metadata are carried over; nothing
/// is lost silently.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let (source, destination) = (directory.path().join("a.pt"), directory.path().join("a.safetensors"));
/// use ckpt::save::{ConvertOptions, convert};
/// use ckpt::tensor::TensorView;
/// use ckpt::{Dtype, State};
///
/// let mut state = State::new();
/// state.insert("w", TensorView::new(Dtype::U8, [3], vec![1, 2, 3])?)?;
/// state.insert("step", 7)?;
/// ckpt::save(&source, &state, &Default::default())?;
/// let converted = convert(&source, &destination, &ConvertOptions::default())?;
/// assert_eq!((converted.tensors, converted.dropped.len()), (1, 0));
/// assert!(ckpt::load(&destination, &Default::default())?.same_as(&state)?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// The source is damaged or of no use ([`Error::finding`] says why), or changed meanwhile; it is several
/// files; the format can't hold all of it, and losses aren't allowed; or the file can't be written, as with
/// [`save`](crate::save::save()). Nothing of the new file is left then.
pub fn convert(source: &Path, destination: &Path, options: &ConvertOptions) -> Result<Converted, Error> {
    let start = Instant::now();
    let format = options.save.format.map_or_else(|| Format::of(destination), Ok)?;
    refuse_same(source, destination)?;
    let load =
        LoadOptions { allowed_globals: options.verify.allowed_globals.clone(), ..LoadOptions::default() };
    // Opened before it is verified: a change is then seen, whenever it comes.
    let Loaded { state, source: file, format: from, metadata, proof, .. } = open_streamed(source, &load)?;
    if let Some(finding) = verify(source, &options.verify).reason() {
        return Err(Error::found(source, finding.clone()));
    }
    let Fitted { state, dropped } = fit(state, format)?;
    if let (Some(_), false) = (dropped.first(), options.lossy) {
        return Err(refusal(&dropped, format).at(source));
    }
    let mut save = SaveOptions { format: Some(format), ..options.save.clone() };
    save.position = save.position.or(proof.and_then(|proof| proof.position));
    for (key, value) in metadata {
        // What every safetensors file says anew.
        if (key.as_str(), value.as_str()) != ("format", "pt") {
            save.metadata.entry(key).or_insert(value);
        }
    }
    let tensors = state.tensors()?.len() as u64;
    let notes = device_note(&state, format).into_iter().collect();
    let saved = save_checked(&LocalDisk, destination, &state, &save, &|| refuse_change(source, &file))?;
    Ok(Converted {
        schema: CONVERT_SCHEMA.to_owned(),
        source: source.to_owned(),
        destination: destination.to_owned(),
        from,
        to: format.as_str().to_owned(),
        tensors,
        bytes: saved.bytes,
        proof: saved.proof.id(),
        dropped,
        notes,
        elapsed_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// Refuses to take a file's own place: the one that could be read again would be gone.
pub(in crate::save) fn refuse_same(source: &Path, destination: &Path) -> Result<(), Error> {
    match (source.canonicalize(), destination.canonicalize()) {
        (Ok(one), Ok(other)) if one == other => {
            Err(Error::usage("it is the source itself: choose another name").at(destination))
        }
        _ => Ok(()),
    }
}

/// Refuses a file that was written to while it was read: what was read may be a mixture.
pub(in crate::save) fn refuse_change(path: &Path, file: &FileSource) -> Result<(), Error> {
    if !file.changed().map_err(|error| Error::io(path, "look at it", error))? {
        return Ok(());
    }
    let message = "the file changed while it was read: nothing was written";
    Err(Error::found(path, Finding::unreadable(Code::ChangedWhileRead, Level::Load, message)))
}

/// The error for what can't be carried over.
fn refusal(dropped: &[Dropped], format: Format) -> Error {
    let one = |Dropped { path, reason }: &Dropped| format!("'{}': {reason}", path.escape_debug());
    let mut named: Vec<_> = dropped.iter().take(NAMED_LOSSES).map(one).collect();
    if dropped.len() > NAMED_LOSSES {
        named.push(format!("and {} more", dropped.len() - NAMED_LOSSES));
    }
    let named = named.join("; ");
    Error::usage(format!(
        "the format {} can't hold all of it: {named}; allow losses (--lossy) to leave that out",
        format.as_str()
    ))
}

/// Says that tensors lose the device that they were saved from. A safetensors file's structure keeps it.
fn device_note(state: &State<'_>, format: Format) -> Option<String> {
    let storages = state.tree().storages().iter().filter(|_| format != Format::Safetensors);
    let devices: BTreeSet<_> = storages
        .map(|storage| storage.device.as_str())
        .filter(|name| !matches!(*name, "cpu" | "meta"))
        .collect();
    if devices.is_empty() {
        return None;
    }
    let names: Vec<_> = devices.into_iter().take(8).map(|name| name.escape_debug().to_string()).collect();
    Some(format!("tensors saved from {} become tensors on the CPU", names.join(", ")))
}
