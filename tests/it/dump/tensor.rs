//! The values of tensors and storages.

use ckpt::Dtype;
use ckpt::format::safetensors;
use ckpt::io::ReadAt;
use ckpt::record::TensorInfo;
use ckpt::tensor::{Body, Node, NodeId, StorageId, Tensor};
use serde_json::{Map, Value, json};

use super::{CRC_CAP, Dumper, array, crc32, float};

/// The value of a tensor of a safetensors file.
pub(super) fn in_safetensors(source: &dyn ReadAt, tensor: &safetensors::Tensor) -> Value {
    let bytes = tensor.end - tensor.start;
    let crc = (bytes <= CRC_CAP).then(|| crc32(&read(source, tensor.start, bytes)));
    let (dtype, shape) = as_in_torch(&tensor.info);
    json!({
        "dtype": dtype.torch_name(), "shape": shape, "layout": "strided", "requires_grad": false,
        "device": "cpu", "bytes": bytes, "crc32": crc,
    })
}

/// PyTorch counts 4-bit floats in pairs: its last dimension is half as long.
fn as_in_torch(info: &TensorInfo) -> (Dtype, Vec<u64>) {
    let mut shape = info.shape.clone();
    if info.dtype != Dtype::F4 {
        return (info.dtype, shape);
    }
    if let Some(last) = shape.last_mut() {
        *last /= 2;
    }
    (Dtype::F4x2, shape)
}

fn read(source: &dyn ReadAt, start: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(len).expect("a test's tensor fits into memory")];
    source.read_exact_at(&mut bytes, start).expect("the header's ranges lie in the file");
    bytes
}

/// The value of a tensor of a PyTorch checkpoint.
pub(super) fn value(dumper: Dumper<'_>, tensor: &Tensor) -> Value {
    let mut out = Map::new();
    out.insert("dtype".to_owned(), json!(tensor.dtype.torch_name()));
    out.insert("shape".to_owned(), json!(tensor.shape));
    out.insert("layout".to_owned(), json!("strided"));
    out.insert("requires_grad".to_owned(), json!(tensor.requires_grad));
    out.insert("device".to_owned(), json!("cpu"));
    match &tensor.body {
        Body::Strided { storage, quantizer, .. } => {
            let parameters = quantizer.map(|quantizer| quantizer_value(dumper, quantizer));
            strided(dumper, tensor, *storage, &mut out);
            out.extend(parameters.unwrap_or_default());
        }
        Body::Sparse { layout, parts, coalesced } => {
            out.insert("layout".to_owned(), json!(**layout));
            if **layout == *"sparse_coo" {
                out.insert("coalesced".to_owned(), json!(coalesced.unwrap_or(false)));
            }
            out.extend(parts.iter().map(|&(name, part)| (name.to_owned(), part_value(dumper, part))));
        }
        Body::Nested { buffer, sizes, strides, offsets } => {
            out.insert("layout".to_owned(), json!("nested"));
            out.insert("shape".to_owned(), Value::Null);
            for (name, part) in
                [("buffer", buffer), ("sizes", sizes), ("strides", strides), ("offsets", offsets)]
            {
                out.insert(name.to_owned(), part_value(dumper, *part));
            }
        }
        Body::Converted(source) => {
            out.insert("bytes".to_owned(), json!(size(tensor)));
            out.insert("crc32".to_owned(), converted(dumper, tensor, *source));
        }
        Body::Meta => {
            out.insert("device".to_owned(), json!("meta"));
            out.insert("bytes".to_owned(), json!(size(tensor)));
            out.insert("crc32".to_owned(), Value::Null);
        }
    }
    Value::Object(out)
}

/// The size of the elements in bytes, a view's expanded.
fn size(tensor: &Tensor) -> u64 {
    TensorInfo::count(&tensor.shape)
        .and_then(|count| tensor.dtype.tensor_bytes(count))
        .expect("a size below 2⁶⁴")
}

fn part_value(dumper: Dumper<'_>, part: NodeId) -> Value {
    match dumper.tree.node(part) {
        Node::Tensor(part) => value(dumper, part),
        other => panic!("a tensor is made of a value of type {}", other.type_name()),
    }
}

