//! Calls of known names: the value that the function would return, built as data.

use super::fault::{self, Step, invalid, too_complex};
use super::globals::{Known, lookup};
use super::machine::{Machine, boxed};
use crate::Dtype;
use crate::tensor::{Body, MapKind, Node, NodeId, Storage, StorageId, Tensor};

/// `_rebuild_from_type_v2` may wrap itself this often.
const MAX_WRAPPING: usize = 8;

impl Machine<'_> {
    /// Builds what a call of a known name returns.
    pub(super) fn call(&mut self, known: Known, arguments: &[NodeId], depth: usize) -> Step<NodeId> {
        let node = match (known, arguments) {
            (Known::OrderedDict, _) => self.map(MapKind::OrderedDict, arguments)?,
            (Known::Counter, _) => self.map(MapKind::Counter, arguments)?,
            (Known::Set, _) => Node::Set(self.items(arguments)?),
            (Known::FrozenSet, _) => Node::FrozenSet(self.items(arguments)?),
            (Known::Bytes, []) => Node::Bytes(Box::default()),
            (Known::ByteArray, _) => self.byte_array(arguments)?,
            (Known::Complex, &[re]) => Node::Complex(self.float(re)?, 0.0),
            (Known::Complex, &[re, im]) => Node::Complex(self.float(re)?, self.float(im)?),
            (Known::Encode, &[text]) => Node::Bytes(self.encode(text, None)?),
            (Known::Encode, &[text, encoding]) => Node::Bytes(self.encode(text, Some(encoding))?),
            (Known::Size, []) => Node::Size(Vec::new()),
            (Known::Size, &[lengths]) => Node::Size(self.integers(lengths)?),
            (Known::Device, &[name]) => Node::Device(device(&self.copied_text(name)?)?.into()),
            (Known::Device, &[name, index]) => {
                let name = self.copied_text(name)?;
                Node::Device(format!("{}:{}", device(&name)?, self.integer(index)?).into())
            }
            (Known::GetLayout, &[name]) => Node::Layout(layout(&self.copied_text(name)?)?.into()),
            (Known::TensorClass | Known::Parameter, []) => {
                Node::Tensor(Box::new(empty_tensor(known == Known::Parameter)))
            }
            (Known::Parameter, &[data]) => self.parameter(data, true)?,
            (Known::Parameter, &[data, requires_grad, ..]) => {
                let requires_grad = self.gradient(requires_grad, self.tensor(data)?.dtype)?;
                self.parameter(data, requires_grad)?
            }
            (Known::FromTypeV2, &[function, _, inner, state]) => {
                let id = self.rebuild_as_type(function, inner, depth)?;
                self.set_attributes(id, state);
                return Ok(id);
            }
            (Known::Rebuild(function), _) => return self.rebuild(function, arguments),
            (Known::Array(global), _) => return self.array_call(global, arguments),
            _ => {
                return invalid(format!(
                    "a call of a known name with {} arguments: it takes others",
                    arguments.len()
                ));
            }
        };
        self.add(node)
    }

    /// `torch._tensor._rebuild_from_type_v2(function, type, arguments, state)`: a tensor of a subclass. The
    /// tensor is the one that `function` rebuilds; the subclass is a global of its own, which was looked at
    /// when it was pushed.
    fn rebuild_as_type(&mut self, function: NodeId, arguments: NodeId, depth: usize) -> Step<NodeId> {
        if depth > MAX_WRAPPING {
            return too_complex("a tensor is wrapped too often");
        }
        let Node::Global(name) = self.node(function) else {
            return invalid("a tensor is rebuilt by no function");
        };
        let Some(known) = lookup(name) else { return invalid("a tensor is rebuilt by an unknown function") };
        let Node::Tuple(items) = self.node(arguments) else { return invalid("arguments that are no tuple") };
        let items = items.clone();
        self.budget.charge(items.len())?;
        let rebuilt = self.call(known, &items, depth + 1)?;
        self.tensor(rebuilt)?;
        Ok(rebuilt)
    }

    /// A map from nothing, from a map, or from a list of pairs.
    fn map(&mut self, kind: MapKind, arguments: &[NodeId]) -> Step<Node> {
        let &[source] = arguments else {
            return if arguments.is_empty() {
                Ok(Node::Map(kind, None))
            } else {
                invalid("a map of several arguments")
            };
        };
        let entries = match self.node(source) {
            Node::Map(_, None) => Vec::new(),
            Node::Map(_, Some(map)) => map.entries.clone(),
            Node::List(items) | Node::Tuple(items) if kind == MapKind::OrderedDict => {
                items.iter().map(|&item| self.pair(item)).collect::<Step<_>>()?
            }
            other => return invalid(format!("a map made of a value of type {}", other.type_name())),
        };
        self.budget.charge(entries.len())?;
        Ok(Node::Map(kind, boxed(entries)))
    }

    /// Takes a list or a tuple of two for a key and its value, as `dict()` does.
    fn pair(&self, id: NodeId) -> Step<(NodeId, NodeId)> {
        match self.node(id) {
            Node::List(items) | Node::Tuple(items) => match items.as_slice() {
                &[key, value] => Ok((key, value)),
                _ => invalid("a map made of what isn't pairs"),
            },
            _ => invalid("a map made of what isn't pairs"),
        }
    }

    /// The items of the one list that a set is made of.
    fn items(&mut self, arguments: &[NodeId]) -> Step<Vec<NodeId>> {
        let items = match arguments {
            [] => Vec::new(),
            &[source] => match self.node(source) {
                Node::List(items) | Node::Tuple(items) | Node::Set(items) | Node::FrozenSet(items) => {
                    items.clone()
                }
                other => return invalid(format!("a set made of a value of type {}", other.type_name())),
            },
            _ => return invalid("a set of several arguments"),
        };
        self.budget.charge(items.len())?;
        Ok(items)
    }

    /// `bytearray()`, `bytearray(bytes)`, and what protocol 2 writes: `bytearray(text, 'latin-1')`.
    fn byte_array(&mut self, arguments: &[NodeId]) -> Step<Node> {
        let bytes = match arguments {
            [] => Box::default(),
            &[source] => match self.node(source) {
                Node::Bytes(bytes) | Node::ByteArray(bytes) => bytes.clone(),
                other => {
                    return invalid(format!("a bytearray made of a value of type {}", other.type_name()));
                }
            },
            &[text, encoding] => self.encode(text, Some(encoding))?,
            _ => return invalid("a bytearray of several arguments"),
        };
        self.budget.charge(bytes.len())?;
        Ok(Node::ByteArray(bytes))
    }

    /// `codecs.encode` with the encodings that pickle itself uses to write bytes as text.
    fn encode(&mut self, text: NodeId, encoding: Option<NodeId>) -> Step<Box<[u8]>> {
        let length = self.text(text)?.len();
        self.budget.charge(length)?;
        let encoding = encoding.map_or(Ok("utf-8"), |encoding| self.text(encoding))?;
        let text = self.text(text)?;
        match encoding.to_ascii_lowercase().replace(['_', ' '], "-").as_str() {
            "utf-8" | "utf8" => Ok(text.as_bytes().into()),
            "latin1" | "latin-1" | "iso-8859-1" | "iso8859-1" => {
                let narrow = text.chars().map(|character| u8::try_from(u32::from(character)));
                match narrow.collect::<Result<Vec<_>, _>>() {
                    Ok(bytes) => Ok(bytes.into()),
                    Err(_) => invalid("bytes written as text have a character above 255"),
                }
            }
            "ascii" if text.is_ascii() => Ok(text.as_bytes().into()),
            other => invalid(format!("bytes written as text in the encoding '{}'", other.escape_debug())),
        }
    }

    /// Gives the storage that a persistent id names: `("storage", class, key, device, length)`, and
    /// in files of before 1.6 a view of it, or a class: `("module", class, file, source)`.
    pub(super) fn persistent(&mut self, id: NodeId) -> Step {
        let Node::Tuple(items) = self.node(id) else { return invalid("a persistent id that is no tuple") };
        let (class, key, device, length, view) = match *items.as_slice() {
            [word, class, key, device, length] if self.is_word(word, "storage") => {
                (class, key, device, length, None)
            }
            [word, class, key, device, length, view] if self.is_word(word, "storage") => {
                (class, key, device, length, Some(view))
            }
            // Files of before 1.6 also name the classes of modules this way, with their source code.
            [word, class, ..] if self.is_word(word, "module") => {
                self.push_id(class);
                self.note_beyond(|| "a class that is named with its source code".to_owned());
                return Ok(());
            }
            _ => return invalid("a persistent id that is no storage"),
        };
        let dtype = self.storage_class(class)?;
        let bytes = self.storage_bytes(dtype, length)?;
        let key = self.key(key)?;
        let storage = self.storage(key, dtype, bytes, device)?;
        let storage = match view.map(|view| self.node(view)) {
            Some(Node::Tuple(view)) => match view.as_slice() {
                &[key, offset, length] => self.storage_view(storage, dtype, key, offset, length)?,
                _ => return invalid("a view of a storage that isn't three values"),
            },
            _ => storage,
        };
        let node = self.add(Node::Storage(storage))?;
        self.push_id(node);
        Ok(())
    }

    /// A storage's key is a string; a number is put into the record's name the same way.
    fn key(&mut self, id: NodeId) -> Step<String> {
        match self.node(id) {
            Node::Int(key) => Ok(key.to_string()),
            _ => Ok(self.copied_text(id)?.into_string()),
        }
    }

    /// Returns whether a value is this word; Python 2 wrote such words as byte strings.
    fn is_word(&self, id: NodeId, word: &str) -> bool {
        match self.node(id) {
            Node::Text(text) => **text == *word,
            Node::Bytes(bytes) => **bytes == *word.as_bytes(),
            _ => false,
        }
    }

    /// Returns the type of a storage's elements by its class: `torch.FloatStorage`.
    fn storage_class(&self, class: NodeId) -> Step<Option<Dtype>> {
        if let Node::Global(name) = self.node(class)
            && let Some(Known::StorageClass(dtype)) = lookup(name)
        {
            return Ok(dtype);
        }
        invalid("a storage of no known class")
    }

    /// Turns a length in elements into bytes. It must fit into a signed 64-bit number, as PyTorch's own do:
    /// all sums of offsets later on rely on that.
    fn storage_bytes(&self, dtype: Option<Dtype>, length: NodeId) -> Step<u64> {
        let length = self.length(length)?;
        let bytes = dtype.unwrap_or(Dtype::U8).bytes_for(length);
        bytes.filter(|bytes| i64::try_from(*bytes).is_ok()).map_or_else(
            || fault::tensor(format!("a storage of {length} elements is too large for any machine")),
            Ok,
        )
    }

    /// Finds or adds a storage. The same key must mean the same storage wherever it is used: PyTorch
    /// would silently give every later use the first one's type. An empty one has nothing to confuse.
    fn storage(&mut self, key: String, dtype: Option<Dtype>, bytes: u64, device: NodeId) -> Step<StorageId> {
        let id = (None, key);
        if let Some(&known) = self.storage_ids.get(&id)
            && let Some(storage) = self.storages.get(known.0 as usize)
        {
            if (storage.dtype, storage.bytes) == (dtype, bytes) {
                return Ok(known);
            }
            if (storage.bytes, bytes) != (0, 0) {
                return fault::tensor(format!("storage '{}' is used with two types or sizes", id.1));
            }
        }
        let device = match self.node(device) {
            Node::Text(device) => device.to_string(),
            Node::Bytes(device) => String::from_utf8_lossy(device).into_owned(),
            Node::None => "cpu".to_owned(),
            _ => return invalid("a storage's device is no string"),
        };
        let storage = Storage { key: id.1.clone(), dtype, bytes, device, part_of: None };
        self.add_storage(id, storage)
    }

    /// Finds or adds a part of a storage: `(key, offset, length)`, in elements of the whole's type. It must
    /// lie within the whole, and a key must always mean the same part.
    fn storage_view(
        &mut self,
        whole: StorageId,
        dtype: Option<Dtype>,
        key: NodeId,
        offset: NodeId,
        length: NodeId,
    ) -> Step<StorageId> {
        let start = self.storage_bytes(dtype, offset)?;
        let bytes = self.storage_bytes(dtype, length)?;
        // A view's key names a part of its whole: it can't be taken for the key of a storage.
        let id = (Some(whole), self.copied_text(key)?.into_string());
        if let Some(&known) = self.storage_ids.get(&id) {
            let same = self.storages.get(known.0 as usize).is_some_and(|view| {
                (view.dtype, view.bytes, view.part_of) == (dtype, bytes, Some((whole, start)))
            });
            return if same { Ok(known) } else { fault::tensor("a view of a storage is used as two") };
        }
        let Some(storage) = self.storages.get(whole.0 as usize) else {
            return invalid("a view of no storage");
        };
        if start.checked_add(bytes).is_none_or(|end| end > storage.bytes) {
            return fault::tensor(format!("a view reaches past the end of storage '{}'", storage.key));
        }
        let view = Storage { bytes, part_of: Some((whole, start)), ..storage.clone() };
        self.add_storage(id, view)
    }

    /// Adds a storage under its key. Charged: naming one anew takes a pickle four bytes, and a storage
    /// a hundred and more.
    fn add_storage(&mut self, key: (Option<StorageId>, String), storage: Storage) -> Step<StorageId> {
        let texts = key.1.len() + storage.key.len() + storage.device.len();
        self.budget.charge(size_of::<Storage>() + texts)?;
        let id = StorageId(u32::try_from(self.storages.len()).unwrap_or(u32::MAX));
        self.storage_ids.insert(key, id);
        self.storages.push(storage);
        Ok(id)
    }

    // Arguments.

    /// Copies a string, at the cost of its length: a pickle can give the same long one to a million
    /// calls.
    pub(super) fn copied_text(&mut self, id: NodeId) -> Step<Box<str>> {
        let length = self.text(id)?.len();
        self.budget.charge(length)?;
        Ok(self.text(id)?.into())
    }

    /// Takes a value for an integer; `True` is 1, as in Python. One beyond 64 bits is of no use to any
    /// caller.
    pub(super) fn integer(&self, id: NodeId) -> Step<i64> {
        match self.node(id) {
            Node::Int(value) => Ok(*value),
            Node::Bool(value) => Ok((*value).into()),
            other => invalid(format!("an integer is needed, not a value of type {}", other.type_name())),
        }
    }

    /// Takes a value for a length or an offset, which can't be negative.
    pub(super) fn length(&self, id: NodeId) -> Step<u64> {
        let value = self.integer(id)?;
        u64::try_from(value).map_or_else(|_| fault::tensor(format!("a length or an offset is {value}")), Ok)
    }

    /// Takes a tuple, a list or a `torch.Size` for integers, at the cost of their number.
    pub(super) fn integers(&mut self, id: NodeId) -> Step<Vec<i64>> {
        let integers = match self.node(id) {
            Node::Tuple(items) | Node::List(items) => {
                items.iter().map(|&item| self.integer(item)).collect::<Step<Vec<_>>>()?
            }
            Node::Size(lengths) => lengths.clone(),
            other => return invalid(format!("a tuple is needed, not a value of type {}", other.type_name())),
        };
        self.budget.charge(integers.len())?;
        Ok(integers)
    }

    /// Takes a tuple for sizes or strides. PyTorch has no negative strides, unlike NumPy.
    pub(super) fn lengths(&mut self, id: NodeId) -> Step<Vec<u64>> {
        let integers = self.integers(id)?;
        match integers.iter().map(|&value| u64::try_from(value)).collect() {
            Ok(lengths) => Ok(lengths),
            Err(_) => fault::tensor("a size or a stride is negative"),
        }
    }

    /// Takes a value for a truth value, where writers give one of four types.
    pub(super) fn truth(&self, id: NodeId) -> Step<bool> {
        match self.node(id) {
            Node::Bool(value) => Ok(*value),
            Node::Int(value) => Ok(*value != 0),
            Node::None => Ok(false),
            other => invalid(format!("a truth value is needed, not a value of type {}", other.type_name())),
        }
    }

    /// Takes a value for a float.
    fn float(&self, id: NodeId) -> Step<f64> {
        match self.node(id) {
            Node::Float(value) => Ok(*value),
            #[expect(clippy::cast_precision_loss, reason = "as Python's float() does")]
            Node::Int(value) => Ok(*value as f64),
            other => invalid(format!("a number is needed, not a value of type {}", other.type_name())),
        }
    }

    /// Takes a value for a tensor.
    pub(super) fn tensor(&self, id: NodeId) -> Step<&Tensor> {
        match self.node(id) {
            Node::Tensor(tensor) => Ok(tensor),
            other => invalid(format!("a tensor is needed, not a value of type {}", other.type_name())),
        }
    }

    /// Makes a `torch.nn.Parameter` of a tensor: the same data, marked.
    pub(super) fn parameter(&mut self, data: NodeId, requires_grad: bool) -> Step<Node> {
        let tensor = self.tensor(data)?.clone();
        self.budget.charge(tensor.shape.len())?;
        Ok(Node::Tensor(Box::new(Tensor { parameter: true, requires_grad, ..tensor })))
    }

    /// Returns the tuple's items, for arguments that come as a tuple.
    pub(super) fn tuple(&mut self, id: NodeId) -> Step<Vec<NodeId>> {
        let Node::Tuple(items) = self.node(id) else { return invalid("a tuple is needed") };
        let items = items.clone();
        self.budget.charge(items.len())?;
        Ok(items)
    }
}

