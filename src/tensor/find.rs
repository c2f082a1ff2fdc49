//! Finding a value by its path.

use std::collections::HashSet;

use super::{Node, NodeId, Tree};

impl Tree {
    /// Finds the value at a path, as [`Tree::walk`] tells paths: keys and positions, joined by dots. Keys may
    /// have dots themselves; of several values at one path, one is found.
    pub fn find(&self, path: &str) -> Option<NodeId> {
        if path.is_empty() {
            return Some(self.root());
        }
        let mut seen = HashSet::new();
        let mut open = vec![(self.root(), path)];
        while let Some((id, rest)) = open.pop() {
            if !seen.insert((id, rest.len())) {
                continue;
            }
            let from = open.len();
            for (child, behind) in self.steps(id, rest) {
                match behind {
                    None => return Some(child),
                    Some(behind) => open.push((child, behind)),
                }
            }
            open.get_mut(from..).unwrap_or_default().reverse();
        }
        None
    }

    /// Returns where a path can go from a node: each child whose key begins the path, with what is left of
    /// the path behind the dot; `None` where nothing is.
    fn steps<'p>(&self, id: NodeId, path: &'p str) -> Vec<(NodeId, Option<&'p str>)> {
        let by_key = |key: &str, child: NodeId| {
            let rest = path.strip_prefix(key)?;
            if rest.is_empty() { Some((child, None)) } else { Some((child, Some(rest.strip_prefix('.')?))) }
        };
        let by_node = |&(key, child): &(NodeId, NodeId)| {
            if let Node::Text(text) = self.node(key) {
                return by_key(text, child);
            }
            let mut text = String::new();
            self.print_key(&mut text, key);
            by_key(&text, child)
        };
        let by_position = |items: &[NodeId]| {
            let word = path.split('.').next()?;
            let at: usize = word.parse().ok().filter(|at: &usize| at.to_string() == word)?;
            by_key(word, *items.get(at)?)
        };
        match self.node(id) {
            Node::List(items) | Node::Tuple(items) | Node::Set(items) | Node::FrozenSet(items) => {
                by_position(items).into_iter().collect()
            }
            Node::Map(_, Some(map)) => map.entries.iter().filter_map(by_node).collect(),
            Node::Object(object) => {
                let state =
                    object.state.filter(|_| path.split('.').next() == Some(&object.items.len().to_string()));
                let state = state.and_then(|state| by_key(&object.items.len().to_string(), state));
                let items = by_position(&object.items).or(state);
                items.into_iter().chain(object.entries.iter().filter_map(by_node)).collect()
            }
            _ => Vec::new(),
        }
    }
}
