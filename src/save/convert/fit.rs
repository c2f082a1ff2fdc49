//! What a format can't hold.

use std::collections::{HashMap, HashSet};

use crate::Error;
use crate::format::torch::{check_flat_tensor, unfit};
use crate::record::Dropped;
use crate::save::Format;
use crate::tensor::{Body, Leaf, Map, MapKind, Node, NodeId, State, StorageId, Tree};

/// A state that a format can hold, with what it doesn't have any more.
pub(in crate::save) struct Fitted {
    pub(in crate::save) state: State<'static>,
    pub(in crate::save) dropped: Vec<Dropped>,
}

/// Leaves out what a format can't hold: entries of maps go, items of lists become `None`.
///
/// # Errors
///
/// The top level itself can't be held, or the values are too complex to be walked.
pub(in crate::save) fn fit(state: State<'static>, format: Format) -> Result<Fitted, Error> {
    match format {
        Format::Safetensors => Ok(Fitted { state, dropped: Vec::new() }),
        Format::Torch => fit_torch(state),
        Format::TorchFlat => {
            let Fitted { state, mut dropped } = fit_torch(state)?;
            let flat = flatten(&state)?;
            dropped.extend(flat.dropped);
            Ok(Fitted { state: flat.state, dropped })
        }
    }
}

/// Leaves out what PyTorch's safe reader doesn't take.
fn fit_torch(state: State<'static>) -> Result<Fitted, Error> {
    let tree = state.tree();
    let unfit: HashMap<NodeId, String> = unfit(tree).into_iter().collect();
    if unfit.is_empty() {
        return Ok(Fitted { state, dropped: Vec::new() });
    }
    let mut cuts =
        Cuts { tree, unfit: &unfit, dropped: Vec::new(), values: HashSet::new(), parts: HashSet::new() };
    let mut inside: Option<usize> = None;
    walk(tree, |leaf| {
        if inside.is_some_and(|depth| leaf.depth > depth) {
            return;
        }
        inside = cuts.look(leaf).then_some(leaf.depth);
    })?;
    let Cuts { dropped, values, parts, .. } = cuts;
    if values.contains(&tree.root()) {
        let reason = unfit.get(&tree.root()).map_or("", String::as_str);
        return Err(Error::usage(format!("the format can't hold the top level: {reason}")));
    }
    let mut edited = tree.clone();
    for id in (0..tree.len()).filter_map(|number| u32::try_from(number).ok()).map(NodeId) {
        if let Some(node) = edited.node_mut(id) {
            edit(tree, id, node, &unfit, &parts);
        }
    }
    let data = (0_u32..).map(StorageId).map_while(|id| state.data(id).cloned()).collect();
    Ok(Fitted { state: State::from_parts(edited, data).pruned(&|id| values.contains(&id)), dropped })
}

/// What is to go.
struct Cuts<'t> {
    tree: &'t Tree,
    unfit: &'t HashMap<NodeId, String>,
    dropped: Vec<Dropped>,
    /// The values that go.
    values: HashSet<NodeId>,
    /// The maps and tensors that lose their attributes.
    parts: HashSet<NodeId>,
}

impl Cuts<'_> {
    /// Looks at a value; returns whether it goes, and all that it holds with it.
    fn look(&mut self, leaf: &Leaf<'_>) -> bool {
        let attributes = match leaf.node {
            Node::Map(_, Some(map)) => map.attributes,
            Node::Tensor(tensor) => tensor.attributes,
            _ => None,
        };
        if let Some(why) = attributes.and_then(|id| find(self.tree, id, self.unfit)) {
            self.parts.insert(leaf.id);
            self.drop(format!("{}.(attributes)", leaf.path), why);
        }
        if let Node::Map(_, Some(map)) = leaf.node {
            for (key, _) in &map.entries {
                if let Some(why) = find(self.tree, *key, self.unfit) {
                    self.drop(format!("{}.(a key)", leaf.path), why);
                }
            }
        }
        let own = self.unfit.get(&leaf.id).map(String::as_str);
        let Some(why) = own.or_else(|| self.part(leaf.node)) else { return false };
        self.values.insert(leaf.id);
        self.drop(leaf.path.to_owned(), why);
        true
    }

    /// Finds what can't be held of the tensors and arrays that a tensor is made of.
    fn part(&self, node: &Node) -> Option<&'static str> {
        let Node::Tensor(tensor) = node else { return None };
        let parts = match &tensor.body {
            Body::Strided { quantizer, .. } => quantizer.iter().copied().collect(),
            Body::Sparse { parts, .. } => parts.iter().map(|(_, part)| *part).collect(),
            Body::Nested { buffer, sizes, strides, offsets } => vec![*buffer, *sizes, *strides, *offsets],
            Body::Converted(source) => vec![*source],
            Body::Meta => Vec::new(),
        };
        let is_unfit = parts.into_iter().any(|part| find(self.tree, part, self.unfit).is_some());
        is_unfit.then_some("it is made of what PyTorch's safe reader has no form for")
    }

    fn drop(&mut self, path: String, why: &str) {
        self.dropped.push(Dropped { path, reason: why.to_owned() });
    }
}

