//! Values as opcodes.

use std::borrow::Cow;
use std::collections::HashMap;

use super::storages::class_name;
use super::survey::Survey;
use crate::format::torch::pickle::opcode::Opcode;
use crate::tensor::{Map, MapKind, Node, NodeId, StorageId, Tree};

/// Every tensor is tagged so, wherever it was: a file says nothing about the machine that reads it.
const DEVICE: &str = "cpu";

/// Writes a tree that a survey has found to be writable.
pub(super) fn emit(tree: &Tree, survey: &Survey) -> Vec<u8> {
    let mut writer = Writer::new(tree, survey);
    writer.op(Opcode::Proto);
    writer.out.push(2);
    writer.todo.push(Step::Value(tree.root()));
    while let Some(step) = writer.todo.pop() {
        writer.step(step);
    }
    writer.op(Opcode::Stop);
    writer.out
}

/// What is to be written next.
pub(super) enum Step<'a> {
    /// A value of the tree, or a reference to it.
    Value(NodeId),
    /// An opcode without an argument.
    Op(Opcode),
    /// An integer.
    Int(i64),
    /// A truth value.
    Bool(bool),
    /// A tuple of lengths.
    Lengths(Cow<'a, [u64]>),
    /// A word of the format's own.
    Word(&'static str),
    /// A class or function: `module.name`.
    Global(Cow<'a, str>),
    /// A storage, by its persistent id.
    Storage(StorageId),
    /// A memo entry for the value that was just finished.
    Remember(NodeId),
}

/// The steps of a call: a function, a tuple of arguments, and what calls it.
pub(super) fn call<'a>(function: &'static str, arguments: Vec<Step<'a>>) -> Vec<Step<'a>> {
    let mut steps = vec![Step::Global(function.into()), Step::Op(Opcode::Mark)];
    steps.extend(arguments);
    steps.extend([Step::Op(Opcode::Tuple), Step::Op(Opcode::Reduce)]);
    steps
}

/// A pickle in the making.
pub(super) struct Writer<'a> {
    /// The values.
    pub(super) tree: &'a Tree,
    /// What is known of them.
    pub(super) survey: &'a Survey,
    out: Vec<u8>,
    /// What is to be written, the next step last.
    todo: Vec<Step<'a>>,
    /// How many memo entries there are.
    remembered: u32,
    /// The memo entries of values.
    values: HashMap<NodeId, u32>,
    /// The memo entries of words, and of classes and functions; the latter with a line break in the name.
    names: HashMap<String, u32>,
}

impl<'a> Writer<'a> {
    /// A writer that has written nothing.
    fn new(tree: &'a Tree, survey: &'a Survey) -> Self {
        let (values, names) = (HashMap::new(), HashMap::new());
        Self { tree, survey, out: Vec::new(), todo: Vec::new(), remembered: 0, values, names }
    }

    /// Writes one step, or puts those that it is made of in its place.
    fn step(&mut self, step: Step<'a>) {
        match step {
            Step::Value(id) => self.value(id),
            Step::Op(opcode) => self.op(opcode),
            Step::Int(value) => self.int(value),
            Step::Bool(value) => self.op(if value { Opcode::NewTrue } else { Opcode::NewFalse }),
            Step::Lengths(lengths) => {
                // The survey has held every length to 63 bits.
                let signed: Vec<_> =
                    lengths.iter().map(|&length| i64::try_from(length).unwrap_or(0)).collect();
                self.integers(&signed);
            }
            Step::Word(word) => self.named(word.to_owned(), |writer| writer.text(word.as_bytes())),
            Step::Global(name) => self.global(&name),
            Step::Storage(id) => self.storage(id),
            Step::Remember(id) => {
                let entry = self.remember();
                self.values.insert(id, entry);
            }
        }
    }

    /// Writes a value, or a reference to it where it was written before.
    fn value(&mut self, id: NodeId) {
        if let Some(&entry) = self.values.get(&id) {
            return self.recall(entry);
        }
        let node = self.tree.node(id);
        // These take no more than a reference, or are one already.
        let is_short = matches!(
            node,
            Node::None | Node::Bool(_) | Node::Int(_) | Node::Dtype(_) | Node::QScheme(_) | Node::Global(_)
        );
        if self.survey.is_shared(id) && !is_short {
            self.todo.push(Step::Remember(id));
        }
        if !self.plain(node) {
            let steps = self.expand(node);
            self.todo.extend(steps.into_iter().rev());
        }
    }

    /// Writes a value that contains no others; false for one that does.
    fn plain(&mut self, node: &'a Node) -> bool {
        match node {
            Node::None => self.op(Opcode::None),
            Node::Bool(value) => self.step(Step::Bool(*value)),
            Node::Int(value) => self.int(*value),
            Node::BigInt(bytes) => self.counted(Opcode::Long1, bytes),
            Node::Float(value) => self.float(*value),
            Node::Text(text) => self.text(text.as_bytes()),
            Node::SurrogateText(bytes) => self.text(bytes),
            Node::Dtype(dtype) => self.global(&format!("torch.{}", dtype.torch_name())),
            Node::QScheme(name) => self.global(&format!("torch.{name}")),
            Node::Global(name) => self.global(name),
            Node::Storage(id) => self.storage(*id),
            Node::Complex(re, im) => {
                self.global("builtins.complex");
                self.float(*re);
                self.float(*im);
                self.op(Opcode::Tuple2);
                self.op(Opcode::Reduce);
            }
            // Protocol 2 has no bytes: Python writes them as text, each byte a character.
            Node::Bytes(bytes) => self.bytes("_codecs.encode", bytes, "latin1"),
            Node::ByteArray(bytes) => self.bytes("builtins.bytearray", bytes, "latin-1"),
            Node::Size(lengths) => {
                self.global("torch.Size");
                self.integers(lengths);
                self.op(Opcode::Tuple1);
                self.op(Opcode::Reduce);
            }
            Node::Device(name) => self.call_with("torch.device", name),
            Node::Layout(name) => self.call_with("torch.serialization._get_layout", &format!("torch.{name}")),
            _ => return false,
        }
        true
    }

    /// Returns the steps of a value that contains others.
    fn expand(&self, node: &'a Node) -> Vec<Step<'a>> {
        let around = |before: &[Opcode], items: &[NodeId], after: &[Opcode]| {
            let op = |opcode: &Opcode| Step::Op(*opcode);
            let items = items.iter().copied().map(Step::Value);
            before.iter().map(op).chain(items).chain(after.iter().map(op)).collect::<Vec<_>>()
        };
        match node {
            Node::List(items) if items.is_empty() => vec![Step::Op(Opcode::EmptyList)],
            Node::List(items) => around(&[Opcode::EmptyList, Opcode::Mark], items, &[Opcode::Appends]),
            Node::Tuple(items) => match items.len() {
                0 => vec![Step::Op(Opcode::EmptyTuple)],
                1 => around(&[], items, &[Opcode::Tuple1]),
                2 => around(&[], items, &[Opcode::Tuple2]),
                3 => around(&[], items, &[Opcode::Tuple3]),
                _ => around(&[Opcode::Mark], items, &[Opcode::Tuple]),
            },
            Node::Set(items) => {
                let list = around(&[Opcode::EmptyList, Opcode::Mark], items, &[Opcode::Appends]);
                call("builtins.set", list)
            }
            Node::Map(kind, map) => map_steps(*kind, map.as_deref()),
            Node::Tensor(tensor) => self.tensor(tensor),
            // The survey has refused all others.
            _ => vec![Step::Op(Opcode::None)],
        }
    }

    // The opcodes.

    /// Writes an opcode without its argument.
    fn op(&mut self, opcode: Opcode) {
        self.out.push(opcode.byte());
    }

    /// Writes an integer. One beyond 32 bits takes eight bytes, as libtorch wants it.
    fn int(&mut self, value: i64) {
        if let Ok(value) = u8::try_from(value) {
            self.op(Opcode::BinInt1);
            self.out.push(value);
        } else if let Ok(value) = u16::try_from(value) {
            self.op(Opcode::BinInt2);
            self.out.extend(value.to_le_bytes());
        } else if let Ok(value) = i32::try_from(value) {
            self.op(Opcode::BinInt);
            self.out.extend(value.to_le_bytes());
        } else {
            self.counted(Opcode::Long1, &value.to_le_bytes());
        }
    }

    /// Writes a float, bit for bit.
    fn float(&mut self, value: f64) {
        self.op(Opcode::BinFloat);
        self.out.extend(value.to_be_bytes());
    }

    /// Writes an opcode that counts its bytes in one byte. The survey has held them to that.
    fn counted(&mut self, opcode: Opcode, bytes: &[u8]) {
        self.op(opcode);
        self.out.push(u8::try_from(bytes.len()).unwrap_or_default());
        self.out.extend_from_slice(bytes);
    }

    /// Writes text: UTF-8, in which surrogates may pass. The survey has held its length to 32 bits.
    fn text(&mut self, bytes: &[u8]) {
        self.op(Opcode::BinUnicode);
        self.out.extend(u32::try_from(bytes.len()).unwrap_or_default().to_le_bytes());
        self.out.extend_from_slice(bytes);
    }

    /// Writes a tuple of integers.
    fn integers(&mut self, values: &[i64]) {
        if values.is_empty() {
            return self.op(Opcode::EmptyTuple);
        }
        self.op(Opcode::Mark);
        for &value in values {
            self.int(value);
        }
        self.op(Opcode::Tuple);
    }

    /// Writes a class or function by its name: `module.name`.
    fn global(&mut self, name: &str) {
        let (module, short) = name.rsplit_once('.').unwrap_or(("builtins", name));
        let line = format!("{module}\n{short}\n");
        self.named(line.clone(), |writer| {
            writer.op(Opcode::Global);
            writer.out.extend_from_slice(line.as_bytes());
        });
    }

    /// Writes something of the format's own the first time, and afterwards a reference to it.
    fn named(&mut self, name: String, write: impl FnOnce(&mut Self)) {
        if let Some(&entry) = self.names.get(&name) {
            return self.recall(entry);
        }
        write(self);
        let entry = self.remember();
        self.names.insert(name, entry);
    }

    /// Writes bytes as a call on text of as many characters.
    fn bytes(&mut self, function: &str, bytes: &[u8], encoding: &'static str) {
        self.global(function);
        let text: String = bytes.iter().copied().map(char::from).collect();
        self.text(text.as_bytes());
        self.step(Step::Word(encoding));
        self.op(Opcode::Tuple2);
        self.op(Opcode::Reduce);
    }

    /// Writes a call with one text.
    fn call_with(&mut self, function: &str, text: &str) {
        self.global(function);
        self.text(text.as_bytes());
        self.op(Opcode::Tuple1);
        self.op(Opcode::Reduce);
    }

    /// Writes a storage by its persistent id: `("storage", class, key, device, length)`.
    fn storage(&mut self, id: StorageId) {
        let Some((key, planned, _)) = self.survey.storages.find(self.tree, id) else { return };
        self.op(Opcode::Mark);
        self.step(Step::Word("storage"));
        self.global(planned.class.and_then(class_name).unwrap_or("torch.storage.UntypedStorage"));
        self.text(key.to_string().as_bytes());
        self.step(Step::Word(DEVICE));
        let size = planned.class.and_then(|dtype| dtype.bytes_for(1)).unwrap_or(1).max(1);
        self.int(i64::try_from(planned.bytes / size).unwrap_or(0));
        self.op(Opcode::Tuple);
        self.op(Opcode::BinPersId);
    }

    /// Gives the value on top of the stack the next memo entry.
    fn remember(&mut self) -> u32 {
        let entry = self.remembered;
        self.remembered += 1;
        if let Ok(entry) = u8::try_from(entry) {
            self.op(Opcode::BinPut);
            self.out.push(entry);
        } else {
            self.op(Opcode::LongBinPut);
            self.out.extend(entry.to_le_bytes());
        }
        entry
    }

    /// Writes a reference to a memo entry.
    fn recall(&mut self, entry: u32) {
        if let Ok(entry) = u8::try_from(entry) {
            self.op(Opcode::BinGet);
            self.out.push(entry);
        } else {
            self.op(Opcode::LongBinGet);
            self.out.extend(entry.to_le_bytes());
        }
    }
}

/// Returns the steps of a map. A counter is made of a dict, as Python does it.
fn map_steps<'a>(kind: MapKind, map: Option<&Map>) -> Vec<Step<'a>> {
    let entries = map.map_or(&[][..], |map| &map.entries);
    let mut fill = Vec::new();
    if !entries.is_empty() {
        fill.push(Step::Op(Opcode::Mark));
        fill.extend(entries.iter().flat_map(|&(key, value)| [Step::Value(key), Step::Value(value)]));
        fill.push(Step::Op(Opcode::SetItems));
    }
    let mut dict = vec![Step::Op(Opcode::EmptyDict)];
    let mut steps = match kind {
        MapKind::Dict => {
            dict.extend(fill);
            dict
        }
        MapKind::Counter => {
            dict.extend(fill);
            call("collections.Counter", dict)
        }
        MapKind::OrderedDict => {
            let mut steps = empty_ordered_dict();
            steps.extend(fill);
            steps
        }
    };
    if let Some(attributes) = map.and_then(|map| map.attributes) {
        steps.extend([Step::Value(attributes), Step::Op(Opcode::Build)]);
    }
    steps
}

/// Returns the steps of an empty ordered map.
pub(super) fn empty_ordered_dict<'a>() -> Vec<Step<'a>> {
    let name = Step::Global("collections.OrderedDict".into());
    vec![name, Step::Op(Opcode::EmptyTuple), Step::Op(Opcode::Reduce)]
}
