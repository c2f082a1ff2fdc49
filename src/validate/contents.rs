use std::collections::{BTreeMap, HashMap};

use crate::format::Proven;
use crate::record::{Code, Finding, FormatKind, Integrity, Level, Place, TensorInfo};
use crate::tensor::{Node, Tree, WalkError};

/// What the check of one checkpoint, or of one file of it, gave.
#[derive(Debug)]
pub(super) struct Checked {
    /// What the content is.
    pub(super) format: FormatKind,
    /// The deepest level that was checked.
    pub(super) level: Option<Level>,
    /// The size of all files that were looked at.
    pub(super) bytes: u64,
    /// How much of the contents was held against checksums.
    pub(super) integrity: Integrity,
    /// The facts, in the order in which they were found.
    pub(super) findings: Vec<Finding>,
    /// What is inside, where the structure could be read.
    pub(super) contents: Option<Contents>,
    /// The proof that the file carries, until it was held against the data.
    pub(super) proven: Option<Box<Proven>>,
    /// The id of the file's own proof, where its head is the one that was saved.
    pub(super) proof_id: Option<String>,
    /// How many files were taken in.
    parts: usize,
}

/// What a checkpoint holds, as far as the level `keys` and `info` ask for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    /// The tensors, in the order of the file; a shared one at each of its places.
    pub(super) tensors: Vec<TensorInfo>,
    /// Every key from the top on, joined by dots, with the tensor that it leads to.
    pub(super) keys: Vec<(String, Option<usize>)>,
    /// Whether the top level is a map, so that there can be keys.
    pub(super) is_map: bool,
    /// The field `version`, where it is plain.
    pub(super) version: Option<String>,
    /// The field `status`, where it is plain.
    pub(super) status: Option<String>,
    /// Whether ckpt itself wrote the file, so that `version` and `status` mean what they say.
    pub(super) tagged: bool,
    /// What the file says of itself beside its contents.
    pub(super) metadata: BTreeMap<String, String>,
}

impl Contents {
    /// Lists the tensors of a tree, and where asked for all keys.
    pub(super) fn of(tree: &Tree, with_keys: bool) -> Result<Self, Box<Finding>> {
        let tensors = tree.tensor_infos().map_err(too_complex)?;
        let mut keys = Vec::new();
        if with_keys {
            let mut next = 0;
            let walked = tree.walk(|leaf| {
                let tensor = matches!(leaf.node, Node::Tensor(_)).then_some(next);
                next += usize::from(tensor.is_some());
                // The top level is no key, unless it is the one tensor.
                if leaf.depth > 0 || tensor.is_some() {
                    keys.push((leaf.path.to_owned(), tensor));
                }
            });
            walked.map_err(too_complex)?;
        }
        let field = |name: &str| tree.get(tree.root(), name).and_then(|id| plain(tree.node(id)));
        Ok(Self {
            version: field("version"),
            status: field("status"),
            is_map: tree.is_map(),
            tensors,
            keys,
            ..Self::default()
        })
    }
}

/// The finding for values that can't be listed.
fn too_complex(error: WalkError) -> Box<Finding> {
    let message = format!("the values are too complex: {error}");
    Box::new(Finding::incompatible(Code::TooComplex, Level::Load, message))
}

/// A plain value as text, for the fields `version` and `status`.
fn plain(node: &Node) -> Option<String> {
    match node {
        Node::Text(text) => Some(text.to_string()),
        Node::Int(value) => Some(value.to_string()),
        Node::Float(value) => Some(format!("{value:?}")),
        _ => None,
    }
}

impl Checked {
    /// A check that has found nothing yet.
    pub(super) fn new(format: FormatKind, level: Option<Level>) -> Self {
        Self {
            format,
            level,
            bytes: 0,
            integrity: Integrity::None,
            findings: Vec::new(),
            contents: None,
            proven: None,
            proof_id: None,
            parts: 0,
        }
    }

    /// Takes in the check of one of this checkpoint's files.
    ///
    /// A JSON file has no checksums by nature, and no say in how much of the tensors was proven.
    pub(super) fn absorb(&mut self, file: &str, part: Self) {
        self.bytes += part.bytes;
        if part.format != FormatKind::Json {
            self.integrity =
                if self.parts == 0 { part.integrity } else { self.integrity.and(part.integrity) };
            self.parts += 1;
        }
        self.level = self.level.max(part.level);
        self.findings.extend(part.findings.into_iter().map(|finding| match &finding.at.file {
            Some(_) => finding,
            None => finding.at_file(file),
        }));
    }

    /// Python objects that only trusted code can rebuild: intact is all that can be asked of them, and one note says
    /// so for all of their names.
    pub(super) fn settle_for_intact(&mut self) {
        let (trust, others): (Vec<Finding>, Vec<Finding>) =
            self.findings.drain(..).partition(|finding| finding.code == Code::NeedsTrust);
        self.findings = others;
        if let Some(first) = trust.first() {
            let names =
                if trust.len() > 1 { format!(", and {} more", trust.len() - 1) } else { String::new() };
            let message = format!(
                "needs trust by nature, so that intact is all that is asked: {}{names}",
                first.message
            );
            self.findings.push(Finding::note(Code::IntactOnly, first.level, message));
        }
    }

    /// Makes one note of those that say the same of several `parts`: a hundred shards have no checksums.
    pub(super) fn merge_notes(&mut self, parts: &str) {
        let mut counts: HashMap<(Code, String), usize> = HashMap::new();
        for note in self.findings.iter().filter(|finding| !finding.is_failure()) {
            *counts.entry((note.code, note.message.clone())).or_default() += 1;
        }
        let mut merged = Vec::with_capacity(self.findings.len());
        for mut finding in self.findings.drain(..) {
            if !finding.is_failure() {
                // The first one takes the count, the others find none.
                match counts.remove(&(finding.code, finding.message.clone())) {
                    None => continue,
                    Some(1) => {}
                    Some(count) => {
                        finding.message = format!("{} (in {count} {parts})", finding.message);
                        finding.at = Place::default();
                    }
                }
            }
            merged.push(finding);
        }
        self.findings = merged;
    }

    /// Returns whether a finding changes the verdict: deeper levels would build on sand then.
    pub(super) fn failed(&self) -> bool {
        self.findings.iter().any(Finding::is_failure)
    }
}
