//! Which storages are stored, and as what.

use super::super::MAX_RANK;
use super::super::structure::{check_tensor, row_major};
use super::gather::Gather;
use super::order::Ordered;
use crate::record::TensorInfo;
use crate::tensor::{Body, Data, Node, Source, State, Storage, StorageId, Tensor};
use crate::{Dtype, Error};

/// A storage as a tensor of the file.
pub(super) struct Stored<'s> {
    /// What the header says; the name comes later.
    pub(super) info: TensorInfo,
    /// The number of the node whose name it gets; `None` where it belongs to several tensors.
    pub(super) owner: Option<usize>,
    /// The storage whose bytes these are, as they are; `None` where they are gathered.
    pub(super) storage: Option<StorageId>,
    /// The bytes.
    pub(super) source: Box<dyn Source + 's>,
}

/// Who uses a storage.
#[derive(Default)]
struct Users {
    /// The nodes that are views of it.
    tensors: Vec<usize>,
    /// How often it is used otherwise: by itself, or as the whole of a part.
    others: usize,
}

/// Decides for each storage how it is stored; `None` where it isn't: it has no bytes, or is a part of another.
///
/// A tensor that alone sees a part of its storage, or sees it out of order, becomes one that has all of it.
///
/// # Errors
///
/// A tensor reaches outside its storage, or a storage has other bytes than its length.
pub(super) fn plan<'s>(
    ordered: &mut Ordered,
    state: &'s State<'_>,
) -> Result<Vec<Option<Stored<'s>>>, Error> {
    let users = users(ordered)?;
    let mut plan = Vec::with_capacity(users.len());
    for (number, users) in users.iter().enumerate() {
        let Some(storage) = ordered.storages.get_mut(number) else { break };
        if storage.part_of.is_some() {
            plan.push(None);
            continue;
        }
        let origin = ordered.origins.get(number).and_then(|&origin| Some((origin, state.data(origin)?)));
        let Some((origin, data)) = origin else {
            return Err(Error::usage("the state can't be saved: a storage has no bytes"));
        };
        if data.is_empty() && storage.bytes > 0 {
            plan.push(None);
        } else if data.len() == storage.bytes {
            plan.push(Some(store(users, &mut ordered.nodes, storage, (origin, data))));
        } else {
            let (there, bytes) = (data.len(), storage.bytes);
            return Err(Error::usage(format!(
                "the state can't be saved: a storage of {bytes} bytes comes with {there}"
            )));
        }
    }
    Ok(plan)
}

/// Finds who uses each storage, and holds the tensors and the parts to them.
fn users(ordered: &Ordered) -> Result<Vec<Users>, Error> {
    let wrong = |message| Error::usage(format!("the state can't be saved: {message}"));
    let mut users: Vec<Users> = ordered.storages.iter().map(|_| Users::default()).collect();
    for (at, node) in ordered.nodes.iter().enumerate() {
        match node {
            Node::Storage(id) => {
                if let Some(users) = users.get_mut(id.0 as usize) {
                    users.others += 1;
                }
            }
            Node::Tensor(tensor) => {
                let storage = match &tensor.body {
                    Body::Strided { storage, .. } => Some(storage.0 as usize),
                    _ => None,
                };
                check_tensor(tensor, storage.and_then(|id| ordered.storages.get(id))).map_err(wrong)?;
                if let Some(users) = storage.and_then(|id| users.get_mut(id)) {
                    users.tensors.push(at);
                }
            }
            _ => {}
        }
    }
    for storage in &ordered.storages {
        let Some((whole, offset)) = storage.part_of else { continue };
        let end = offset.checked_add(storage.bytes);
        let whole_bytes = ordered.storages.get(whole.0 as usize).map(|whole| whole.bytes);
        if end.is_none_or(|end| whole_bytes.is_none_or(|bytes| bytes < end)) {
            return Err(wrong("a storage reaches outside the one that it is a part of".to_owned()));
        }
        if let Some(users) = users.get_mut(whole.0 as usize) {
            users.others += 1;
        }
    }
    Ok(users)
}

