//! The functions of `torch._utils` that rebuild tensors.

use super::fault::{Step, invalid, tensor as tensor_fault};
use super::globals::Rebuild;
use super::machine::Machine;
use crate::Dtype;
use crate::record::TensorInfo;
use crate::tensor::{Body, Node, NodeId, StorageId, Tensor, extent};

impl Machine<'_> {
    /// Builds the tensor that a function of `torch._utils` would return.
    ///
    /// The arguments are those of PyTorch 2.13. Where a function has grown, the older and shorter form is
    /// taken too; a longer one is refused, since nobody knows what it would mean. Backward hooks are passed
    /// over: they hold no data.
    pub(super) fn rebuild(&mut self, function: Rebuild, arguments: &[NodeId]) -> Step<NodeId> {
        let tensor = match (function, arguments) {
            (Rebuild::Tensor, &[storage, offset, size, stride]) => {
                self.strided(storage, None, offset, size, stride, None)?
            }
            (Rebuild::TensorV2, &[storage, offset, size, stride, grad, _, ref rest @ ..])
                if rest.len() < 2 =>
            {
                let tensor = self.strided(storage, None, offset, size, stride, None)?;
                self.with_metadata(tensor, grad, rest.first().copied())?
            }
            (Rebuild::TensorV3, &[storage, offset, size, stride, grad, _, dtype, ref rest @ ..])
                if rest.len() < 2 =>
            {
                let dtype = self.dtype(dtype)?;
                let tensor = self.strided(storage, Some(dtype), offset, size, stride, None)?;
                self.with_metadata(tensor, grad, rest.first().copied())?
            }
            (Rebuild::QTensor, &[storage, offset, size, stride, quantizer, grad, _]) => {
                self.check_quantizer(quantizer, size)?;
                let tensor = self.strided(storage, None, offset, size, stride, Some(quantizer))?;
                if !tensor.dtype.torch_name().starts_with('q') {
                    return tensor_fault(format!("a quantized tensor lies in a storage of {}", tensor.dtype));
                }
                self.with_metadata(tensor, grad, None)?
            }
            (Rebuild::Parameter, &[data, grad, _]) => {
                let grad = self.gradient(grad, self.tensor(data)?.dtype)?;
                let node = self.parameter(data, grad)?;
                return self.add(node);
            }
            (Rebuild::ParameterWithState, &[data, grad, _, state]) => {
                let grad = self.gradient(grad, self.tensor(data)?.dtype)?;
                let node = self.parameter(data, grad)?;
                let id = self.add(node)?;
                self.set_attributes(id, state);
                return Ok(id);
            }
            (Rebuild::Sparse, &[layout, data]) => self.sparse(layout, data)?,
            (Rebuild::Meta, &[dtype, size, _, grad]) => self.bodiless(dtype, size, grad)?,
            (Rebuild::Wrapper, &[_, dtype, size, _, _, _, _, grad]) => {
                self.note_beyond(|| "a wrapper around tensors, of a class without behaviour".to_owned());
                self.bodiless(dtype, size, grad)?
            }
            (Rebuild::Nested, &[buffer, sizes, strides, offsets]) => {
                self.nested(buffer, sizes, strides, offsets)?
            }
            (Rebuild::FromCpuTensor | Rebuild::FromArray, &[data, dtype, _, grad]) => {
                self.converted(data, dtype, grad)?
            }
            _ => {
                return invalid(format!(
                    "a tensor is rebuilt from {} arguments: the function takes others",
                    arguments.len()
                ));
            }
        };
        self.add(Node::Tensor(Box::new(tensor)))
    }

    /// Gives a tensor its instance's attributes: a map, or a pair of a map and one of slots.
    pub(super) fn set_attributes(&mut self, tensor: NodeId, state: NodeId) {
        let state = match self.node(state) {
            Node::Tuple(pair) => pair.first().copied().unwrap_or(state),
            _ => state,
        };
        let attributes = matches!(self.node(state), Node::Map(_, Some(_))).then_some(state);
        if let Some(Node::Tensor(tensor)) = self.nodes.get_mut(tensor.0 as usize) {
            tensor.attributes = attributes;
        }
    }

    /// A view of a storage, held to the storage's size.
    pub(super) fn strided(
        &mut self,
        storage: NodeId,
        dtype: Option<Dtype>,
        offset: NodeId,
        size: NodeId,
        stride: NodeId,
        quantizer: Option<NodeId>,
    ) -> Step<Tensor> {
        let &Node::Storage(storage) = self.node(storage) else {
            return invalid("a tensor without a storage");
        };
        let dtype = dtype.or_else(|| self.storages.get(storage.0 as usize)?.dtype).unwrap_or(Dtype::U8);
        let offset = self.length(offset)?;
        let shape = self.lengths(size)?;
        let strides = self.lengths(stride)?;
        self.check_extent(storage, dtype, offset, &shape, &strides)?;
        Ok(plain(dtype, shape, Body::Strided { storage, offset, strides, quantizer }))
    }

    /// Holds a view to its storage. PyTorch checks this as well, for good reason: whoever may choose offset
    /// and strides freely reads and writes all of the process's memory.
    ///
    /// # Errors
    ///
    /// A fault of the tensor: the last element lies behind the storage's end, or positions overflow.
    fn check_extent(
        &self,
        storage: StorageId,
        dtype: Dtype,
        offset: u64,
        shape: &[u64],
        strides: &[u64],
    ) -> Step {
        let Some(storage) = self.storages.get(storage.0 as usize) else { return invalid("no such storage") };
        let elements = match extent(offset, shape, strides) {
            Ok(elements) => elements,
            Err(error) => return tensor_fault(format!("the tensor's layout is impossible: {error}")),
        };
        if TensorInfo::count(shape).is_none_or(|count| i64::try_from(count).is_err()) {
            return tensor_fault("the tensor has more elements than any machine can count");
        }
        match dtype.tensor_bytes(elements) {
            Some(bytes) if bytes <= storage.bytes => Ok(()),
            _ => tensor_fault(format!(
                "a tensor of {elements} elements of {dtype} reaches outside storage '{}' of {} bytes",
                storage.key, storage.bytes
            )),
        }
    }

    /// `requires_grad`, and the lazy conjugation and negation of complex tensors.
    fn with_metadata(&mut self, mut tensor: Tensor, grad: NodeId, metadata: Option<NodeId>) -> Step<Tensor> {
        tensor.requires_grad = self.gradient(grad, tensor.dtype)?;
        let entries = match metadata.map(|metadata| self.node(metadata)) {
            None | Some(Node::None | Node::Map(_, None)) => Vec::new(),
            Some(Node::Map(_, Some(map))) => map.entries.clone(),
            Some(other) => return invalid(format!("a tensor's metadata is of type {}", other.type_name())),
        };
        self.budget.charge(entries.len())?;
        for (key, value) in entries {
            match self.text(key)? {
                "conj" => tensor.conjugated = self.truth(value)?,
                "neg" => tensor.negated = self.truth(value)?,
                _ => {}
            }
        }
        if tensor.conjugated && !matches!(tensor.dtype, Dtype::C32 | Dtype::C64 | Dtype::C128) {
            return invalid(format!("a tensor of {} is conjugated: only complex ones can be", tensor.dtype));
        }
        Ok(tensor)
    }

    /// Reads `requires_grad`: only floats and complex numbers have gradients.
    pub(super) fn gradient(&self, id: NodeId, dtype: Dtype) -> Step<bool> {
        let requires_grad = self.truth(id)?;
        if requires_grad && !dtype.is_differentiable() {
            return invalid(format!("a tensor of {dtype} requires gradients: only floats can"));
        }
        Ok(requires_grad)
    }

    /// Takes a value for a dtype.
    fn dtype(&self, id: NodeId) -> Step<Dtype> {
        match self.node(id) {
            Node::Dtype(dtype) => Ok(*dtype),
            other => invalid(format!("a dtype is needed, not a value of type {}", other.type_name())),
        }
    }

    /// One scale and one zero point, or one of each along an axis.
    fn check_quantizer(&mut self, quantizer: NodeId, size: NodeId) -> Step {
        let parameters = self.tuple(quantizer)?;
        let scheme = parameters.first().map(|&scheme| self.node(scheme));
        let Some(Node::QScheme(scheme)) = scheme else {
            return invalid("a quantized tensor without a scheme");
        };
        match (&**scheme, parameters.as_slice()) {
            ("per_tensor_affine", &[_, scale, zero_point]) => {
                if !matches!(self.node(scale), Node::Float(_) | Node::Int(_)) {
                    return invalid("a quantized tensor's scale is no number");
                }
                self.integer(zero_point).map(drop)
            }
            ("per_channel_affine" | "per_channel_affine_float_qparams", &[_, scales, zero_points, axis]) => {
                let axis = usize::try_from(self.length(axis)?).unwrap_or(usize::MAX);
                let Some(&expected) = self.lengths(size)?.get(axis) else {
                    return tensor_fault("a quantized tensor's axis is none of its dimensions");
                };
                for part in [scales, zero_points] {
                    let length = match self.node(part) {
                        Node::List(items) => items.len() as u64,
                        _ => TensorInfo::count(&self.tensor(part)?.shape).unwrap_or(u64::MAX),
                    };
                    if length != expected {
                        return tensor_fault(format!(
                            "a quantized tensor has {length} scales for {expected} channels"
                        ));
                    }
                }
                Ok(())
            }
            _ => invalid("a quantized tensor of a scheme that PyTorch doesn't load"),
        }
    }

    /// A sparse tensor of its parts. They are tensors of their own, checked when they were made; whether the
    /// indices lie within the size is a matter of their contents.
    fn sparse(&mut self, layout: NodeId, data: NodeId) -> Step<Tensor> {
        let Node::Layout(layout) = self.node(layout) else {
            return invalid("a sparse tensor without a layout");
        };
        let layout = layout.clone();
        let data = self.tuple(data)?;
        let (parts, size) = match (&*layout, data.as_slice()) {
            ("sparse_coo", &[indices, values, size] | &[indices, values, size, _]) => {
                (vec![("indices", indices), ("values", values)], size)
            }
            ("sparse_csr" | "sparse_bsr", &[compressed, plain, values, size]) => {
                (vec![("crow_indices", compressed), ("col_indices", plain), ("values", values)], size)
            }
            ("sparse_csc" | "sparse_bsc", &[compressed, plain, values, size]) => {
                (vec![("ccol_indices", compressed), ("row_indices", plain), ("values", values)], size)
            }
            _ => return invalid("a sparse tensor of no known layout"),
        };
        let coalesced = match (&*layout, data.as_slice()) {
            ("sparse_coo", &[_, _, _, coalesced]) if self.node(coalesced) != &Node::None => {
                Some(self.truth(coalesced)?)
            }
            _ => None,
        };
        let shape = self.lengths(size)?;
        let mut dtype = Dtype::F32;
        for &(_, part) in &parts {
            dtype = self.tensor(part)?.dtype;
        }
        if let ("sparse_coo", &[(_, indices), (_, values)]) = (&*layout, parts.as_slice()) {
            Self::check_coordinates(&self.tensor(indices)?.shape, &self.tensor(values)?.shape, shape.len())?;
        }
        Ok(plain(dtype, shape, Body::Sparse { layout, parts, coalesced }))
    }

    /// Coordinates are a matrix of sparse dimensions by elements; there are as many values, each of
    /// them with the dense dimensions that are left.
    fn check_coordinates(indices: &[u64], values: &[u64], rank: usize) -> Step {
        let fits = match (indices, values) {
            (&[sparse, elements], [count, dense @ ..]) => {
                elements == *count && u64::try_from(rank - dense.len().min(rank)) == Ok(sparse)
            }
            _ => false,
        };
        if fits { Ok(()) } else { tensor_fault("a sparse tensor's indices and values don't fit each other") }
    }

    /// A tensor of which only dtype and shape are there.
    fn bodiless(&mut self, dtype: NodeId, size: NodeId, grad: NodeId) -> Step<Tensor> {
        let (dtype, shape) = (self.dtype(dtype)?, self.lengths(size)?);
        if TensorInfo::count(&shape).is_none_or(|count| i64::try_from(count).is_err()) {
            return tensor_fault("the tensor has more elements than any machine can count");
        }
        Ok(Tensor { requires_grad: self.gradient(grad, dtype)?, ..plain(dtype, shape, Body::Meta) })
    }

    /// A nested tensor. Its shape is that of its buffer: it has none of its own.
    fn nested(&mut self, buffer: NodeId, sizes: NodeId, strides: NodeId, offsets: NodeId) -> Step<Tensor> {
        let dtype = self.tensor(buffer)?.dtype;
        let shape = self.tensor(buffer)?.shape.clone();
        for part in [sizes, strides, offsets] {
            self.tensor(part)?;
        }
        self.budget.charge(shape.len())?;
        Ok(plain(dtype, shape, Body::Nested { buffer, sizes, strides, offsets }))
    }

    /// A tensor of a device without storages: another tensor or an array, to be converted to a dtype.
    fn converted(&mut self, data: NodeId, dtype: NodeId, grad: NodeId) -> Step<Tensor> {
        let shape = match self.node(data) {
            Node::Tensor(tensor) => tensor.shape.clone(),
            Node::Array(array) => array.shape.clone(),
            _ => return invalid("a tensor is converted from no array"),
        };
        self.budget.charge(shape.len())?;
        let dtype = self.dtype(dtype)?;
        Ok(Tensor { requires_grad: self.truth(grad)?, ..plain(dtype, shape, Body::Converted(data)) })
    }
}

