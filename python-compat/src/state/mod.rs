//! Python's values as a state, and back.
//!
//! `take` walks what is to be saved, `give` builds what was loaded; `torch` has the few things of PyTorch that both
//! need. What neither knows (sparse and quantized tensors, objects) the package hands to PyTorch's own serializer.

pub(crate) mod give;
pub(crate) mod take;
pub(crate) mod torch;
