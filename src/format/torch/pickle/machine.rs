//! The stack machine: opcodes in, nodes out.

use std::collections::{BTreeSet, HashMap};

use super::budget::Budget;
use super::fault::{Fault, FaultKind, Step, Wrong, invalid, plain, truncated, unsupported};
use super::globals::{self, Known};
use super::key;
use super::opcode::Opcode;
use crate::format::cursor::Cursor;
use crate::format::torch::ReadOptions;
use crate::tensor::{Map, Node, NodeId, Object, Storage, StorageId, Tree};

/// A pickle that was read.
#[derive(Debug)]
pub struct Pickle {
    /// The values.
    pub tree: Tree,
    /// How many bytes the pickle has, up to and with its `STOP`.
    pub bytes: u64,
    /// Globals outside the list, by full name.
    pub unknown_globals: Vec<String>,
    /// Globals outside the list that the options accepted.
    pub allowed_globals: Vec<String>,
    /// The first thing that PyTorch's own safe reader would refuse.
    pub beyond_torch: Option<String>,
}

/// Reads the pickle at the beginning of `bytes`. Executes nothing.
///
/// ```
/// use ckpt::format::torch::{ReadOptions, pickle::read};
/// let pickle = read(b"\x80\x02}X\x01\0\0\0aK\x05s.", &ReadOptions::default())?;
/// assert!(pickle.tree.is_map());
/// # Ok::<(), ckpt::format::torch::pickle::Fault>(())
/// ```
///
/// # Errors
///
/// The bytes are no pickle, or one that exceeds a limit; see [`Fault`].
pub fn read(bytes: &[u8], options: &ReadOptions) -> Result<Pickle, Fault> {
    let mut machine = Machine::new(bytes, options);
    match machine.run() {
        Ok(root) => Ok(Pickle {
            bytes: machine.cursor.position() as u64,
            tree: Tree::new(machine.nodes, machine.storages, root),
            unknown_globals: machine.unknown.into_iter().collect(),
            allowed_globals: machine.accepted.into_iter().collect(),
            beyond_torch: machine.beyond,
        }),
        Err(Wrong(kind, message)) => {
            let unknown_globals = machine.unknown.into_iter().collect();
            Err(Fault { kind, message: plain(&message), offset: machine.at as u64, unknown_globals })
        }
    }
}

/// Nodes that every tree has: shared, so that small values cost nothing.
const NONE: NodeId = NodeId(0);
/// The node of `True`.
const TRUE: NodeId = NodeId(1);
/// The node of `False`.
const FALSE: NodeId = NodeId(2);
/// The node of `()`.
pub(super) const EMPTY_TUPLE: NodeId = NodeId(3);

/// The state of the stack machine.
///
/// Values live in `nodes`; stack, marks and memo hold their numbers. So `DUP` and the memo cost four bytes,
/// whatever they repeat, and nothing here recurses.
pub(super) struct Machine<'a> {
    /// The bytes, and how far they were read.
    pub(super) cursor: Cursor<'a>,
    /// Where the opcode at work begins.
    at: usize,
    options: &'a ReadOptions,
    /// All values, in the order in which they were made.
    pub(super) nodes: Vec<Node>,
    /// All storages, in the order of their first use.
    pub(super) storages: Vec<Storage>,
    /// By key; for a view, by the storage that it is a part of as well.
    pub(super) storage_ids: HashMap<(Option<StorageId>, String), StorageId>,
    /// What may still be copied.
    pub(super) budget: Budget,
    /// The stack, marks left out.
    stack: Vec<NodeId>,
    /// How high the stack was at each `MARK` that nothing has taken yet.
    marks: Vec<usize>,
    /// The memo. A map and no list: an index is four bytes of the file's choice.
    memo: HashMap<u32, NodeId>,
    /// The names outside the list, each once.
    unknown: BTreeSet<String>,
    /// Those of them that the options accept.
    accepted: BTreeSet<String>,
    /// The first thing that PyTorch's safe reader would refuse.
    beyond: Option<String>,
}

impl<'a> Machine<'a> {
    /// A machine before its first opcode.
    fn new(bytes: &'a [u8], options: &'a ReadOptions) -> Self {
        Self {
            cursor: Cursor::new(bytes),
            at: 0,
            options,
            nodes: vec![Node::None, Node::Bool(true), Node::Bool(false), Node::Tuple(Vec::new())],
            storages: Vec::new(),
            storage_ids: HashMap::new(),
            budget: Budget::for_bytes(bytes.len()),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            unknown: BTreeSet::new(),
            accepted: BTreeSet::new(),
            beyond: None,
        }
    }

