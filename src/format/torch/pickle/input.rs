//! Taking arguments from the pickle's bytes.

use super::fault::{Step, invalid, truncated};
use super::machine::Machine;

impl<'a> Machine<'a> {
    /// Takes the next `count` bytes. A length that the file hasn't is found here, before anything is
    /// allocated.
    pub(super) fn take(&mut self, count: usize, what: &str) -> Step<&'a [u8]> {
        self.cursor.take(count).ok_or_else(|| truncated(what))
    }

    /// Takes the next `N` bytes.
    pub(super) fn fixed<const N: usize>(&mut self, what: &str) -> Step<[u8; N]> {
        self.cursor.array().ok_or_else(|| truncated(what))
    }

    /// Takes a line of a text opcode, without its newline.
    pub(super) fn raw_line(&mut self) -> Step<&'a [u8]> {
        self.cursor.line().ok_or_else(|| truncated("a line"))
    }

    /// Takes a line that must be UTF-8: a name, a number.
    pub(super) fn line(&mut self) -> Step<&'a str> {
        match std::str::from_utf8(self.raw_line()?) {
            Ok(line) => Ok(line),
            Err(_) => invalid("a line is no UTF-8"),
        }
    }
}
