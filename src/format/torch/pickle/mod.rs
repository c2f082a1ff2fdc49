//! A restricted reader of pickles, and a writer of what PyTorch's own restricted reader takes. Neither
//! executes anything.
//!
//! Source: `CPython`'s `Lib/pickletools.py` for the opcodes of protocols 0 to 5, and PyTorch 2.13's
//! `torch/_weights_only_unpickler.py` for what its own safe reader accepts.
//!
//! A pickle is a program for a stack machine that builds values and calls functions by name. Here a
//! call of a known name builds the value that the function would return (`call`, `rebuild`,
//! `numpy`); any other name becomes data that says what would have been called, and a reader of the
//! result is told that the pickle [needs trust](crate::Code::NeedsTrust).
//!
//! What a hostile pickle can cost is bounded: values live in one arena and are shared by number; every
//! opcode takes at least one byte and makes at most one node; whatever copies is charged to a budget
//! (`budget`).

mod budget;
mod build;
mod call;
mod fault;
mod floats;
mod globals;
mod input;
mod key;
mod machine;
mod numpy;
mod opcode;
mod rebuild;
mod scalar;
#[cfg(test)]
mod tests;
mod value;
pub(crate) mod write;

pub use fault::{Fault, FaultKind};
pub use machine::{Pickle, read};
