//! The opcodes that only make a value.

use super::fault::Step;
use super::machine::{Machine, boxed, pairs};
use super::opcode::Opcode;
use super::scalar;
use crate::tensor::{MapKind, Node};

impl Machine<'_> {
    /// Builds the value of an opcode that only makes one.
    pub(super) fn value(&mut self, opcode: Opcode) -> Step<Node> {
        Ok(match opcode {
            Opcode::BinInt => Node::Int(i32::from_le_bytes(self.fixed("an integer")?).into()),
            Opcode::BinInt1 => Node::Int(u8::from_le_bytes(self.fixed("an integer")?).into()),
            Opcode::BinInt2 => Node::Int(u16::from_le_bytes(self.fixed("an integer")?).into()),
            Opcode::BinFloat => Node::Float(f64::from_be_bytes(self.fixed("a float")?)),
            Opcode::Int => scalar::int_or_bool(self.line()?)?,
            Opcode::Long => scalar::decimal(self.line()?)?,
            Opcode::Float => scalar::float(self.line()?)?,
            Opcode::Unicode => scalar::raw_unicode_escape(self.raw_line()?)?,
            Opcode::String => {
                let bytes = scalar::quoted(self.raw_line()?)?;
                self.old_string(&bytes)
            }
            Opcode::EmptyList => Node::List(Vec::new()),
            Opcode::EmptyDict => Node::Map(MapKind::Dict, None),
            Opcode::EmptySet => Node::Set(Vec::new()),
            Opcode::List => Node::List(self.pop_mark()?),
            Opcode::Tuple => Node::Tuple(self.pop_mark()?),
            Opcode::FrozenSet => Node::FrozenSet(self.pop_mark()?),
            Opcode::Tuple1 => Node::Tuple(self.pop_many(1)?),
            Opcode::Tuple2 => Node::Tuple(self.pop_many(2)?),
            Opcode::Tuple3 => Node::Tuple(self.pop_many(3)?),
            Opcode::Dict => {
                let items = self.pop_mark()?;
                let entries = pairs(&items)?;
                Node::Map(MapKind::Dict, boxed(entries))
            }
            _ => self.counted_value(opcode)?,
        })
    }

    /// Builds the value of an opcode that is followed by a length and as many bytes.
    fn counted_value(&mut self, opcode: Opcode) -> Step<Node> {
        let width = match opcode {
            Opcode::Long1 | Opcode::ShortBinString | Opcode::ShortBinUnicode | Opcode::ShortBinBytes => 1,
            Opcode::Long4 | Opcode::BinString | Opcode::BinUnicode | Opcode::BinBytes => 4,
            _ => 8,
        };
        let mut length = [0; 8];
        for (slot, byte) in length.iter_mut().zip(self.take(width, "a length")?) {
            *slot = *byte;
        }
        let length = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
        let bytes = self.take(length, "a value shorter than its length says")?;
        Ok(match opcode {
            Opcode::Long1 | Opcode::Long4 => Node::integer(bytes),
            Opcode::BinUnicode | Opcode::ShortBinUnicode | Opcode::BinUnicode8 => scalar::utf8(bytes)?,
            Opcode::ShortBinString | Opcode::BinString => self.old_string(bytes),
            Opcode::ByteArray8 => Node::ByteArray(bytes.into()),
            _ => Node::Bytes(bytes.into()),
        })
    }

    /// Python 2's strings: text where they are UTF-8, else bytes, which PyTorch can't decode.
    fn old_string(&mut self, bytes: &[u8]) -> Node {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return Node::Text(text.into());
        }
        self.note_beyond(|| "a byte string that is no UTF-8".to_owned());
        Node::Bytes(bytes.into())
    }
}