    /// Runs up to `STOP`, and returns the value on top of the stack. What lies below it is dropped, as Python
    /// does.
    fn run(&mut self) -> Step<NodeId> {
        loop {
            self.at = self.cursor.position();
            let byte = self.cursor.u8().ok_or_else(|| truncated("its opcodes, without a STOP"))?;
            let Some(opcode) = Opcode::from_byte(byte) else {
                return invalid(format!("byte {byte:#04x} is no pickle opcode"));
            };
            if !opcode.in_torch() {
                self.note_beyond(|| format!("the opcode {} of another pickle protocol", opcode.name()));
            }
            if opcode == Opcode::Stop {
                let root = self.pop()?;
                key::settle(&mut self.nodes, self.cursor.position())?;
                return Ok(root);
            }
            self.step(opcode)?;
        }
    }

    /// Does what one opcode says.
    fn step(&mut self, opcode: Opcode) -> Step {
        match opcode {
            Opcode::Mark => {
                if !(self.options.packed_floats && self.pack_floats()?) {
                    self.marks.push(self.stack.len());
                }
            }
            Opcode::Pop => self.pop_or_unmark()?,
            Opcode::PopMark => drop(self.pop_mark()?),
            Opcode::Dup => {
                let top = self.top()?;
                self.stack.push(top);
            }
            Opcode::Proto => self.protocol()?,
            Opcode::Frame => self.frame()?,
            Opcode::Stop => {}
            Opcode::None => self.stack.push(NONE),
            Opcode::NewTrue => self.stack.push(TRUE),
            Opcode::NewFalse => self.stack.push(FALSE),
            Opcode::EmptyTuple => self.stack.push(EMPTY_TUPLE),
            Opcode::Get | Opcode::BinGet | Opcode::LongBinGet => self.get(opcode)?,
            Opcode::Put | Opcode::BinPut | Opcode::LongBinPut | Opcode::Memoize => self.put(opcode)?,
            Opcode::Append | Opcode::Appends | Opcode::AddItems | Opcode::SetItem | Opcode::SetItems => {
                self.fill(opcode)?;
            }
            Opcode::Global
            | Opcode::StackGlobal
            | Opcode::Inst
            | Opcode::Obj
            | Opcode::Reduce
            | Opcode::NewObj
            | Opcode::NewObjEx
            | Opcode::Build => self.object(opcode)?,
            Opcode::BinPersId => {
                let id = self.pop()?;
                self.persistent(id)?;
            }
            Opcode::PersId => {
                // PyTorch itself writes this on request, and can't read it again.
                return if self.raw_line()?.starts_with(b"('storage'") {
                    unsupported("a tensor's storage is given as text: pickle protocol 0 can't hold tensors")
                } else {
                    invalid("a persistent id is text: no checkpoint has such")
                };
            }
            Opcode::Ext1 | Opcode::Ext2 | Opcode::Ext4 => {
                return unsupported("a class is given by a code that only the writing program knows");
            }
            Opcode::NextBuffer | Opcode::ReadonlyBuffer => {
                return unsupported(
                    "data was to be handed over outside of the pickle, and isn't in the file",
                );
            }
            _ => {
                let node = self.value(opcode)?;
                self.push(node)?;
            }
        }
        Ok(())
    }

    /// The protocol's number decides nothing: PyTorch passes over any, and the opcodes speak for
    /// themselves.
    fn protocol(&mut self) -> Step {
        self.take(1, "the protocol").map(drop)
    }

    /// A frame is a hint at how much to read at once; it can't be longer than what is there.
    fn frame(&mut self) -> Step {
        let length = u64::from_le_bytes(self.fixed("a frame's length")?);
        if length > self.cursor.rest().len() as u64 {
            return Err(truncated("a frame"));
        }
        Ok(())
    }

    /// Pushes what the memo holds.
    fn get(&mut self, opcode: Opcode) -> Step {
        let index = self.memo_index(opcode)?;
        let Some(&id) = self.memo.get(&index) else {
            return invalid(format!("memo entry {index} was never written"));
        };
        self.stack.push(id);
        Ok(())
    }

