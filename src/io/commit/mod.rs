//! How a file comes to its name: all of it or nothing, whatever happens meanwhile.
//!
//! A file is written beside its destination under a name that nobody can guess ([`Temporary`]), locked by
//! who writes it. When all bytes are on the disk it takes the destination's name in one step, and then the
//! directory is synced. Until that step the old file is as it was; an error removes the temporary one.
//!
//! What a killed process leaves behind has a free lock: [`clean()`] removes it.

mod clean;
mod disk;
mod failure;
mod local;
mod small;
mod temporary;

pub use clean::{clean, clean_beside, is_temporary};
pub use disk::{Disk, DiskFile, Existing, Stat};
pub use local::{LocalDisk, LocalFile};
pub use small::{remove_durably, write_small};
pub use temporary::{Durability, Temporary};
