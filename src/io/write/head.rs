use super::compose::Composer;
use super::engine::write_runs;
use super::layout::{Granule, Layout};
use super::{Piece, WriteError};
use crate::io::commit::DiskFile;

/// Writes the head: what lies in the gaps of pieces that have been written already.
///
/// Direct I/O writes aligned blocks only. So each block that a piece of the head touches is put together
/// anew, the data in it copied from its source again, and blocks near each other become one write. Without
/// direct I/O, nothing but the head is written. Both lists are sorted.
///
/// # Errors
///
/// See [`WriteError`]. A head that overlaps the pieces is [`std::io::ErrorKind::InvalidInput`], and nothing is
/// written.
pub fn write_head(file: &dyn DiskFile, pieces: &[Piece<'_>], head: &[Piece<'_>]) -> Result<(), WriteError> {
    let mut all: Vec<_> = pieces.iter().chain(head).copied().collect();
    all.sort_by_key(|piece| piece.offset);
    let all = Layout::new(all)?;
    let head = Layout::new(head.iter().copied())?;
    let mut composer = Composer::new(&all, None);
    for window in head.windows() {
        let granule = Granule::of(file);
        let granule = if granule.is_direct() { granule } else { granule.without_gaps() };
        write_runs(file, head.runs(&window, granule), granule, &mut composer, None)?;
    }
    Ok(())
}
