//! What is left of a damaged checkpoint.
//!
//! The structure is read as far as it can be (`remains`), from the header of a file that was cut too
//! (`cut`). What its data is worth is judged storage by storage (`judge`); tensors that are intact are
//! saved as any state is (`run`).

mod cut;
mod judge;
mod options;
mod remains;
mod run;

pub use options::SalvageOptions;
pub use run::salvage;