fn strided(dumper: Dumper<'_>, tensor: &Tensor, storage: StorageId, out: &mut Map<String, Value>) {
    let meta = dumper.tree.storage(storage).is_some_and(|storage| storage.device == "meta");
    if meta {
        out.insert("device".to_owned(), json!("meta"));
    }
    let crc = if meta { None } else { elements(dumper, tensor).map(|bytes| crc32(&bytes)) };
    out.insert("bytes".to_owned(), json!(size(tensor)));
    out.insert("crc32".to_owned(), json!(crc));
}

/// The elements as the user sees them; `None` above the cap.
fn elements(dumper: Dumper<'_>, tensor: &Tensor) -> Option<Vec<u8>> {
    let read = dumper.checkpoint.read_tensor(dumper.source, tensor, CRC_CAP);
    let mut bytes = read.unwrap_or_else(|error| panic!("a tensor's data: {error}"))?;
    let complex = match tensor.dtype {
        Dtype::C32 => Some(2),
        Dtype::C64 => Some(4),
        Dtype::C128 => Some(8),
        _ => None,
    };
    // Lazy conjugation and negation turn signs: of the imaginary parts, and of all numbers.
    if tensor.conjugated {
        let width = complex.expect("only complex numbers have a conjugate");
        bytes.chunks_exact_mut(2 * width).for_each(|pair| pair[2 * width - 1] ^= 0x80);
    }
    if tensor.negated {
        let whole = usize::try_from(tensor.dtype.bits() / 8).expect("elements are small");
        let width = complex.unwrap_or(whole);
        bytes.chunks_exact_mut(width).for_each(|number| number[width - 1] ^= 0x80);
    }
    Some(bytes)
}

fn quantizer_value(dumper: Dumper<'_>, quantizer: NodeId) -> Map<String, Value> {
    let Node::Tuple(items) = dumper.tree.node(quantizer) else { panic!("a quantizer is a tuple") };
    let nodes: Vec<_> = items.iter().map(|&item| dumper.tree.node(item)).collect();
    let mut out = Map::new();
    let Node::QScheme(scheme) = nodes[0] else { panic!("a quantizer begins with its scheme") };
    out.insert("qscheme".to_owned(), json!(**scheme));
    match nodes[1..] {
        [Node::Float(scale), Node::Int(zero_point)] => {
            out.insert("scale".to_owned(), float(*scale));
            out.insert("zero_point".to_owned(), json!(zero_point.to_string()));
        }
        [Node::Tensor(scales), Node::Tensor(zero_points), Node::Int(axis)] => {
            out.insert("scales".to_owned(), value(dumper, scales));
            out.insert("zero_points".to_owned(), value(dumper, zero_points));
            out.insert("axis".to_owned(), json!(axis));
        }
        _ => panic!("a quantizer of no known form"),
    }
    out
}

/// A tensor that comes from a NumPy array or from another tensor of the same dtype.
fn converted(dumper: Dumper<'_>, tensor: &Tensor, source: NodeId) -> Value {
    let bytes = match dumper.tree.node(source) {
        Node::Tensor(inner) => {
            assert_eq!(inner.dtype, tensor.dtype, "the dump doesn't convert");
            elements(dumper, inner).expect("a test's tensor is below the cap")
        }
        Node::Array(inner) => {
            assert_eq!((&*inner.dtype, tensor.dtype), ("<f8", Dtype::F64), "the dump doesn't convert");
            array::elements(dumper.tree, inner).expect("numbers have bytes")
        }
        other => panic!("a tensor is made of a value of type {}", other.type_name()),
    };
    json!(crc32(&bytes))
}

/// The value of a storage that was saved by itself.
pub(super) fn storage(dumper: Dumper<'_>, id: StorageId) -> Value {
    let storage = dumper.tree.storage(id).expect("the tree has its storages");
    let dtype = storage.dtype.unwrap_or(Dtype::U8);
    let crc = (storage.bytes <= CRC_CAP).then(|| crc32(&storage_bytes(dumper, id)));
    json!({"dtype": dtype.torch_name(), "bytes": storage.bytes, "crc32": crc})
}

fn storage_bytes(dumper: Dumper<'_>, id: StorageId) -> Vec<u8> {
    let read = dumper.checkpoint.read_storage(dumper.source, id);
    read.unwrap_or_else(|error| panic!("a storage's data: {error}"))
}
