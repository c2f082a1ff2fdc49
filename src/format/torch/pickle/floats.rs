//! Lists of floats, packed: an embedding that was saved as a plain list.
//!
//! Pickling writes such a list as `]`, and then batch by batch `(`, `G` and eight bytes for each float, `e`. A batch
//! that is nothing but floats goes into the list at once; whatever else is put into the list makes it an ordinary one
//! again.

use super::fault::Step;
use super::machine::Machine;
use super::opcode::Opcode;
use crate::tensor::{Node, NodeId};

/// The bytes of a float: its opcode, and the number, big-endian.
const FLOAT_BYTES: usize = 9;

impl Machine<'_> {
    /// Behind a `MARK`: appends the floats up to the next `APPENDS` to the list on top of the stack, if there is
    /// nothing else. Returns whether it did.
    pub(super) fn pack_floats(&mut self) -> Step<bool> {
        let (floats, _) = self.cursor.rest().as_chunks::<FLOAT_BYTES>();
        let is_float = |float: &&[u8; FLOAT_BYTES]| float.first() == Some(&Opcode::BinFloat.byte());
        let count = floats.iter().take_while(is_float).count();
        let bytes = count.saturating_mul(FLOAT_BYTES);
        if count == 0 || self.cursor.rest().get(bytes) != Some(&Opcode::Appends.byte()) {
            return Ok(false);
        }
        let Ok(target) = self.top() else { return Ok(false) };
        let Some(list) = self.nodes.get_mut(target.0 as usize) else { return Ok(false) };
        if matches!(list, Node::List(items) if items.is_empty()) {
            *list = Node::Floats(Vec::new());
        }
        let Node::Floats(values) = list else { return Ok(false) };
        values.reserve_exact(count);
        let numbers = floats.iter().take(count);
        values.extend(numbers.map(|[_, number @ ..]| f64::from_be_bytes(*number)));
        self.take(bytes + 1, "a list of floats")?;
        Ok(true)
    }

    /// Makes a packed list an ordinary one; whatever else a value is, it stays.
    pub(super) fn unpack_floats(&mut self, id: NodeId) -> Step {
        let Some(Node::Floats(values)) = self.nodes.get_mut(id.0 as usize) else { return Ok(()) };
        let values = std::mem::take(values);
        let items = values.into_iter().map(|value| self.add(Node::Float(value))).collect::<Step<_>>()?;
        if let Some(node) = self.nodes.get_mut(id.0 as usize) {
            *node = Node::List(items);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Pickle, read};
    use super::*;
    use crate::format::torch::ReadOptions;

    fn packed(pickled: &[u8]) -> Pickle {
        read(pickled, &ReadOptions::default().with_packed_floats()).unwrap()
    }

    fn float(value: f64) -> Vec<u8> {
        [&[b'G'][..], &value.to_be_bytes()].concat()
    }

    /// A pickle of a list: batches of what stands between `(` and `e`, then what follows.
    fn list(batches: &[&[f64]], behind: &[u8]) -> Vec<u8> {
        let batch = |values: &&[f64]| {
            let values: Vec<u8> = values.iter().flat_map(|value| float(*value)).collect();
            [b"(", values.as_slice(), b"e"].concat()
        };
        let batches: Vec<u8> = batches.iter().flat_map(batch).collect();
        [b"\x80\x02]q\0", batches.as_slice(), behind, b"."].concat()
    }

    #[test]
    fn batches_of_floats_are_one_node() {
        let pickle = packed(&list(&[&[1.0, f64::NEG_INFINITY], &[0.25]], b""));
        let root = pickle.tree.node(pickle.tree.root());
        assert_eq!(root, &Node::Floats(vec![1.0, f64::NEG_INFINITY, 0.25]));
        assert_eq!(root.type_name(), "list");
    }

    #[test]
    fn what_is_no_float_makes_it_an_ordinary_list() {
        for behind in [&b"K\x07a"[..], b"(K\x07K\x08e", b"(G?\xf0\0\0\0\0\0\0K\x07e"] {
            let bytes = list(&[&[1.0, 2.0]], behind);
            let (packed, plain) = (packed(&bytes), read(&bytes, &ReadOptions::default()).unwrap());
            let state = |pickle: Pickle| crate::State::from_parts(pickle.tree, Vec::new());
            assert!(state(packed).same_as(&state(plain)).unwrap().is_none(), "{behind:?}");
        }
    }

    #[test]
    fn a_call_sees_an_ordinary_list() {
        let bytes = [b"c__builtin__\nset\n](", &float(1.0)[..], &float(2.0), b"e\x85R."].concat();
        let pickle = packed(&bytes);
        assert!(matches!(pickle.tree.node(pickle.tree.root()), Node::Set(items) if items.len() == 2));
    }

    #[test]
    fn a_list_that_ends_early_is_refused_as_ever() {
        let whole = list(&[&[1.0, 2.0]], b"");
        let options = ReadOptions::default().with_packed_floats();
        for length in 0..whole.len() - 1 {
            assert!(read(&whole[..length], &options).is_err(), "{length}");
        }
    }
}