/// A tensor without any of the properties that some functions add.
fn plain(dtype: Dtype, shape: Vec<u64>, body: Body) -> Tensor {
    Tensor {
        dtype,
        shape,
        requires_grad: false,
        parameter: false,
        conjugated: false,
        negated: false,
        attributes: None,
        body,
    }
}

#[cfg(test)]
mod tests {
    use crate::format::torch::ReadOptions;
    use crate::format::torch::pickle::{Fault, Pickle, read};
    use crate::tensor::{Body, Node};

    fn read_text(text: &str) -> Result<Pickle, Fault> {
        read(text.as_bytes(), &ReadOptions::default())
    }

    /// A tensor of `count` elements in a storage of three packed bytes.
    fn packed(count: u64) -> Result<Pickle, Fault> {
        read_text(&format!(
            "ctorch._utils\n_rebuild_qtensor\n\
             ((S'storage'\nctorch\nQUInt4x2Storage\nS'0'\nS'cpu'\nI3\ntQ\
             I0\n(I{count}\nt(I1\nt(ctorch\nper_tensor_affine\nF1.0\nI0\ntI00\nNtR."
        ))
    }

    /// PyTorch counts the storage of a `quint4x2` tensor in bytes and the tensor in elements.
    #[test]
    fn two_four_bit_elements_share_a_byte() {
        assert!(packed(6).is_ok());
        assert!(packed(5).is_ok());
        assert!(packed(7).is_err());
    }

