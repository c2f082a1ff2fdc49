//! How a file comes to its name: all of it or nothing, whatever happens meanwhile.
//!
//! A file is written beside its destination under a name that nobody can guess ([`Temporary`]), locked by
//! who writes it. When all bytes are on the disk it takes the destination's name in one step, and then the
//! directory is synced. Until that step the old file is as it was; an error removes the temporary one.
//!
//! What a killed process leaves behind has a free lock: [`clean()`] removes it.
//!
//! A directory comes to its name in the same way ([`StagedDirectory`]), but that one lock stands for all that
//! are staged at one place: [`clean_staged`] is for who holds it. One that several processes fill has its own ([`SharedDirectory`]).

mod clean;
mod directories;
mod disk;
mod failure;
mod local;
mod lock;
mod set_aside;
mod shared;
mod small;
mod staged;
mod temporary;

pub use clean::{clean, clean_beside, clean_staged, is_temporary};
pub use directories::{create_directories, remove_directory, resolve_directory, sync_tree};
pub use disk::{Disk, DiskFile, DiskLock, Existing, Locked, Stat};
pub use local::{LocalDisk, LocalFile};
pub use lock::take_lock;
pub use set_aside::set_aside;
pub use shared::{SharedDirectory, clean_shared};
pub use small::{remove_durably, write_small};
pub use staged::StagedDirectory;
pub use temporary::{Durability, Temporary};
