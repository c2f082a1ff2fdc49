//! NumPy's arrays, scalars and dtypes, as its own `__reduce__` methods write them.
//!
//! Source: `numpy/_core/src/multiarray/{methods,descriptor,scalartypes}.c`.

use super::fault::{Step, invalid, tensor as tensor_fault};
use super::globals::{ArrayGlobal, Known, lookup};
use super::machine::Machine;
use crate::record::TensorInfo;
use crate::tensor::{Array, ArrayData, Node, NodeId};

impl Machine<'_> {
    /// Builds what a call of one of NumPy's constructors returns.
    pub(super) fn array_call(&mut self, global: ArrayGlobal, arguments: &[NodeId]) -> Step<NodeId> {
        let node = match (global, arguments) {
            (ArrayGlobal::Reconstruct, &[class, _, _]) if self.is_array_class(class) => {
                Node::Array(Box::new(Array {
                    dtype: "|V0".into(),
                    shape: vec![0],
                    fortran: false,
                    scalar: false,
                    data: ArrayData::Missing,
                }))
            }
            (ArrayGlobal::Dtype, &[name, ..]) => Node::ArrayDtype(self.copied_text(name)?),
            (ArrayGlobal::Scalar, &[dtype, value]) => {
                let dtype = self.array_dtype(dtype)?;
                self.array(dtype, Vec::new(), false, true, value)?
            }
            (ArrayGlobal::FromBuffer, &[buffer, dtype, shape, order]) => {
                let dtype = self.array_dtype(dtype)?;
                let shape = self.lengths(shape)?;
                let fortran = self.text(order)? == "F";
                self.array(dtype, shape, fortran, false, buffer)?
            }
            _ => return invalid("a NumPy value of no known form"),
        };
        self.add(node)
    }

    /// Returns whether a value is the class `numpy.ndarray`: that of a subclass may do anything.
    fn is_array_class(&self, class: NodeId) -> bool {
        matches!(self.node(class), Node::Global(name) if lookup(name) == Some(Known::Array(ArrayGlobal::Class)))
    }

    /// An array's state: `(version, shape, dtype, is_fortran, data)`.
    pub(super) fn build_array(&mut self, _target: NodeId, state: NodeId) -> Step<Node> {
        let items = self.tuple(state)?;
        let (&[_, shape, dtype, fortran, data] | &[shape, dtype, fortran, data]) = items.as_slice() else {
            return invalid("a NumPy array's state of no known form");
        };
        let dtype = self.array_dtype(dtype)?;
        let shape = self.lengths(shape)?;
        let fortran = self.truth(fortran)?;
        self.array(dtype, shape, fortran, false, data)
    }

    /// A dtype's state: `(version, byte order, …)`.
    pub(super) fn build_array_dtype(&mut self, target: NodeId, state: NodeId) -> Step<Node> {
        let items = self.tuple(state)?;
        let (Node::ArrayDtype(name), Some(&order)) = (self.node(target), items.get(1)) else {
            return invalid("a NumPy dtype's state of no known form");
        };
        let (name, order) = (name.trim_start_matches(['<', '>', '|', '=']), self.text(order)?);
        if !matches!(order, "<" | ">" | "|" | "=") {
            return invalid("a NumPy dtype of no known byte order");
        }
        let unit = match items.get(8) {
            Some(&metadata) => self.time_unit(metadata)?,
            None => String::new(),
        };
        let whole = format!("{order}{name}{unit}");
        self.budget.charge(whole.len())?;
        Ok(Node::ArrayDtype(whole.into()))
    }

    /// The unit of a time, as NumPy prints it: `[ns]`, `[25s]`; empty for other dtypes. It stands in
    /// the dtype's metadata, `({}, (unit, number, denominator, event))`.
    fn time_unit(&self, metadata: NodeId) -> Step<String> {
        let Node::Tuple(pair) = self.node(metadata) else { return Ok(String::new()) };
        let Some(Node::Tuple(unit)) = pair.get(1).map(|&unit| self.node(unit)) else {
            return Ok(String::new());
        };
        let &[name, number, _, _] = unit.as_slice() else {
            return invalid("a NumPy time unit of no known form");
        };
        let name = match self.node(name) {
            Node::Bytes(name) => String::from_utf8_lossy(name).into_owned(),
            _ => self.text(name)?.to_owned(),
        };
        Ok(match (name.as_str(), self.integer(number)?) {
            ("generic", _) => String::new(),
            (name, 1) => format!("[{name}]"),
            (name, number) => format!("[{number}{name}]"),
        })
    }

    /// Takes a value for a dtype, at the cost of its name.
    fn array_dtype(&mut self, id: NodeId) -> Step<Box<str>> {
        let Node::ArrayDtype(name) = self.node(id) else { return invalid("a NumPy value without a dtype") };
        let name = name.clone();
        self.budget.charge(name.len())?;
        Ok(name)
    }

    /// Makes an array or a scalar of its parts, whose data must have exactly the bytes that dtype and shape
    /// ask for: NumPy refuses an array of more or fewer.
    fn array(
        &mut self,
        dtype: Box<str>,
        shape: Vec<u64>,
        fortran: bool,
        scalar: bool,
        data: NodeId,
    ) -> Step<Node> {
        let Some(count) = TensorInfo::count(&shape) else {
            return tensor_fault("a NumPy array has more elements than any machine can count");
        };
        let (length, data) = match self.node(data) {
            Node::Bytes(bytes) | Node::ByteArray(bytes) => (bytes.len(), ArrayData::Bytes(data)),
            // Python 2 wrote the bytes as a string, and these happen to be ASCII.
            Node::Text(text) if !is_object(&dtype) => (text.len(), ArrayData::Bytes(data)),
            Node::List(items) if is_object(&dtype) => (items.len(), ArrayData::Values(data)),
            _ if is_object(&dtype) => (1, ArrayData::Values(data)),
            other => return invalid(format!("a NumPy array's data is of type {}", other.type_name())),
        };
        let Some(size) = (if is_object(&dtype) { Some(1) } else { item_bytes(&dtype) }) else {
            return invalid(format!("the NumPy dtype '{}' is of no known form", dtype.escape_debug()));
        };
        if u128::from(count) * u128::from(size) != length as u128 {
            return tensor_fault(format!("a NumPy array of {count} elements of {dtype} has {length} bytes"));
        }
        Ok(Node::Array(Box::new(Array { dtype, shape, fortran, scalar, data })))
    }
}

