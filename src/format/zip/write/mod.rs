//! The writer's side of ZIP: where a record goes, and the bytes around its data.
//!
//! Source: PKWARE's APPNOTE.TXT 6.3.10. Everything is stored as it is. A local header carries the real
//! checksum and sizes, so that no descriptor follows the data and every copy of a fact agrees with the
//! others. ZIP64 fields are there only where a value needs them. All else is constant: the same records
//! give the same bytes.
//!
//! Where data begins is chosen by padding the header's extra area. The padding's id isn't PyTorch's own:
//! an archive that has that one is held to PyTorch's exact layout.

mod bytes;
mod end;
mod record;

pub(crate) use end::directory;
pub(crate) use record::{Record, SMALL_BYTES};

#[cfg(test)]
mod tests;