    /// Writes the top of the stack into the memo, and leaves it where it is.
    fn put(&mut self, opcode: Opcode) -> Step {
        let index = self.memo_index(opcode)?;
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    /// Reads the index of a memo entry; `MEMOIZE` takes the next one, as Python counts.
    fn memo_index(&mut self, opcode: Opcode) -> Step<u32> {
        match opcode {
            Opcode::BinGet | Opcode::BinPut => Ok(u8::from_le_bytes(self.fixed("a memo index")?).into()),
            Opcode::LongBinGet | Opcode::LongBinPut => Ok(u32::from_le_bytes(self.fixed("a memo index")?)),
            Opcode::Memoize => Ok(u32::try_from(self.memo.len()).unwrap_or(u32::MAX)),
            _ => match self.line()?.parse() {
                Ok(index) => Ok(index),
                Err(_) => invalid("a memo index is malformed"),
            },
        }
    }

    /// Puts values into the container below them.
    fn fill(&mut self, opcode: Opcode) -> Step {
        let values = match opcode {
            Opcode::Append => self.pop_many(1)?,
            Opcode::SetItem => self.pop_many(2)?,
            _ => self.pop_mark()?,
        };
        let target = self.top()?;
        self.unpack_floats(target)?;
        let entries = match opcode {
            Opcode::SetItem | Opcode::SetItems => pairs(&values)?,
            _ => Vec::new(),
        };
        let Some(node) = self.nodes.get_mut(target.0 as usize) else { return invalid("no container") };
        match (opcode, node) {
            (Opcode::Append | Opcode::Appends, Node::List(items)) | (Opcode::AddItems, Node::Set(items)) => {
                items.extend(values);
            }
            (Opcode::SetItem | Opcode::SetItems, Node::Map(_, map)) => {
                if !entries.is_empty() {
                    map.get_or_insert_default().entries.extend(entries);
                }
            }
            (Opcode::SetItem | Opcode::SetItems, Node::Object(object)) => object.entries.extend(entries),
            (_, Node::Object(object)) => object.items.extend(values),
            (_, other) => {
                let message = format!("{} on a value of type {}", opcode.name(), other.type_name());
                return invalid(message);
            }
        }
        Ok(())
    }

    /// The opcodes that name a class, call one, or give a value its state.
    fn object(&mut self, opcode: Opcode) -> Step {
        match opcode {
            Opcode::Global => {
                let module = self.line()?;
                let name = self.line()?;
                self.push_global(globals::full_name(module, name))
            }
            Opcode::StackGlobal => {
                let parts = self.pop_many(2)?;
                let name = match parts.as_slice() {
                    &[module, name] => globals::full_name(self.text(module)?, self.text(name)?),
                    _ => return invalid("a global without a name"),
                };
                self.push_global(name)
            }
            Opcode::Inst => {
                let name = globals::full_name(self.line()?, self.line()?);
                let arguments = self.pop_mark()?;
                self.push_global(name)?;
                let callee = self.pop()?;
                self.call_and_push(callee, arguments)
            }
            Opcode::Obj => {
                let mut arguments = self.pop_mark()?;
                if arguments.is_empty() {
                    return invalid("an object without a class");
                }
                let callee = arguments.remove(0);
                self.call_and_push(callee, arguments)
            }
            Opcode::Build => {
                let state = self.pop()?;
                let target = self.top()?;
                self.build(target, state)
            }
            _ => self.reduce(opcode),
        }
    }

    /// `REDUCE` and `NEWOBJ` differ in what Python calls; here both name what to build.
    fn reduce(&mut self, opcode: Opcode) -> Step {
        if opcode == Opcode::NewObjEx {
            let keywords = self.pop()?;
            if !matches!(self.node(keywords), Node::Map(_, None)) && self.unknown.is_empty() {
                return invalid("keyword arguments: no known class takes such");
            }
        }
        let arguments = self.pop()?;
        let callee = self.pop()?;
        let Node::Tuple(items) = self.node(arguments) else {
            return invalid("arguments that are no tuple");
        };
        let items = items.clone();
        self.budget.charge(items.len())?;
        self.call_and_push(callee, items)
    }

    /// Calls a global. Nothing is executed: a known name builds what its call would return, and any other
    /// becomes data that says what would have been called, with what.
    fn call_and_push(&mut self, callee: NodeId, arguments: Vec<NodeId>) -> Step {
        arguments.iter().try_for_each(|argument| self.unpack_floats(*argument))?;
        let opaque = !self.unknown.is_empty() || !self.accepted.is_empty();
        let built = match self.node(callee) {
            Node::Global(name) => match globals::lookup(name) {
                Some(known) => self.call(known, &arguments, 0),
                None => self.opaque(callee, arguments.clone()),
            },
            other => invalid(format!("a call of a value of type {}", other.type_name())),
        };
        let id = match built {
            // What is built from unknown parts is unknown itself, and no fault of the file.
            Err(Wrong(FaultKind::Invalid, _)) if opaque => self.opaque(callee, arguments)?,
            other => other?,
        };
        self.stack.push(id);
        Ok(())
    }

    /// A value that only the named class could make: its name and what it would be called with.
    fn opaque(&mut self, callee: NodeId, arguments: Vec<NodeId>) -> Step<NodeId> {
        let global: Box<str> = self.node(callee).type_name().into();
        self.budget.charge(global.len())?;
        let arguments = self.add(Node::Tuple(arguments))?;
        self.add(Node::Object(Box::new(Object {
            global,
            arguments,
            state: None,
            items: Vec::new(),
            entries: Vec::new(),
        })))
    }

    /// Pushes a global, and notes it where it isn't on the list: the name alone is enough, called or not,
    /// since Python imports its module when it meets it.
    fn push_global(&mut self, name: String) -> Step {
        // `STACK_GLOBAL` takes its two strings from wherever they are: one byte copies both.
        self.budget.charge(name.len())?;
        if let Some(known) = globals::lookup(&name) {
            if !known.in_torch() {
                self.note_beyond(|| format!("the global '{name}'"));
            }
            let node = match known {
                Known::Dtype(dtype) => Node::Dtype(dtype),
                Known::QScheme => Node::QScheme(name.trim_start_matches("torch.").into()),
                _ => Node::Global(name.into()),
            };
            self.push(node)
        } else {
            if self.options.allowed_globals.contains(&name) {
                self.accepted.insert(name.clone());
            } else {
                self.unknown.insert(name.clone());
            }
            self.push(Node::Global(name.into()))
        }
    }

    /// Notes the first thing that PyTorch's safe reader would refuse.
    pub(super) fn note_beyond(&mut self, what: impl FnOnce() -> String) {
        if self.beyond.is_none() {
            self.beyond = Some(what());
        }
    }

    // The stack and the arena.

    /// Returns a value.
    pub(super) fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(id.0 as usize).unwrap_or(&Node::None)
    }

