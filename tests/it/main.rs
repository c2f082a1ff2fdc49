//! What holds for the project as a whole, through its public interface and its source.
//!
//! The modules are `cfg(test)` so that the lints know them for tests.
#![expect(clippy::disallowed_methods, reason = "tests make and damage files of their own")]

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod background;
#[cfg(test)]
#[cfg(feature = "cli")]
mod cli;
#[cfg(test)]
mod codes;
#[cfg(test)]
mod convert;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod dcp;
#[cfg(test)]
mod diff;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod dump;
#[cfg(test)]
mod exhaustive;
#[cfg(test)]
mod features;
#[cfg(test)]
mod floors;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod levels;
#[cfg(test)]
mod load;
#[cfg(test)]
mod managed;
#[cfg(test)]
mod manager;
#[cfg(test)]
mod merge;
#[cfg(test)]
mod pickled;
#[cfg(test)]
mod pipeline;
#[cfg(test)]
mod proven;
#[cfg(test)]
mod provided;
#[cfg(test)]
#[cfg(feature = "cli")]
mod readme;
#[cfg(test)]
mod salvage;
#[cfg(test)]
mod saved;
#[cfg(test)]
#[cfg(unix)]
mod signals;
