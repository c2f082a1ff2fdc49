//! `BUILD`: giving a value its state.

use super::fault::{Step, invalid};
use super::machine::Machine;
use crate::tensor::{Node, NodeId, Tensor};

impl Machine<'_> {
    /// Gives `target` its state, in place: the memo may name it as well.
    ///
    /// Tensors, arrays and dtypes get their contents this way; an ordered map gets its attributes, and an
    /// object of an unknown class keeps the state as data. Nothing else takes a state: in Python the call
    /// would end up in `__dict__.update` or in an error.
    pub(super) fn build(&mut self, target: NodeId, state: NodeId) -> Step {
        let replaced = match self.node(target) {
            Node::Tensor(tensor) => {
                let (shape, tensor) = (tensor.shape.len(), tensor.clone());
                self.budget.charge(shape)?;
                Some(Node::Tensor(Box::new(self.build_tensor(*tensor, state)?)))
            }
            Node::Array(_) => Some(self.build_array(target, state)?),
            Node::ArrayDtype(_) => Some(self.build_array_dtype(target, state)?),
            _ => None,
        };
        let is_map = matches!(self.node(state), Node::Map(..));
        let Some(node) = self.nodes.get_mut(target.0 as usize) else { return invalid("no such value") };
        match (node, replaced) {
            (node, Some(replaced)) => *node = replaced,
            // A module's state_dict carries its version numbers as an attribute, `_metadata`.
            (Node::Map(kind, map), None) if *kind != crate::tensor::MapKind::Dict && is_map => {
                map.get_or_insert_default().attributes = Some(state);
            }
            (Node::Object(object), None) => object.state = Some(state),
            (other, None) => return invalid(format!("a state for a value of type {}", other.type_name())),
        }
        Ok(())
    }

    /// Tensors of the first versions of PyTorch: `(storage, offset, size, stride)`; variables and
    /// parameters: `(tensor, …, requires_grad, hooks)`; later `(requires_grad, _, hooks)`.
    fn build_tensor(&mut self, old: Tensor, state: NodeId) -> Step<Tensor> {
        match *self.tuple(state)?.as_slice() {
            [storage, offset, size, stride] => {
                let Tensor { requires_grad, parameter, .. } = old;
                let tensor = self.strided(storage, None, offset, size, stride, None)?;
                Ok(Tensor { requires_grad, parameter, ..tensor })
            }
            [data, _, _, requires_grad, _] => {
                let data = self.tensor(data)?.clone();
                self.budget.charge(data.shape.len())?;
                Ok(Tensor { requires_grad: self.truth(requires_grad)?, parameter: old.parameter, ..data })
            }
            [requires_grad, _, _] => Ok(Tensor { requires_grad: self.truth(requires_grad)?, ..old }),
            _ => invalid("a tensor's state of no known form"),
        }
    }
}
