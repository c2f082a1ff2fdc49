//! What a safetensors file can't hold by itself: nesting, plain values, keys that are no text, tensors that
//! share a storage.
//!
//! It is a JSON text, in the header's metadata under `ckpt.structure`. A file has it unless its tensors,
//! each with a storage of its own, in the order of the file, are all there is. Version 1 is an object of
//! three fields, in this order:
//!
//! | field | content |
//! |---|---|
//! | `version` | 1 |
//! | `storages` | a list; a storage's place in it is its number |
//! | `nodes` | a list of values; a value's place in it is its number, and the last one is the root |
//!
//! A value refers only to values before it, and a storage to storages before it: so there are no cycles,
//! sharing costs nothing, and reading needs no recursion. Byte strings are base64 with padding. A **bits**
//! is a float as 16 hexadecimal digits, since JSON has neither NaN, nor infinities, nor a float's exact bits.
//!
//! A storage is an object; what isn't there has the value in the last column:
//!
//! | field | content | where it is absent |
//! |---|---|---|
//! | `tensor` | the header's tensor whose bytes are the storage's | it is a part, or has no bytes (meta) |
//! | `part_of` | the number of another storage, and the offset in it in bytes | it is no part |
//! | `bytes` | the length in bytes | that of the tensor |
//! | `dtype` | the type of its elements, by the project's short name | that of the tensor |
//! | `untyped` | whether its elements have no type | `false` |
//! | `device` | the device that it was on | `cpu` |
//!
//! A value is `null`, a truth value, an integer of 64 bits, a string, or an object of one field:
//!
//! | field | content |
//! |---|---|
//! | `integer` | a larger integer: two's complement, little-endian, base64 |
//! | `float` | bits |
//! | `complex` | two bits: real part, imaginary part |
//! | `surrogates` | a string with lone surrogates: generalised UTF-8, base64 |
//! | `bytes`, `bytearray` | base64 |
//! | `list`, `tuple`, `set`, `frozenset` | a list of values |
//! | `dict`, `ordered_dict`, `counter` | `entries`: a list of pairs, key and value; `attributes`: a dict, if any |
//! | `size` | a list of integers |
//! | `device`, `layout`, `qscheme`, `array_dtype`, `global` | a name |
//! | `dtype` | a dtype's short name |
//! | `storage` | a storage |
//! | `tensor` | see below |
//! | `array` | NumPy's: `dtype`, `shape`, `fortran`, `scalar`, and `bytes` or `values`: a value |
//! | `object` | `global`, `arguments`, `state` if any, `items`, `entries`: data that describe an object |
//!
//! A tensor has at most one of `storage`, `sparse`, `nested` and `converted`; one without is a tensor without
//! data. `dtype` and `shape` may be left out once for each storage: they are those of the header's tensor.
//!
//! | field | content |
//! |---|---|
//! | `dtype`, `shape` | the type by its short name; the lengths |
//! | `requires_grad`, `parameter`, `conjugated`, `negated` | truth values; `false` where absent |
//! | `attributes` | the instance's attributes, a dict |
//! | `storage` | the storage that it is a view of |
//! | `offset`, `strides` | in elements; where absent, 0 and those of a row-major tensor without gaps |
//! | `quantizer` | a tuple of parameters |
//! | `sparse` | `layout`, `parts` (pairs of a name and a tensor), `coalesced` where that is known |
//! | `nested` | four tensors: buffer, sizes, strides, offsets |
//! | `converted` | an array or tensor that is to be converted |
//!
//! The header's dtype and shape are the nearest that safetensors has: a tensor of `c128` stands there as
//! `F64` with one more dimension, of 2; a quantized one as its integers. Bytes that belong to several
//! tensors, of which none covers them, are a `U8` tensor whose name begins with `ckpt.storage.`.
//!
//! Names in the file aren't a part of the values: a storage that is read has the header's name as its key.

mod check;
mod contents;
mod fault;
mod flat;
mod keys;
mod parse;
mod read;
#[cfg(test)]
mod tests;
mod text;
mod wire;

pub use contents::Contents;
pub use read::read;

pub(super) use check::check_tensor;
pub(super) use flat::{flat, row_major};
pub(super) use text::text;

/// The metadata's key.
pub const STRUCTURE_KEY: &str = "ckpt.structure";

/// The version that is written, and the only one that is read.
const VERSION: u64 = 1;

/// How deep values may refer to one another, over all kinds of references: a walk stops at 1,000 containers,
/// and a tensor's parts lie some levels below.
pub(super) const MAX_DEPTH: usize = 1_100;
