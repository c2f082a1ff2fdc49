//! The formats: bytes in, structure and findings out. No room here knows a path.

mod flaw;

pub use flaw::Flaw;
