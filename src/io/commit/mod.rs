//! How a file comes to its name: all of it or nothing, whatever happens meanwhile.

mod disk;
mod local;

pub use disk::{Disk, DiskFile, Existing, Stat};
pub use local::LocalFile;
