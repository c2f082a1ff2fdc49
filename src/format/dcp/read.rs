//! Taking objects and fields from the pickle's tree, each held to the type that it must have.

use super::Metadata;
use super::describe::describe;
use super::names::ALLOWED;
use crate::format::torch::{ReadOptions, read_description};
use crate::record::{Code, Finding, Level, quoted};
use crate::tensor::{Node, NodeId, Tree};

/// What may be copied from the tree in any case, in bytes and lengths.
const FREE_COPIES: usize = 1 << 20;
/// What may be copied for each byte of the file: a pickle can name one long list of chunks in a million tensors.
const COPIES_PER_BYTE: usize = 8;
/// No class here has more fields; looking one up passes over those before it.
const MAX_FIELDS: usize = 16;

/// Reads a metadata file. Executes nothing.
///
/// # Errors
///
/// The finding for bytes that are damaged, that ask for a name which is none of the list (or of the options'), that
/// describe no checkpoint, or a file outside of the directory.
///
/// ```
/// use ckpt::format::dcp::read_metadata;
/// use ckpt::format::torch::ReadOptions;
/// let finding = read_metadata(b"\x80\x04N.", &ReadOptions::default()).unwrap_err();
/// assert!(finding.message.contains("Metadata"));
/// ```
pub fn read_metadata(bytes: &[u8], options: &ReadOptions) -> Result<Metadata, Box<Finding>> {
    let tree = read_description(bytes, ALLOWED, options)
        .map_err(|finding| Box::new(Finding { level: Level::Size, ..*finding }))?;
    let budget = bytes.len().saturating_mul(COPIES_PER_BYTE).saturating_add(FREE_COPIES);
    describe(&mut Reader { tree: &tree, budget })
}

/// The finding for a pickle that can be read and describes no checkpoint. No checksum covers it, so that damage is
/// the likelier cause.
pub(super) fn malformed(message: impl Into<String>) -> Box<Finding> {
    Box::new(Finding::corrupted(Code::IndexMalformed, Level::Size, message))
}

/// What is read of a field.
pub(super) type Taken<T> = Result<T, Box<Finding>>;

/// A tree on its way to a description.
pub(super) struct Reader<'a> {
    pub(super) tree: &'a Tree,
    /// What may still be copied.
    budget: usize,
}

impl<'a> Reader<'a> {
    /// Takes a value for an object of a class, and returns what it was given as its state.
    pub(super) fn object(&self, id: NodeId, class: &str) -> Taken<Option<NodeId>> {
        match self.tree.node(id) {
            Node::Object(object) if *object.global == *class => Ok(object.state),
            other => {
                let class = class.rsplit('.').next().unwrap_or(class);
                Err(malformed(format!(
                    "the metadata has a value of type {} where a {class} must be",
                    quoted(other.type_name())
                )))
            }
        }
    }

    /// Takes a field of an object with fields; none where it isn't there or is `None`.
    pub(super) fn optional(&self, state: Option<NodeId>, name: &str) -> Taken<Option<NodeId>> {
        let Some(state) = state else { return Ok(None) };
        match self.tree.node(state) {
            Node::Map(_, None) => Ok(None),
            Node::Map(_, Some(map)) if map.entries.len() <= MAX_FIELDS => {
                let field = self.tree.get(state, name);
                Ok(field.filter(|&field| self.tree.node(field) != &Node::None))
            }
            _ => Err(malformed("an object of the metadata has no fields, or too many")),
        }
    }

    /// Takes a field that must be there.
    pub(super) fn field(&self, state: Option<NodeId>, name: &str) -> Taken<NodeId> {
        self.optional(state, name)?
            .ok_or_else(|| malformed(format!("a field '{name}' of the metadata is missing")))
    }

    /// Takes a value for a map.
    pub(super) fn entries(&self, id: NodeId, what: &str) -> Taken<&'a [(NodeId, NodeId)]> {
        match self.tree.node(id) {
            Node::Map(_, None) => Ok(&[]),
            Node::Map(_, Some(map)) => Ok(&map.entries),
            _ => Err(malformed(format!("{what} of the metadata is no map"))),
        }
    }

    /// Takes a value for a list.
    pub(super) fn items(&self, id: NodeId, what: &str) -> Taken<&'a [NodeId]> {
        match self.tree.node(id) {
            Node::List(items) | Node::Tuple(items) => Ok(items),
            _ => Err(malformed(format!("{what} of the metadata is no list"))),
        }
    }

    /// Takes a value for a text, without a copy.
    pub(super) fn text(&self, id: NodeId, what: &str) -> Taken<&'a str> {
        match self.tree.node(id) {
            Node::Text(text) => Ok(text),
            _ => Err(malformed(format!("{what} of the metadata is no text"))),
        }
    }

    /// Takes a value for a length or an offset in bytes.
    pub(super) fn length(&self, id: NodeId, what: &str) -> Taken<u64> {
        match self.tree.node(id) {
            Node::Int(value) => u64::try_from(*value)
                .map_err(|_| malformed(format!("{what} of the metadata is negative: {value}"))),
            _ => Err(malformed(format!("{what} of the metadata is no integer"))),
        }
    }

    /// Takes a value for a shape, which is a `torch.Size`, without a copy.
    pub(super) fn size(&self, id: NodeId, what: &str) -> Taken<&'a [i64]> {
        match self.tree.node(id) {
            Node::Size(lengths) if lengths.iter().all(|length| *length >= 0) => Ok(lengths),
            _ => Err(malformed(format!("{what} of the metadata is no size"))),
        }
    }

    /// Takes the budget for what is copied.
    pub(super) fn charge(&mut self, count: usize) -> Taken<()> {
        let Some(left) = self.budget.checked_sub(count) else {
            let message = "the metadata names the same values too often";
            return Err(Box::new(Finding::incompatible(Code::TooComplex, Level::Size, message)));
        };
        self.budget = left;
        Ok(())
    }
}
