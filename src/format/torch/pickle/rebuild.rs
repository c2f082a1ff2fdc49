//! The functions of `torch._utils` that rebuild tensors.

use super::fault::{Step, invalid, tensor as tensor_fault};
use super::globals::Rebuild;
use super::machine::Machine;
use crate::Dtype;
use crate::record::TensorInfo;
use crate::tensor::{Body, Node, NodeId, StorageId, Tensor, extent};

impl Machine<'_> {
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
                self.with_metadata(tensor, grad, None)?
            }
            (Rebuild::Parameter, &[data, grad, _]) | (Rebuild::ParameterWithState, &[data, grad, _, _]) => {
                let grad = self.truth(grad)?;
                let node = self.parameter(data, grad)?;
                return self.add(node);
            }
            (Rebuild::Sparse, &[layout, data]) => self.sparse(layout, data)?,
            (Rebuild::Meta, &[dtype, size, _, grad])
            | (Rebuild::Wrapper, &[_, dtype, size, _, _, _, _, grad]) => self.bodiless(dtype, size, grad)?,
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
        match dtype.bytes_for(elements) {
            Some(bytes) if bytes <= storage.bytes => Ok(()),
            _ => tensor_fault(format!(
                "a tensor of {elements} elements of {dtype} reaches outside storage '{}' of {} bytes",
                storage.key, storage.bytes
            )),
        }
    }

    /// `requires_grad`, and the lazy conjugation and negation of complex tensors.
    fn with_metadata(&self, mut tensor: Tensor, grad: NodeId, metadata: Option<NodeId>) -> Step<Tensor> {
        tensor.requires_grad = self.truth(grad)?;
        if let Some(Node::Map(_, Some(map))) = metadata.map(|metadata| self.node(metadata)) {
            for &(key, value) in &map.entries {
                match self.text(key)? {
                    "conj" => tensor.conjugated = self.truth(value)?,
                    "neg" => tensor.negated = self.truth(value)?,
                    _ => {}
                }
            }
        }
        Ok(tensor)
    }

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
            ("per_tensor_affine", [_, _, _]) => Ok(()),
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
        let shape = self.lengths(size)?;
        let mut dtype = Dtype::F32;
        for &(_, part) in &parts {
            dtype = self.tensor(part)?.dtype;
        }
        Ok(plain(dtype, shape, Body::Sparse { layout, parts }))
    }

    fn bodiless(&mut self, dtype: NodeId, size: NodeId, grad: NodeId) -> Step<Tensor> {
        let (dtype, shape) = (self.dtype(dtype)?, self.lengths(size)?);
        Ok(Tensor { requires_grad: self.truth(grad)?, ..plain(dtype, shape, Body::Meta) })
    }

    fn nested(&mut self, buffer: NodeId, sizes: NodeId, strides: NodeId, offsets: NodeId) -> Step<Tensor> {
        let dtype = self.tensor(buffer)?.dtype;
        let shape = self.tensor(buffer)?.shape.clone();
        for part in [sizes, strides, offsets] {
            self.tensor(part)?;
        }
        self.budget.charge(shape.len())?;
        Ok(plain(dtype, shape, Body::Nested { buffer, sizes, strides, offsets }))
    }

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

fn plain(dtype: Dtype, shape: Vec<u64>, body: Body) -> Tensor {
    Tensor { dtype, shape, requires_grad: false, parameter: false, conjugated: false, negated: false, body }
}
