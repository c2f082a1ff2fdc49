use std::io;
use std::ops::Range;

use crate::io::ReadAt;

/// Reads a range into memory; a range that isn't wholly there is an error before anything is allocated.
pub(crate) fn read_vec(source: &dyn ReadAt, range: Range<u64>) -> io::Result<Vec<u8>> {
    if range.start > range.end || range.end > source.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let length = usize::try_from(range.end - range.start).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut bytes = vec![0; length];
    source.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes)
}