/// Decides how a storage is stored.
fn store<'s>(
    users: &Users,
    nodes: &mut [Node],
    storage: &mut Storage,
    (origin, data): (StorageId, &'s Data<'_>),
) -> Stored<'s> {
    let whole = |info, owner| Stored { info, owner, storage: Some(origin), source: Box::new(data.clone()) };
    let covering = users.tensors.iter().find_map(|&at| match nodes.get(at) {
        Some(Node::Tensor(tensor)) if covers(tensor, storage.bytes) => Some((at, info(tensor)?)),
        _ => None,
    });
    if let Some((owner, info)) = covering {
        return whole(info, Some(owner));
    }
    let lone = match (users.tensors.as_slice(), users.others) {
        (&[at], 0) => nodes.get_mut(at).and_then(|node| match node {
            Node::Tensor(tensor) => Some((at, tensor)),
            _ => None,
        }),
        _ => None,
    };
    if let Some((at, tensor)) = lone
        && !covers(tensor, storage.bytes)
        && let Some(gather) = Gather::new(tensor, data).filter(|gather| gather.len() <= storage.bytes)
    {
        storage.bytes = gather.len();
        let shape = row_major(&tensor.shape);
        if let Body::Strided { offset, strides, .. } = &mut tensor.body {
            (*offset, *strides) = (0, shape);
        }
        let (info, owner) = info(tensor).map_or((raw(storage.bytes), None), |info| (info, Some(at)));
        return Stored { info, owner, storage: None, source: Box::new(gather) };
    }
    whole(raw(storage.bytes), None)
}

/// Returns whether a tensor is all of its storage, in order.
fn covers(tensor: &Tensor, storage_bytes: u64) -> bool {
    let Body::Strided { offset, strides, .. } = &tensor.body else { return false };
    let count = TensorInfo::count(&tensor.shape);
    let bytes = count.and_then(|count| tensor.dtype.tensor_bytes(count));
    let expected = row_major(&tensor.shape);
    let is_row_major = count == Some(0)
        || (tensor.shape.iter().zip(strides.iter().zip(&expected)))
            .all(|(length, (stride, expected))| *length == 1 || stride == expected);
    bytes == Some(storage_bytes) && is_row_major && (*offset == 0 || count == Some(0))
}

/// Bytes without a type.
fn raw(bytes: u64) -> TensorInfo {
    TensorInfo { name: String::new(), dtype: Dtype::U8, shape: vec![bytes], bytes }
}

/// What the header says of a tensor that is all of its storage. `None` where a reader would take its
/// elements for others than they are: conjugated, negated.
fn info(tensor: &Tensor) -> Option<TensorInfo> {
    if tensor.conjugated || tensor.negated || tensor.shape.len() >= MAX_RANK {
        return None;
    }
    let bytes = TensorInfo::count(&tensor.shape).and_then(|count| tensor.dtype.tensor_bytes(count))?;
    let mut shape = tensor.shape.clone();
    let dtype = match nearest(tensor.dtype) {
        Nearest::Same(dtype) => dtype,
        Nearest::Pair(dtype) => {
            shape.push(2);
            dtype
        }
        Nearest::Bytes => {
            shape = vec![bytes];
            Dtype::U8
        }
    };
    let stored = TensorInfo::count(&shape).and_then(|count| dtype.bytes_for(count));
    (stored == Some(bytes)).then_some(TensorInfo { name: String::new(), dtype, shape, bytes })
}

/// What comes nearest to a dtype in safetensors.
enum Nearest {
    /// A dtype of the same size.
    Same(Dtype),
    /// A dtype of half the size.
    Pair(Dtype),
    /// Bytes, several elements in each.
    Bytes,
}

fn nearest(dtype: Dtype) -> Nearest {
    match dtype {
        named if named.safetensors_name().is_some() => Nearest::Same(named),
        Dtype::C32 => Nearest::Pair(Dtype::F16),
        Dtype::C128 => Nearest::Pair(Dtype::F64),
        packed if packed.elements_per_byte() > 1 => Nearest::Bytes,
        Dtype::QI32 => Nearest::Same(Dtype::I32),
        Dtype::Bits16 => Nearest::Same(Dtype::U16),
        Dtype::QI8 | Dtype::I1 | Dtype::I2 | Dtype::I3 | Dtype::I4 | Dtype::I5 | Dtype::I6 | Dtype::I7 => {
            Nearest::Same(Dtype::I8)
        }
        _ => Nearest::Same(Dtype::U8),
    }
}
