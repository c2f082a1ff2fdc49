//! The directory of a run: what is where, and who may write. `docs/layout.md` has the layout.

mod faults;
mod layout;
mod list;
mod lock;
mod pins;
mod places;

pub use lock::RunLock;
pub use places::Run;
