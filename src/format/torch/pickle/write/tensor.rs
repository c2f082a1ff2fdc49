//! Tensors as calls of PyTorch's functions that rebuild them.
//!
//! Source: `Tensor._reduce_ex_internal` in `torch/_tensor.py`, `Parameter.__reduce_ex__` in
//! `torch/nn/parameter.py`, and `torch/_utils.py` of PyTorch 2.13.

use super::emit::{Step, Writer, call, empty_ordered_dict};
use super::fit_tensor::is_meta;
use crate::Dtype;
use crate::format::torch::pickle::opcode::Opcode;
use crate::tensor::{Body, NodeId, StorageId, Tensor};

/// A function that rebuilds a tensor, and its arguments.
type Rebuild<'a> = (&'static str, Vec<Step<'a>>);

impl<'a> Writer<'a> {
    /// Returns the steps of a tensor: as it is, as a parameter, or with attributes.
    pub(super) fn tensor(&self, tensor: &'a Tensor) -> Vec<Step<'a>> {
        // A parameter's own tensor has no gradient; the parameter says whether it wants one.
        let (function, arguments) = self.rebuild(tensor, tensor.requires_grad && !tensor.parameter);
        if tensor.parameter {
            let mut outer = call(function, arguments);
            outer.push(Step::Bool(tensor.requires_grad));
            outer.extend(empty_ordered_dict());
            outer.extend(tensor.attributes.map(Step::Value));
            let with_state = "torch._utils._rebuild_parameter_with_state";
            let plain = "torch._utils._rebuild_parameter";
            return call(if tensor.attributes.is_some() { with_state } else { plain }, outer);
        }
        let Some(attributes) = tensor.attributes else { return call(function, arguments) };
        let mut outer = vec![Step::Global(function.into()), Step::Global("torch.Tensor".into())];
        outer.push(Step::Op(Opcode::Mark));
        outer.extend(arguments);
        outer.extend([Step::Op(Opcode::Tuple), Step::Value(attributes)]);
        call("torch._tensor._rebuild_from_type_v2", outer)
    }

    /// Returns the function that rebuilds a tensor without attributes, and its arguments.
    fn rebuild(&self, tensor: &'a Tensor, requires_grad: bool) -> Rebuild<'a> {
        match &tensor.body {
            Body::Strided { storage, strides, .. } if is_meta(self.tree, *storage) => {
                meta(tensor, strides.clone(), requires_grad)
            }
            Body::Strided { storage, offset, strides, quantizer } => {
                self.strided(tensor, *storage, *offset, strides, *quantizer, requires_grad)
            }
            Body::Sparse { layout, parts, coalesced } => {
                let layout_name = Step::Global("torch.serialization._get_layout".into());
                let mut arguments = vec![layout_name, Step::Word(layout_word(layout))];
                arguments.extend([Step::Op(Opcode::Tuple1), Step::Op(Opcode::Reduce)]);
                arguments.push(Step::Op(Opcode::Mark));
                arguments.extend(parts.iter().map(|&(_, part)| Step::Value(part)));
                arguments.push(Step::Lengths((&tensor.shape).into()));
                arguments.extend(coalesced.filter(|_| **layout == *"sparse_coo").map(Step::Bool));
                arguments.push(Step::Op(Opcode::Tuple));
                ("torch._utils._rebuild_sparse_tensor", arguments)
            }
            Body::Nested { buffer, sizes, strides, offsets } => {
                let parts = [*buffer, *sizes, *strides, *offsets];
                ("torch._utils._rebuild_nested_tensor", parts.into_iter().map(Step::Value).collect())
            }
            Body::Converted(source) => {
                let arguments = vec![
                    Step::Value(*source),
                    dtype(tensor.dtype),
                    Step::Word("cpu"),
                    Step::Bool(requires_grad),
                ];
                ("torch._utils._rebuild_device_tensor_from_cpu_tensor", arguments)
            }
            Body::Meta => meta(tensor, contiguous(&tensor.shape), requires_grad),
        }
    }

    /// A view of a storage: plain, of a type without a storage class, or quantized.
    fn strided(
        &self,
        tensor: &'a Tensor,
        storage: StorageId,
        offset: u64,
        strides: &'a [u64],
        quantizer: Option<NodeId>,
        requires_grad: bool,
    ) -> Rebuild<'a> {
        let found = self.survey.storages.find(self.tree, storage);
        let (class, start) = found.map_or((None, 0), |(_, planned, start)| (planned.class, start));
        let offset = offset.saturating_add(start / tensor.dtype.bytes_for(1).unwrap_or(1).max(1));
        let mut arguments = vec![
            Step::Storage(storage),
            Step::Int(i64::try_from(offset).unwrap_or(i64::MAX)),
            Step::Lengths((&tensor.shape).into()),
            Step::Lengths(strides.into()),
        ];
        arguments.extend(quantizer.map(Step::Value));
        arguments.push(Step::Bool(requires_grad));
        arguments.extend(empty_ordered_dict());
        if quantizer.is_some() {
            return ("torch._utils._rebuild_qtensor", arguments);
        }
        if class.is_none() {
            arguments.push(dtype(tensor.dtype));
        }
        arguments.extend(metadata(tensor));
        let typed = "torch._utils._rebuild_tensor_v2";
        (if class.is_some() { typed } else { "torch._utils._rebuild_tensor_v3" }, arguments)
    }
}

/// A tensor of which only type, shape and strides are there.
fn meta(tensor: &Tensor, strides: Vec<u64>, requires_grad: bool) -> Rebuild<'_> {
    let lengths = Step::Lengths((&tensor.shape).into());
    let arguments =
        vec![dtype(tensor.dtype), lengths, Step::Lengths(strides.into()), Step::Bool(requires_grad)];
    ("torch._utils._rebuild_meta_tensor_no_storage", arguments)
}

/// The strides of a tensor without gaps. PyTorch counts an empty dimension as one of length 1 here.
fn contiguous(shape: &[u64]) -> Vec<u64> {
    let mut step = 1_u64;
    let mut strides = Vec::with_capacity(shape.len());
    for &length in shape.iter().rev() {
        strides.push(step);
        // Empty dimensions can make the others as long as they like; PyTorch's numbers end here.
        step = step.saturating_mul(length.max(1)).min(i64::MAX.unsigned_abs());
    }
    strides.reverse();
    strides
}

/// A type by its name.
fn dtype<'a>(dtype: Dtype) -> Step<'a> {
    Step::Global(format!("torch.{}", dtype.torch_name()).into())
}

/// The dictionary of lazy conjugation and negation; none where there is neither, as PyTorch has it.
fn metadata<'a>(tensor: &Tensor) -> Vec<Step<'a>> {
    let set = [("conj", tensor.conjugated), ("neg", tensor.negated)];
    let mut steps = Vec::new();
    for (name, _) in set.into_iter().filter(|(_, is_set)| *is_set) {
        if steps.is_empty() {
            steps.push(Step::Op(Opcode::EmptyDict));
        }
        steps.extend([Step::Word(name), Step::Bool(true), Step::Op(Opcode::SetItem)]);
    }
    steps
}

/// A sparse layout as PyTorch prints it. The survey has refused all others.
fn layout_word(layout: &str) -> &'static str {
    match layout {
        "sparse_csr" => "torch.sparse_csr",
        "sparse_csc" => "torch.sparse_csc",
        "sparse_bsr" => "torch.sparse_bsr",
        "sparse_bsc" => "torch.sparse_bsc",
        _ => "torch.sparse_coo",
    }
}
