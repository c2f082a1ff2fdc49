//! Python's values as a state, and back.
//!
//! `take` walks what is to be saved, `give` builds what was loaded; `torch` and `numpy` have the few things that both
//! need of either; `rows` takes one tensor or array by itself. What neither knows (sparse and quantized tensors, objects)
//! the package hands to PyTorch's own serializer.

pub(crate) mod give;
mod numpy;
pub(crate) mod rows;
pub(crate) mod take;
pub(crate) mod torch;
