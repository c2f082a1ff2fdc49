//! What `torch.save` wrote before PyTorch 1.6, and still does on request.
//!
//! Source: `_legacy_save` and `_legacy_load` in `torch/serialization.py`. One after the other:
//!
//! ```text
//! pickle: the magic number 0x1950a86a20f9469cfc6c      pickle: the values
//! pickle: the protocol, 1001                           pickle: the list of storage keys
//! pickle: about the writing system                     for each key: i64 elements, the bytes
//! ```
//!
//! The format holds no checksum: damage inside a tensor can't be seen.

use std::collections::HashMap;

use super::ReadOptions;
use super::checkpoint::{Checkpoint, StorageData};
use super::fault_finding;
use super::pickle::{self, Fault, FaultKind, Pickle};
use crate::format::{Flaw, read_vec};
use crate::io::ReadAt;
use crate::record::{Code, Finding, Level, quoted};
use crate::tensor::{Node, Storage, Tree};

/// The magic number, as `LONG1` writes it.
const MAGIC: [u8; 12] = [0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The magic number, as `LONG` of protocols 0 and 1 writes it.
const MAGIC_TEXT: &[u8] = b"L119547037146038801333356L\n.";
/// The second pickle: the version of this layout, which never had another.
const PROTOCOL: i64 = 1001;

/// The pickles are read with a window that grows from this …
const FIRST_WINDOW: u64 = 1 << 20;
/// … to this: a checkpoint's pickles have kilobytes, sometimes megabytes.
const LAST_WINDOW: u64 = 256 << 20;

/// Returns whether a file that begins with these bytes is of this format.
pub fn looks_like(head: &[u8]) -> bool {
    let head = match head {
        [0x80, _, rest @ ..] => rest,
        other => other,
    };
    // Protocol 4 puts a frame around it.
    let head = match head {
        [0x95, _, _, _, _, _, _, _, _, rest @ ..] => rest,
        other => other,
    };
    head.starts_with(&MAGIC) || head.starts_with(MAGIC_TEXT)
}

/// Reads the values, and finds the data of each storage. Executes nothing.
///
/// # Errors
///
/// A pickle can't be read, or the storages don't fill the rest of the file.
pub fn read(source: &dyn ReadAt, options: &ReadOptions) -> Result<Checkpoint, Flaw> {
    let mut window = FIRST_WINDOW;
    let pickles = loop {
        let length = window.min(source.len());
        let bytes = read_vec(source, 0..length)?;
        match Pickles::read(&bytes, options) {
            Err(fault) if fault.kind == FaultKind::Truncated && length < source.len().min(LAST_WINDOW) => {
                window = window.saturating_mul(4);
            }
            other => break other.map_err(|fault| fault_finding(&fault, false))?,
        }
    };
    let (data, end) = locate(source, &pickles)?;
    let mut values = pickles.values;
    if values.tree.storages().iter().any(|storage| storage.dtype.is_none()) {
        // PyTorch 2.13 writes these, and fails when it reads them.
        values.beyond_torch = Some("an untyped storage in the old format".to_owned());
    }
    let mut checkpoint = Checkpoint::new(values, data, false, false);
    if end < source.len() {
        let message =
            format!("{} bytes follow the checkpoint; PyTorch doesn't look at them", source.len() - end);
        checkpoint.findings.push(Finding::note(Code::StrayBytes, Level::Load, message).at_offset(end));
    }
    Ok(checkpoint)
}

/// The five pickles at the beginning of the file.
struct Pickles {
    values: Pickle,
    keys: Vec<String>,
    bytes: u64,
}

impl Pickles {
    /// Reads the five pickles, one behind the other.
    ///
    /// PyTorch runs all of them through the same unpickler, so what any of them asks for counts. A fault is
    /// told by its offset in the file, not in its pickle.
    fn read(bytes: &[u8], options: &ReadOptions) -> Result<Self, Fault> {
        let mut at = 0;
        let mut next = || {
            let rest = bytes.get(at..).unwrap_or_default();
            let pickle = pickle::read(rest, options)
                .map_err(|fault| Fault { offset: fault.offset + at as u64, ..fault })?;
            at += usize::try_from(pickle.bytes).unwrap_or(usize::MAX);
            Ok(pickle)
        };
        let (magic, protocol, system) = (next()?, next()?, next()?);
        let (mut values, keys) = (next()?, next()?);
        if !matches!(root(&magic), Node::BigInt(number) if MAGIC.ends_with(number)) {
            return Err(fault(0, "the magic number is another".to_owned()));
        }
        if root(&protocol) != &Node::Int(PROTOCOL) {
            return Err(fault(at, format!("the protocol isn't {PROTOCOL}")));
        }
        let Some(names) = texts(&keys.tree) else {
            return Err(fault(at, "the list of storages is no list of strings".to_owned()));
        };
        for other in [magic, protocol, system, keys] {
            add_names(&mut values, other);
        }
        Ok(Self { values, keys: names, bytes: at as u64 })
    }
}

/// Returns the value that the pickle gives.
fn root(pickle: &Pickle) -> &Node {
    pickle.tree.node(pickle.tree.root())
}

/// Takes up what another of the five pickles asks for: whoever loads the file executes them all.
fn add_names(values: &mut Pickle, other: Pickle) {
    for (all, more) in [
        (&mut values.unknown_globals, other.unknown_globals),
        (&mut values.allowed_globals, other.allowed_globals),
    ] {
        all.extend(more);
        all.sort_unstable();
        all.dedup();
    }
    values.beyond_torch = values.beyond_torch.take().or(other.beyond_torch);
}

/// A fault of the order of the pickles, found when the one at `at` had been read.
fn fault(at: usize, message: String) -> Fault {
    Fault { kind: FaultKind::Invalid, message, offset: at as u64, unknown_globals: Vec::new() }
}

/// Returns the strings of a list of strings; `None` for anything else.
fn texts(tree: &Tree) -> Option<Vec<String>> {
    let Node::List(items) = tree.node(tree.root()) else { return None };
    items
        .iter()
        .map(|&item| match tree.node(item) {
            Node::Text(text) => Some(text.to_string()),
            _ => None,
        })
        .collect()
}

/// Steps over the storages behind the pickles. Returns where each one's data lies, and where the last
/// one ends.
fn locate(source: &dyn ReadAt, pickles: &Pickles) -> Result<(Vec<StorageData>, u64), Flaw> {
    let storages = pickles.values.tree.storages();
    let mut places: HashMap<&str, StorageData> = HashMap::new();
    let by_key: HashMap<&str, &Storage> = storages
        .iter()
        .filter(|storage| storage.part_of.is_none())
        .map(|storage| (storage.key.as_str(), storage))
        .collect();
    let mut at = pickles.bytes;
    for key in &pickles.keys {
        let Some(storage) = by_key.get(key.as_str()) else {
            let message = format!("the list of storages has '{}', which no tensor uses", key.escape_debug());
            return Err(Finding::corrupted(Code::PickleDamaged, Level::Container, message).into());
        };
        let start = at.saturating_add(8);
        let end = start.saturating_add(storage.bytes);
        if end > source.len() {
            return Err(short(storage, end - source.len()).at_offset(source.len()).into());
        }
        let count = read_vec(source, at..start)?;
        let count = count.try_into().map_or(0, i64::from_le_bytes);
        let expected = storage.dtype.map_or(storage.bytes, |dtype| storage.bytes / (dtype.bits() / 8).max(1));
        if u64::try_from(count) != Ok(expected) {
            let message =
                format!("storage {} has {count} elements here, and {expected} in the pickle", quoted(key));
            return Err(Finding::corrupted(Code::StorageSize, Level::Container, message)
                .at_offset(at)
                .into());
        }
        places.insert(key, StorageData::At(start..end));
        at = end;
    }
    let data = storages.iter().map(|storage| place(storage, &places)).collect::<Result<_, _>>()?;
    Ok((data, at))
}

/// Finds a storage's data among those that were stepped over.
fn place(storage: &Storage, places: &HashMap<&str, StorageData>) -> Result<StorageData, Finding> {
    if let Some((whole, start)) = storage.part_of {
        return Ok(StorageData::PartOf(whole, start));
    }
    places.get(storage.key.as_str()).cloned().ok_or_else(|| {
        let message =
            format!("storage '{}' is in no list: its data isn't in the file", storage.key.escape_debug());
        Finding::corrupted(Code::RecordMissing, Level::Container, message)
    })
}

/// The finding for a file that ends within a storage. Data is written last, so this is what a write that was
/// broken off looks like.
fn short(storage: &Storage, missing: u64) -> Finding {
    let message =
        format!("the file ends {missing} bytes before storage '{}' does", storage.key.escape_debug());
    Finding::corrupted(Code::Truncated, Level::Container, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `torch.save` writes for `values`, without storages' data.
    fn legacy(values: &str) -> Vec<u8> {
        [MAGIC_TEXT, b"I1001\n.N.", values.as_bytes(), b".(S'0'\nl."].concat()
    }

    #[test]
    fn an_untyped_storage_is_beyond_pytorch() {
        for (class, beyond) in [("ctorch.storage\nUntypedStorage\n", true), ("ctorch\nByteStorage\n", false)]
        {
            let mut file = legacy(&format!("(U\x07storage{class}U\x010U\x03cpuK\x01NtQ"));
            file.extend(1_u64.to_le_bytes());
            file.push(7);
            let checkpoint = read(&file, &ReadOptions::default()).unwrap();
            let refuses =
                |finding: &Finding| finding.code == Code::TorchRefuses && finding.message.contains("untyped");
            assert_eq!(checkpoint.findings.iter().any(refuses), beyond, "{:?}", checkpoint.findings);
        }
    }

    #[test]
    fn protocol_0_with_tensors_is_not_damaged() {
        let file = legacy("P('storage', <class 'torch.FloatStorage'>, '0', 'cpu', 3)\n");
        let Err(Flaw::Found(finding)) = read(&file, &ReadOptions::default()) else { panic!("it was read") };
        assert_eq!(finding.verdict, crate::record::Verdict::Incompatible);
    }
}
