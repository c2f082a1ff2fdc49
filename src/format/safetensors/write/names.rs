//! What the tensors of the file are called.

use std::collections::{HashMap, HashSet};

use super::plan::Stored;
use crate::Error;
use crate::tensor::{Body, Node, Tree};

/// The header's key that is no tensor's.
const METADATA: &str = "__metadata__";

/// What a tensor is called that is the root itself, or has an empty key: not every tool takes an empty name.
const NAMELESS: &str = "tensor";

/// Gives every stored tensor its name: the keys to it, joined by dots, the first way that a walk takes. A name
/// that is taken gets a suffix.
///
/// # Errors
///
/// The tree can't be walked: it is too deep, its keys too long, or it shares containers too often.
pub(super) fn assign(tree: &Tree, plan: &mut [Option<Stored<'_>>]) -> Result<(), Error> {
    let mut paths: HashMap<u32, String> = HashMap::new();
    let walked = tree.walk(|leaf| {
        if matches!(leaf.node, Node::Tensor(_)) {
            paths.entry(leaf.id.0).or_insert_with(|| leaf.path.to_owned());
        }
    });
    walked.map_err(|error| Error::usage(format!("the state can't be saved: {error}")))?;
    name_parts(tree, &mut paths);
    let mut names = Names::default();
    for (number, stored) in plan.iter_mut().enumerate() {
        let Some(stored) = stored else { continue };
        stored.info.name = match stored.owner {
            None => names.take(&format!("ckpt.storage.{number}")),
            Some(at) => match u32::try_from(at).ok().and_then(|at| paths.get(&at)) {
                None => names.take(&format!("ckpt.tensor.{at}")),
                Some(path) if path.is_empty() => names.take(NAMELESS),
                Some(path) => names.take(path),
            },
        };
    }
    Ok(())
}

/// Names the parts of sparse and nested tensors, which a walk doesn't visit, behind their whole.
fn name_parts(tree: &Tree, paths: &mut HashMap<u32, String>) {
    let mut wholes: Vec<_> = paths.iter().map(|(id, path)| (*id, path.clone())).collect();
    wholes.sort_unstable();
    for (id, path) in wholes {
        let Node::Tensor(tensor) = tree.node(crate::tensor::NodeId(id)) else { continue };
        let parts = match &tensor.body {
            Body::Sparse { parts, .. } => parts.clone(),
            Body::Nested { buffer, sizes, strides, offsets } => {
                vec![("buffer", *buffer), ("sizes", *sizes), ("strides", *strides), ("offsets", *offsets)]
            }
            _ => continue,
        };
        for (name, part) in parts {
            paths.entry(part.0).or_insert_with(|| format!("{path}.{name}"));
        }
    }
}

/// The names that are taken.
#[derive(Default)]
struct Names {
    taken: HashSet<String>,
    /// The last suffix of each name that was asked for twice.
    suffixes: HashMap<String, u64>,
}

impl Names {
    /// Takes a name, or the first with a suffix that is free.
    fn take(&mut self, wanted: &str) -> String {
        if wanted != METADATA && self.taken.insert(wanted.to_owned()) {
            return wanted.to_owned();
        }
        let suffix = self.suffixes.entry(wanted.to_owned()).or_insert(1);
        loop {
            *suffix += 1;
            let name = format!("{wanted}~{suffix}");
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}
