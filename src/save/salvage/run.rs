use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::SalvageOptions;
use super::judge::{Verdict, judge};
use super::remains::{self, Remains};
use crate::Error;
use crate::format::Flaw;
use crate::io::FileSource;
use crate::io::commit::LocalDisk;
use crate::record::{Evidence, FormatKind, Missing, SALVAGE_SCHEMA, Salvaged};
use crate::save::convert::{Fitted, fit, refuse_change, refuse_same};
use crate::save::load::stream;
use crate::save::store::save_checked;
use crate::save::{Format, SaveOptions};
use crate::tensor::{Body, Node, NodeId, StorageId, Tree};

/// The metadata that says where a salvaged file comes from.
const FROM_KEY: &str = "salvaged-from";
/// The metadata that says how many tensors are missing.
const MISSING_KEY: &str = "salvaged-missing";
/// The metadata that says how many tensors nothing proves.
const UNPROVEN_KEY: &str = "salvaged-unproven";

/// How deep the parts of tensors are looked through.
const MAX_PARTS_DEPTH: usize = 8;

/// Saves what is intact of a damaged checkpoint into a new file.
///
/// A tensor is intact if the file proves it: by the digests of a proof whose head is intact, or by the CRC-32
/// of an archive's records, with or without the archive's directory. Others are saved only where
/// [`SalvageOptions::unproven`] asks for them, and are listed as unproven. Plain values are kept. The tree keeps
/// its shape: a missing tensor's key is left out of a map, and in a list its place holds `None`.
///
/// The new file's metadata says what it is: `salvaged-from`, `salvaged-missing`, `salvaged-unproven`.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let (damaged, out) = (directory.path().join("a.pt"), directory.path().join("b.pt"));
/// use ckpt::save::{SalvageOptions, salvage};
/// use ckpt::tensor::TensorView;
/// use ckpt::{Dtype, State};
///
/// let mut state = State::new();
/// state.insert("a", TensorView::new(Dtype::U8, [4000], vec![1; 4000])?)?;
/// state.insert("b", TensorView::new(Dtype::U8, [4000], vec![2; 4000])?)?;
/// ckpt::save(&damaged, &state, &Default::default())?;
/// let whole = std::fs::read(&damaged)?;
/// std::fs::write(&damaged, &whole[..6000])?; // a copy that was broken off
/// let salvaged = salvage(&damaged, &out, &SalvageOptions::default())?;
/// assert_eq!((salvaged.saved, salvaged.missing[0].name.as_str()), (1, "b"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Nothing says any more what the bytes are; no tensor could be saved; or the new file can't be written.
/// Nothing of it is left then.
pub fn salvage(damaged: &Path, destination: &Path, options: &SalvageOptions) -> Result<Salvaged, Error> {
    let start = Instant::now();
    let format = options.save.format.map_or_else(|| Format::of(destination), Ok)?;
    refuse_same(damaged, destination)?;
    let source = FileSource::open(damaged).map_err(|error| Error::io(damaged, "read it", error))?;
    let source = Arc::new(source);
    let remains = remains::read(damaged, &source, options).map_err(|flaw| match flaw {
        Flaw::Found(finding) => Error::found(damaged, *finding),
        Flaw::Io(error) => Error::io(damaged, "read it", error),
    })?;
    let verdicts = judge(&remains, &source, options);
    let Remains { structure, evidence, is_vouched, .. } = remains;
    let chosen = Choice::new(&structure.tree, &verdicts, options.unproven).list(&structure.tree, damaged)?;
    if chosen.saved == 0 && !chosen.missing.is_empty() {
        return Err(nothing(damaged, &chosen, options));
    }
    let (from, metadata) = (structure.format, structure.metadata.clone());
    let state = stream(damaged, &source, structure)?.pruned(&|id| chosen.gone.contains(&id));
    let Fitted { state, dropped } = fit(state, format)?;
    let mut save = SaveOptions { format: Some(format), ..options.save.clone() };
    for (key, value) in metadata.into_iter().filter(|(key, _)| key != "format").chain(told(damaged, &chosen))
    {
        save.metadata.insert(key, value);
    }
    let saved = save_checked(&LocalDisk, destination, &state, &save, &|| refuse_change(damaged, &source))?;
    let Choice { saved: count, unproven, missing, .. } = chosen;
    let notes = note(evidence, is_vouched, from).into_iter().collect();
    Ok(Salvaged {
        schema: SALVAGE_SCHEMA.to_owned(),
        source: damaged.to_owned(),
        destination: destination.to_owned(),
        from,
        to: format.as_str().to_owned(),
        evidence,
        saved: count,
        unproven,
        missing,
        dropped,
        notes,
        bytes: saved.bytes,
        proof: saved.proof.id(),
        elapsed_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// The metadata that says what the new file is.
fn told(damaged: &Path, chosen: &Choice<'_>) -> Vec<(String, String)> {
    let name = damaged.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut told =
        vec![(FROM_KEY.to_owned(), name), (MISSING_KEY.to_owned(), chosen.missing.len().to_string())];
    if !chosen.unproven.is_empty() {
        told.push((UNPROVEN_KEY.to_owned(), chosen.unproven.len().to_string()));
    }
    told
}

/// Says what else is to be known.
fn note(evidence: Evidence, is_vouched: bool, from: FormatKind) -> Option<String> {
    if is_vouched {
        return None;
    }
    Some(match evidence {
        Evidence::None => format!("a {from} file without a proof has no checksums: nothing proves any of it"),
        _ => "the head is damaged: names, shapes and plain values may be others than were written".to_owned(),
    })
}

/// The error where no tensor could be saved.
fn nothing(damaged: &Path, chosen: &Choice<'_>, options: &SalvageOptions) -> Error {
    let first = chosen.missing.first().map_or_else(String::new, |Missing { name, reason, .. }| {
        format!("; '{}': {reason}", name.escape_debug())
    });
    let count = chosen.missing.len();
    let more = match chosen.left_out {
        0 => String::new(),
        _ if options.unproven => String::new(),
        left_out => format!("; {left_out} of them lie wholly in the file, and nothing proves them"),
    };
    let message = format!("none of its {count} tensors could be saved, and nothing was written{first}{more}");
    Error::nothing(damaged, message)
}

/// Which tensors are saved.
struct Choice<'v> {
    verdicts: &'v [Verdict],
    with_unproven: bool,
    /// The values that aren't saved.
    gone: HashSet<NodeId>,
    saved: u64,
    unproven: Vec<String>,
    missing: Vec<Missing>,
    /// How many are missing only because nothing proves them.
    left_out: usize,
}

impl<'v> Choice<'v> {
    /// Chooses among all tensors, and storages that stand by themselves.
    fn new(tree: &Tree, verdicts: &'v [Verdict], with_unproven: bool) -> Self {
        let gone = HashSet::new();
        let mut this = Self {
            verdicts,
            with_unproven,
            gone,
            saved: 0,
            unproven: Vec::new(),
            missing: Vec::new(),
            left_out: 0,
        };
        let is_gone = |id: &NodeId| match this.worst(tree, *id, 0) {
            Verdict::Intact => false,
            Verdict::Unproven(_) => !with_unproven,
            Verdict::Lost(_) => true,
        };
        let ids = (0..tree.len()).filter_map(|number| u32::try_from(number).ok()).map(NodeId);
        let gone = ids.filter(is_gone).collect();
        this.gone = gone;
        this
    }

    /// Returns the worst verdict on what a value is made of.
    fn worst(&self, tree: &Tree, id: NodeId, depth: usize) -> Verdict {
        let storage = |id: StorageId| {
            let verdict = self.verdicts.get(id.0 as usize).cloned();
            verdict.unwrap_or_else(|| Verdict::Lost("it has no storage".to_owned()))
        };
        let Node::Tensor(tensor) = tree.node(id) else {
            return if let Node::Storage(id) = tree.node(id) { storage(*id) } else { Verdict::Intact };
        };
        let parts = match &tensor.body {
            Body::Strided { storage: id, .. } => return storage(*id),
            Body::Sparse { parts, .. } => parts.iter().map(|(_, part)| *part).collect(),
            Body::Nested { buffer, sizes, strides, offsets } => vec![*buffer, *sizes, *strides, *offsets],
            Body::Converted(source) => vec![*source],
            Body::Meta => Vec::new(),
        };
        let mut worst = Verdict::Intact;
        for part in parts.into_iter().filter(|_| depth < MAX_PARTS_DEPTH) {
            worst = match (worst, self.worst(tree, part, depth + 1)) {
                (lost @ Verdict::Lost(_), _) | (_, lost @ Verdict::Lost(_)) => lost,
                (unproven @ Verdict::Unproven(_), _) => unproven,
                (Verdict::Intact, other) => other,
            };
        }
        worst
    }

    /// Lists the tensors by name.
    fn list(mut self, tree: &Tree, path: &Path) -> Result<Self, Error> {
        let mut known: HashMap<NodeId, Verdict> = HashMap::new();
        let walked = tree.walk(|leaf| {
            let Node::Tensor(tensor) = leaf.node else { return };
            let verdict = known.entry(leaf.id).or_insert_with(|| self.worst(tree, leaf.id, 0)).clone();
            let reason = match verdict {
                Verdict::Intact => {
                    self.saved += 1;
                    return;
                }
                Verdict::Unproven(_) if self.with_unproven => {
                    self.saved += 1;
                    self.unproven.push(leaf.path.to_owned());
                    return;
                }
                Verdict::Unproven(reason) => {
                    self.left_out += 1;
                    reason
                }
                Verdict::Lost(reason) => reason,
            };
            let (name, shape) = (leaf.path.to_owned(), tensor.shape.clone());
            self.missing.push(Missing { name, dtype: tensor.dtype, shape, reason });
        });
        walked.map_err(|error| Error::usage(format!("the values are too complex: {error}")).at(path))?;
        Ok(self)
    }
}
