//! Training loops in `tch`, through the public interface, and against the real PyTorch.

#[cfg(test)]
mod files;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod optimizers;
#[cfg(test)]
mod python;
#[cfg(test)]
mod random;
#[cfg(test)]
mod snapshot;
