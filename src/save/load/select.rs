//! Which tensors are loaded, and whether those that must be there are.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::LoadOptions;
use crate::Error;
use crate::record::{Code, Finding, Level, TensorInfo};
use crate::tensor::{Body, Node, NodeId, StorageId, Tree};
use crate::validate::{KeyEntry, check_requirements};

/// All keys of a checkpoint, with the tensors among them.
pub(super) struct Listing {
    keys: Vec<Key>,
}

/// A key, with its tensor where it leads to one.
struct Key {
    path: String,
    tensor: Option<(NodeId, TensorInfo)>,
}

impl Listing {
    /// Lists the keys of a tree.
    pub(super) fn of(path: &Path, tree: &Tree) -> Result<Self, Error> {
        let mut keys = Vec::new();
        let walked = tree.walk(|leaf| {
            let tensor = match leaf.node {
                Node::Tensor(tensor) => {
                    let bytes = tensor.len_bytes().unwrap_or(u64::MAX);
                    let (name, shape) = (leaf.path.to_owned(), tensor.shape.clone());
                    Some((leaf.id, TensorInfo { name, dtype: tensor.dtype, shape, bytes }))
                }
                _ => None,
            };
            // The top level is no key, unless it is the one tensor.
            if leaf.depth > 0 || tensor.is_some() {
                keys.push(Key { path: leaf.path.to_owned(), tensor });
            }
        });
        walked.map_err(|error| {
            let message = format!("the values are too complex: {error}");
            Error::found(path, Finding::incompatible(Code::TooComplex, Level::Load, message))
        })?;
        Ok(Self { keys })
    }

    /// Refuses a checkpoint that hasn't the keys that are asked for, by `require` and by `tensors`.
    pub(super) fn check<'s>(&'s self, path: &Path, tree: &Tree, options: &LoadOptions) -> Result<(), Error> {
        if options.require.is_empty() && options.tensors.is_empty() {
            return Ok(());
        }
        if !tree.is_map() {
            let message = "keys are asked for, and the checkpoint's top level is no map";
            return Err(Error::found(path, Finding::incompatible(Code::NotAMap, Level::Keys, message)));
        }
        let entry =
            |key: &'s Key| KeyEntry { path: &key.path, tensor: key.tensor.as_ref().map(|(_, info)| info) };
        let keys: Vec<_> = self.keys.iter().map(entry).collect();
        let required = options.require.iter().chain(&options.tensors).cloned().collect::<Vec<_>>();
        match check_requirements(&required, &keys).into_iter().find(Finding::is_failure) {
            Some(finding) => Err(Error::found(path, finding)),
            None => Ok(()),
        }
    }

    /// Returns the tensors that aren't selected. One that stands at several places is, if it is at any.
    pub(super) fn unselected(&self, options: &LoadOptions) -> HashSet<NodeId> {
        if options.tensors.is_empty() {
            return HashSet::new();
        }
        let selected = |key: &&Key| options.tensors.iter().any(|wanted| wanted.matches(&key.path));
        let ids = |key: &Key| key.tensor.as_ref().map(|(id, _)| *id);
        let kept: HashSet<_> = self.keys.iter().filter(selected).filter_map(ids).collect();
        self.keys.iter().filter_map(ids).filter(|id| !kept.contains(id)).collect()
    }

    /// Returns the first tensor's name for each storage.
    pub(super) fn names(&self, tree: &Tree) -> HashMap<StorageId, String> {
        let mut names = HashMap::new();
        for key in &self.keys {
            let Some((id, _)) = &key.tensor else { continue };
            if let Node::Tensor(tensor) = tree.node(*id)
                && let Body::Strided { storage, .. } = &tensor.body
            {
                names.entry(*storage).or_insert_with(|| key.path.clone());
            }
        }
        names
    }

    /// Returns the tensors by their names; of two of one name, the first.
    pub(super) fn tensors(&self) -> HashMap<&str, NodeId> {
        let pairs = self.keys.iter().rev();
        pairs.filter_map(|key| Some((key.path.as_str(), key.tensor.as_ref()?.0))).collect()
    }
}