/// Finds the first value that can't be held among one and all that it holds.
fn find<'u>(tree: &Tree, id: NodeId, unfit: &'u HashMap<NodeId, String>) -> Option<&'u str> {
    let (mut open, mut seen) = (vec![id], HashSet::new());
    while let Some(id) = open.pop() {
        if let Some(why) = unfit.get(&id) {
            return Some(why);
        }
        if seen.insert(id) {
            tree.node(id).clone().each_id(&mut |child| open.push(*child));
        }
    }
    None
}

/// Takes out of a container what can't be left out by its value alone.
fn edit(tree: &Tree, id: NodeId, node: &mut Node, unfit: &HashMap<NodeId, String>, parts: &HashSet<NodeId>) {
    let cuts_attributes = parts.contains(&id);
    match node {
        Node::Map(_, content) => {
            if let Some(map) = content {
                map.entries.retain(|(key, _)| find(tree, *key, unfit).is_none());
                map.attributes = map.attributes.filter(|_| !cuts_attributes);
            }
            if matches!(content.as_deref(), Some(Map { entries, attributes: None }) if entries.is_empty()) {
                *content = None;
            }
        }
        Node::Tensor(tensor) => tensor.attributes = tensor.attributes.filter(|_| !cuts_attributes),
        Node::Set(items) => items.retain(|item| !unfit.contains_key(item)),
        _ => {}
    }
}

/// Makes a plain dict of the tensors, by the keys that lead to them.
fn flatten(state: &State<'static>) -> Result<Fitted, Error> {
    let tree = state.tree();
    let (mut flat, mut entries, mut dropped) = (tree.clone(), Vec::new(), Vec::new());
    let (mut names, mut nested) = (HashSet::new(), 0_u64);
    let mut drop = |path: &str, reason: &str| {
        dropped.push(Dropped { path: path.to_owned(), reason: reason.to_owned() });
    };
    if matches!(tree.node(tree.root()), Node::Map(kind, _) if *kind != MapKind::Dict) {
        drop("", "libtorch's loadz_multi takes a plain dict: the kind and the attributes of the map go");
    }
    let mut too_many = false;
    walk(tree, |leaf| {
        let Node::Tensor(tensor) = leaf.node else {
            if !is_container(leaf.node) {
                drop(leaf.path, "libtorch's loadz_multi takes tensors only");
            }
            return;
        };
        let mut plain = tensor.clone();
        if plain.attributes.take().is_some() {
            drop(&format!("{}.(attributes)", leaf.path), "libtorch's loadz_multi takes plain tensors only");
        }
        if let Err(why) = check_flat_tensor(tree, &plain) {
            drop(leaf.path, &format!("libtorch's loadz_multi takes plain tensors only, and {why}"));
        } else if !names.insert(leaf.path.to_owned()) {
            drop(leaf.path, "another tensor has these keys, joined by dots");
        } else {
            nested += u64::from(leaf.depth > 1);
            let key = flat.push(Node::Text(leaf.path.into()));
            let pair = key.zip(flat.push(Node::Tensor(plain)));
            too_many |= pair.is_none();
            entries.extend(pair);
        }
    })?;
    if nested > 0 {
        drop(
            "",
            &format!(
                "libtorch's loadz_multi takes no nesting: {nested} tensors go by their keys, joined by dots"
            ),
        );
    }
    if too_many {
        return Err(Error::usage("the state has more values than can be numbered"));
    }
    let map = (!entries.is_empty()).then(|| Box::new(Map { entries, attributes: None }));
    if let Some(root) = flat.node_mut(tree.root()) {
        *root = Node::Map(MapKind::Dict, map);
    }
    let data = (0_u32..).map(StorageId).map_while(|id| state.data(id).cloned()).collect();
    Ok(Fitted { state: State::from_parts(flat, data).pruned(&|_| false), dropped })
}

/// Returns whether a value is there for others: what it holds is told by itself. An empty one is a value.
fn is_container(node: &Node) -> bool {
    match node {
        Node::List(items) | Node::Tuple(items) | Node::Set(items) => !items.is_empty(),
        Node::Map(_, map) => map.as_ref().is_some_and(|map| !map.entries.is_empty()),
        _ => false,
    }
}

/// Walks a tree; what is too complex for that is an error.
fn walk(tree: &Tree, visit: impl FnMut(&Leaf<'_>)) -> Result<(), Error> {
    tree.walk(visit).map_err(|error| Error::usage(format!("the values are too complex: {error}")))
}