/// Returns whether the elements are Python objects: they are a list of values then, and no bytes.
fn is_object(dtype: &str) -> bool {
    dtype.trim_start_matches(['<', '>', '|', '=']).starts_with('O')
}

/// The size of one item: the number behind the kind; of text (`U`) the number of 4-byte characters.
fn item_bytes(dtype: &str) -> Option<u64> {
    let name = dtype.trim_start_matches(['<', '>', '|', '=']);
    let mut characters = name.chars();
    let kind = characters.next()?;
    let count: u64 = characters.as_str().split('[').next()?.parse().ok()?;
    match kind {
        'b' | 'i' | 'u' | 'f' | 'c' | 'S' | 'V' | 'M' | 'm' => Some(count),
        'U' => count.checked_mul(4),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::format::torch::ReadOptions;
    use crate::format::torch::pickle::read;
    use crate::tensor::Node;

    #[test]
    fn a_time_keeps_its_unit() {
        for (unit, number, name) in [("ns", 1, "<M8[ns]"), ("s", 25, "<M8[25s]"), ("generic", 1, "<M8")] {
            let text = format!(
                "cnumpy\ndtype\n(S'M8'\nI00\nI01\ntR(I4\nS'<'\nNNNI-1\nI-1\nI0\n((d(S'{unit}'\nI{number}\nI1\nI1\ntttb."
            );
            let tree = read(text.as_bytes(), &ReadOptions::default()).unwrap().tree;
            assert_eq!(tree.node(tree.root()), &Node::ArrayDtype(name.into()));
        }
    }
}
