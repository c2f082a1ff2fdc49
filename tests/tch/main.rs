//! Training loops in `tch`, through the public interface, and against the real PyTorch.

#[cfg(test)]
mod files;
#[cfg(test)]
mod python;
#[cfg(test)]
mod random;