/// Checks a device's name as `torch.device` does: a known kind, and perhaps a number.
pub(super) fn device(name: &str) -> Step<&str> {
    const KINDS: [&str; 18] = [
        "cpu", "cuda", "ipu", "xpu", "mkldnn", "opengl", "opencl", "ideep", "hip", "ve", "fpga", "maia",
        "xla", "lazy", "vulkan", "mps", "meta", "hpu",
    ];
    let kind = name.split_once(':').map_or(name, |(kind, _)| kind);
    if KINDS.contains(&kind) || matches!(kind, "mtia" | "privateuseone") {
        return Ok(name);
    }
    invalid(format!("'{}' is no device", name.escape_debug()))
}

/// Checks a layout's name.
pub(super) fn layout(name: &str) -> Step<&str> {
    let short = name.strip_prefix("torch.").unwrap_or(name);
    let known = [
        "strided",
        "sparse_coo",
        "sparse_csr",
        "sparse_csc",
        "sparse_bsr",
        "sparse_bsc",
        "_mkldnn",
        "jagged",
    ];
    if known.contains(&short) {
        Ok(short)
    } else {
        invalid(format!("'{}' is no layout", name.escape_debug()))
    }
}

/// What `torch.FloatTensor()` gives before its state is set.
fn empty_tensor(parameter: bool) -> Tensor {
    Tensor {
        dtype: Dtype::F32,
        shape: vec![0],
        requires_grad: parameter,
        parameter,
        conjugated: false,
        negated: false,
        attributes: None,
        body: Body::Meta,
    }
}

#[cfg(test)]
mod tests {
    use crate::format::torch::ReadOptions;
    use crate::format::torch::pickle::read;
    use crate::tensor::Node;

    /// Whole modules were saved with the source of their classes before PyTorch 1.6.
    #[test]
    fn a_modules_source_stands_for_its_class() {
        let text = b"(S'module'\ncmodels\nNet\nS'net.py'\nS'class Net: ...'\ntQ(tR.";
        let pickle = read(text, &ReadOptions::default()).unwrap();
        assert_eq!(pickle.unknown_globals, ["models.Net"]);
        assert_eq!(pickle.tree.node(pickle.tree.root()).type_name(), "models.Net");
    }

    /// Protocols 0 to 2 have no opcode for empty bytes: Python writes a call.
    #[test]
    fn empty_bytes_are_a_call() {
        let pickle = read(b"c__builtin__\nbytes\n(tR.", &ReadOptions::default()).unwrap();
        assert_eq!(pickle.tree.node(pickle.tree.root()), &Node::Bytes([].into()));
        assert!(pickle.beyond_torch.is_some());
        assert!(pickle.unknown_globals.is_empty());
    }
}
