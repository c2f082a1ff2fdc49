//! Training loops in `tch`, through the public interface, and against the real PyTorch.
#![expect(clippy::disallowed_methods, reason = "tests make and damage files of their own")]
