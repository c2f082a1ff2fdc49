//! Tensors, and the values around them, as data.
