//! How a file comes to its name: all of it or nothing, whatever happens meanwhile.

mod disk;

pub use disk::{Disk, DiskFile, Existing, Stat};
