//! Embedding merges: two feature files joined by id, their rows one behind the other.
//!
//! [`merge()`] joins two files, [`merge_all()`] as many pairs as there are, a few at a time, and [`pairs_in()`] finds the pairs
//! of two directories. What they do:
//!
//! 1. **Look** (`note`): an output that is there, verified, and made from these inputs as they are now (`identity`) is
//!    left as it is.
//! 2. **Read** both inputs ([`Table`](super::table::Table)), each byte against its checksum.
//! 3. **Join** (`join`): the ids that both have, in the first one's order.
//! 4. **Save** (`joined`): the output's rows are put together while they are written, so that it is never in memory itself;
//!    committed on its own, as every checkpoint is.
//!
//! `gate` bounds what several pairs have in memory at once.

mod all;
mod gate;
mod identity;
mod join;
mod joined;
mod note;
mod one;
mod options;
mod pairs;

pub use all::merge_all;
pub use one::merge;
pub use options::{MergeOptions, Pair, Unmatched};
pub use pairs::{Pairs, pairs_in};