    /// Takes a value for a string.
    pub(super) fn text(&self, id: NodeId) -> Step<&str> {
        match self.node(id) {
            Node::Text(text) => Ok(text),
            other => invalid(format!("a string is needed, not a value of type {}", other.type_name())),
        }
    }

    /// Adds a value, and gives it its number.
    pub(super) fn add(&mut self, node: Node) -> Step<NodeId> {
        self.budget.check_nodes(self.nodes.len() + 1)?;
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(node);
        Ok(id)
    }

    /// Adds a value, and pushes it.
    fn push(&mut self, node: Node) -> Step {
        let id = self.add(node)?;
        self.stack.push(id);
        Ok(())
    }

    /// Pushes a value that there is already.
    pub(super) fn push_id(&mut self, id: NodeId) {
        self.stack.push(id);
    }

    /// What lies above the last mark is all that an opcode may take.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    /// Returns the top of the stack.
    pub(super) fn top(&self) -> Step<NodeId> {
        match self.stack.last() {
            Some(&id) if self.stack.len() > self.floor() => Ok(id),
            _ => invalid("an opcode finds the stack empty"),
        }
    }

    /// Takes the top of the stack.
    fn pop(&mut self) -> Step<NodeId> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// Takes the `count` topmost values, the lowest one first.
    pub(super) fn pop_many(&mut self, count: usize) -> Step<Vec<NodeId>> {
        match self.stack.len().checked_sub(count) {
            Some(start) if start >= self.floor() => Ok(self.stack.split_off(start)),
            _ => invalid("an opcode finds too few values on the stack"),
        }
    }

    /// Takes what lies above the last mark, and the mark.
    pub(super) fn pop_mark(&mut self) -> Step<Vec<NodeId>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => invalid("an opcode finds no mark on the stack"),
        }
    }

    /// `POP` takes a mark where it lies on top.
    fn pop_or_unmark(&mut self) -> Step {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }
}

/// Pairs up keys and values; an odd one out is a fault, not a value that is lost.
pub(super) fn pairs(items: &[NodeId]) -> Step<Vec<(NodeId, NodeId)>> {
    let (pairs, rest) = items.as_chunks::<2>();
    if !rest.is_empty() {
        return invalid("a key without a value");
    }
    Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
}

/// The content of a map: none where it is empty, so that an empty map costs no allocation.
pub(super) fn boxed(entries: Vec<(NodeId, NodeId)>) -> Option<Box<Map>> {
    if entries.is_empty() { None } else { Some(Box::new(Map { entries, attributes: None })) }
}
