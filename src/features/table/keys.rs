//! Which value of a file is what: the one that is named, or that has one of the usual names, or the only one that
//! can be it. Two that could be it are refused: a wrong guess would join other rows than the caller meant.

use std::collections::BTreeMap;
use std::path::Path;

use super::TableOptions;
use super::narrow::is_floats;
use crate::Error;
use crate::record::{Code, Finding, Level, quoted};
use crate::tensor::{Node, NodeId, Tree};

/// The keys under which ids usually are.
const IDS: [&str; 3] = ["ids", "nucleotide", "proteins"];
/// The key under which rows usually are.
const DATA: [&str; 1] = ["data"];
/// The key under which a row's elements usually are, where the row is a map.
const VALUE: [&str; 1] = ["mean_representation"];
/// An error names so many keys.
const NAMED_KEYS: usize = 8;

/// What is looked for.
struct Wanted<'w> {
    /// In words, for errors.
    what: &'w str,
    /// How a user names it.
    option: &'w str,
    named: &'w [String],
    usual: &'w [&'w str],
}

/// Finds the ids among the top level's values, or in the metadata.
pub(super) fn ids<'t>(
    path: &Path,
    tree: &'t Tree,
    metadata: &'t BTreeMap<String, String>,
    options: &TableOptions,
) -> Result<Found<'t>, Error> {
    let wanted = Wanted { what: "the ids", option: "--ids-key", named: &options.ids_keys, usual: &IDS };
    let entries = entries(tree, tree.root());
    let is_texts = |id: NodeId| match tree.node(id) {
        Node::List(items) | Node::Tuple(items) => {
            !items.is_empty() && items.iter().all(|item| tree.node(*item).as_str().is_some())
        }
        _ => false,
    };
    let texts = entries.iter().map(|(key, id)| (*key, Found::Value(key, *id), is_texts(*id)));
    // Metadata is only looked at by name: anything may be in it.
    let texts =
        texts.chain(metadata.iter().map(|(key, json)| (key.as_str(), Found::Metadata(key, json), false)));
    choose(path, &wanted, texts.collect())
}

/// Where ids were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'t> {
    /// A value of the top level, with its key.
    Value(&'t str, NodeId),
    /// An entry of the metadata, with its key.
    Metadata(&'t str, &'t str),
}

/// Finds the rows among the top level's values.
pub(super) fn data<'t>(
    path: &Path,
    tree: &'t Tree,
    ids: Found<'_>,
    options: &TableOptions,
) -> Result<(&'t str, NodeId), Error> {
    let wanted = Wanted { what: "the rows", option: "--data-key", named: &options.data_keys, usual: &DATA };
    let is_ids = |id: NodeId| matches!(ids, Found::Value(_, other) if other == id);
    let others = entries(tree, tree.root()).into_iter().filter(|(_, id)| !is_ids(*id));
    let candidates = others.map(|(key, id)| (key, (key, id), can_be_rows(tree, id)));
    choose(path, &wanted, candidates.collect())
}

/// Finds the key of the elements in a row that is a map.
pub(super) fn value<'t>(
    path: &Path,
    tree: &'t Tree,
    row: NodeId,
    options: &TableOptions,
) -> Result<&'t str, Error> {
    let wanted =
        Wanted { what: "a row's elements", option: "--value-key", named: &options.value_keys, usual: &VALUE };
    let candidates = entries(tree, row).into_iter().map(|(key, id)| (key, key, can_be_row(tree, id)));
    choose(path, &wanted, candidates.collect())
}

/// Returns the entries of a map that have a text for their key.
fn entries(tree: &Tree, map: NodeId) -> Vec<(&str, NodeId)> {
    let Node::Map(_, Some(map)) = tree.node(map) else { return Vec::new() };
    map.entries.iter().filter_map(|(key, value)| Some((tree.node(*key).as_str()?, *value))).collect()
}

/// Returns whether a value may hold rows.
fn can_be_rows(tree: &Tree, id: NodeId) -> bool {
    match tree.node(id) {
        Node::Tensor(tensor) => tensor.shape.len() == 2,
        Node::List(items) | Node::Tuple(items) => {
            let first = items.first().copied();
            first.is_some_and(|row| matches!(tree.node(row), Node::Map(..)) || can_be_row(tree, row))
        }
        _ => false,
    }
}

/// Returns whether a value may be the elements of one row.
fn can_be_row(tree: &Tree, id: NodeId) -> bool {
    match tree.node(id) {
        Node::Tensor(tensor) => tensor.shape.len() == 1,
        Node::Floats(_) => true,
        Node::List(items) | Node::Tuple(items) => is_floats(tree, items),
        _ => false,
    }
}

/// Chooses one of several: each has its key, and whether it could be what is wanted.
fn choose<T>(path: &Path, wanted: &Wanted<'_>, all: Vec<(&str, T, bool)>) -> Result<T, Error> {
    let keys: Vec<&str> = all.iter().map(|(key, ..)| *key).collect();
    let is_named = |key: &str| match wanted.named {
        [] => wanted.usual.contains(&key),
        named => named.iter().any(|name| name == key),
    };
    let (by_name, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(key, ..)| is_named(key));
    let candidates = if by_name.is_empty() && wanted.named.is_empty() {
        others.into_iter().filter(|(.., fits)| *fits).collect()
    } else {
        by_name
    };
    let found: Vec<&str> = candidates.iter().map(|(key, ..)| *key).collect();
    if found.len() > 1 {
        return Err(ambiguous(path, wanted, &found));
    }
    candidates.into_iter().next().map(|(_, found, _)| found).ok_or_else(|| missing(path, wanted, &keys))
}

fn ambiguous(path: &Path, wanted: &Wanted<'_>, found: &[&str]) -> Error {
    let Wanted { what, option, .. } = wanted;
    Error::usage(format!("{} could each be {what}: name the one that is ({option})", listed(found))).at(path)
}

fn missing(path: &Path, wanted: &Wanted<'_>, keys: &[&str]) -> Error {
    let Wanted { what, option, named, .. } = wanted;
    let message = match (*named, keys) {
        (_, []) => format!("there is nothing that could be {what}: it has no keys"),
        ([], _) => format!("none of its keys is that of {what} ({option} names it): {}", listed(keys)),
        (named, _) => {
            let named: Vec<&str> = named.iter().map(String::as_str).collect();
            format!("it has no key {}, which was named for {what}; it has {}", listed(&named), listed(keys))
        }
    };
    Error::found(path, Finding::incompatible(Code::KeyMissing, Level::Keys, message))
}

/// Lists keys: the first few.
fn listed(keys: &[&str]) -> String {
    let mut named: Vec<String> = keys.iter().take(NAMED_KEYS).map(|key| quoted(key)).collect();
    if keys.len() > NAMED_KEYS {
        named.push(format!("{} more", keys.len() - NAMED_KEYS));
    }
    named.join(", ")
}
