use std::path::Path;

use crate::Error;
use crate::record::{Code, Finding, Level, quoted};
use crate::tensor::{Node, NodeId, Tree};

/// The ids of a table, in its order.
#[derive(Debug)]
pub(super) enum Ids {
    /// Texts of the file's own values.
    Values(Vec<NodeId>),
    /// Texts of its metadata.
    Texts(Vec<String>),
}

impl Ids {
    /// Takes a list of texts. `key` is what leads to it.
    pub(super) fn of(path: &Path, tree: &Tree, key: &str, list: NodeId) -> Result<Self, Error> {
        let (Node::List(items) | Node::Tuple(items)) = tree.node(list) else {
            let what = tree.node(list).type_name();
            return Err(unfit(path, key, &format!("the ids are no list, but a value of type {what}")));
        };
        let other = items.iter().enumerate().find(|(_, item)| tree.node(**item).as_str().is_none());
        if let Some((place, item)) = other {
            let what = tree.node(*item).type_name();
            return Err(unfit(path, key, &format!("id {place} is no text, but a value of type {what}")));
        }
        Ok(Self::Values(items.clone()))
    }

    /// Takes the JSON list of texts that a safetensors file has in its metadata.
    pub(super) fn parse(path: &Path, key: &str, json: &str) -> Result<Self, Error> {
        serde_json::from_str(json).map(Self::Texts).map_err(|error| {
            unfit(path, key, &format!("the ids in the metadata are no JSON list of texts: {error}"))
        })
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Values(items) => items.len(),
            Self::Texts(texts) => texts.len(),
        }
    }

    /// Returns one of them.
    pub(super) fn get<'t>(&'t self, tree: &'t Tree, place: usize) -> Option<&'t str> {
        match self {
            Self::Values(items) => items.get(place).and_then(|item| tree.node(*item).as_str()),
            Self::Texts(texts) => texts.get(place).map(String::as_str),
        }
    }
}

/// The error for a value that can't be what it is taken for.
pub(super) fn unfit(path: &Path, key: &str, message: &str) -> Error {
    let message = format!("{message} (key {})", quoted(key));
    Error::found(path, Finding::incompatible(Code::ValueMismatch, Level::Keys, message))
}