    const TENSOR: &str = "(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI3\ntQI0\n(I3\nt(I1\nt";

    #[test]
    fn a_tensor_keeps_its_attributes() {
        let rebuild = "ctorch._utils\n_rebuild_tensor\n";
        let wrapped = format!(
            "ctorch._tensor\n_rebuild_from_type_v2\n({rebuild}ctorch\nTensor\n({TENSOR}t(dS'a'\nI1\nstR."
        );
        let parameter = format!(
            "ctorch._utils\n_rebuild_parameter_with_state\n({rebuild}({TENSOR}tRI01\nN((dS'a'\nI1\nsNttR."
        );
        for text in [wrapped, parameter] {
            let tree = read_text(&text).unwrap().tree;
            let Node::Tensor(tensor) = tree.node(tree.root()) else { panic!("no tensor") };
            let attribute = tree.get(tensor.attributes.unwrap(), "a").unwrap();
            assert_eq!(tree.node(attribute), &Node::Int(1));
        }
    }

    #[test]
    fn a_sparse_tensor_says_whether_it_is_coalesced() {
        let values = format!("ctorch._utils\n_rebuild_tensor\n({TENSOR}tR");
        let indices = values.replace("(I3\nt(I1\nt", "(I1\nI3\nt(I3\nI1\nt");
        for (word, expected) in [("I01\n", Some(true)), ("I00\n", Some(false)), ("N", None), ("", None)] {
            let text = format!(
                "ctorch._utils\n_rebuild_sparse_tensor\n(ctorch.serialization\n_get_layout\n(S'torch.sparse_coo'\ntR\
                 ({indices}{values}(I3\nt{word}ttR."
            );
            let tree = read_text(&text).unwrap().tree;
            let Node::Tensor(tensor) = tree.node(tree.root()) else { panic!("no tensor") };
            assert!(matches!(tensor.body, Body::Sparse { coalesced, .. } if coalesced == expected));
        }
    }
}
