//! What holds for a pipeline as a whole.
