//! The rows of the output: put together whenever they are read.

use crate::Error;
use crate::features::table::Table;
use crate::tensor::Source;

/// The bytes of the output's tensor: of each row those of the first table, then those of the second.
#[derive(Debug)]
pub(super) struct Joined<'t> {
    a: &'t Table,
    b: &'t Table,
    rows: &'t [(usize, usize)],
    /// The size of a row in bytes.
    row_bytes: usize,
    len: u64,
}

impl<'t> Joined<'t> {
    /// Joins rows that are there. `None` where they are more than there are addresses for.
    pub(super) fn new(a: &'t Table, b: &'t Table, rows: &'t [(usize, usize)]) -> Option<Self> {
        let row_bytes = a.row_bytes().checked_add(b.row_bytes())?;
        let len = (row_bytes as u64).checked_mul(rows.len() as u64)?;
        Some(Self { a, b, rows, row_bytes, len })
    }

    /// Fills `out` with bytes of a row, from `from` on, as far as there is room.
    fn read_part(&self, (a, b): (usize, usize), from: usize, out: &mut [u8]) -> Result<(), Error> {
        let of_a = self.a.row_bytes().saturating_sub(from).min(out.len());
        let (first, second) = out.split_at_mut(of_a);
        if !first.is_empty() {
            self.a.read_part(a, from, first)?;
        }
        if !second.is_empty() {
            self.b.read_part(b, from.saturating_sub(self.a.row_bytes()), second)?;
        }
        Ok(())
    }
}

impl Source for Joined<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.len);
        let row_bytes = self.row_bytes as u64;
        let (Some(_), Some(first)) = (end, offset.checked_div(row_bytes)) else {
            return if buffer.is_empty() { Ok(()) } else { Err(outside(buffer.len(), offset, self.len)) };
        };
        let place = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let (mut from, mut rest) = (place(offset % row_bytes), buffer);
        for row in self.rows.get(place(first)..).unwrap_or_default() {
            if rest.is_empty() {
                break;
            }
            let (part, behind) = rest.split_at_mut((self.row_bytes - from).min(rest.len()));
            self.read_part(*row, from, part)?;
            (rest, from) = (behind, 0);
        }
        Ok(())
    }
}

fn outside(wanted: usize, offset: u64, len: u64) -> Error {
    Error::usage(format!("{wanted} bytes from {offset} on were asked for, of {len}"))
}
