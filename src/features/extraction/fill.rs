//! The rows at hand.

use std::time::Duration;

use crate::tensor::{Source as _, TensorView};
use crate::{Dtype, Error};

/// What all rows of a worker have alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) dtype: Dtype,
    /// The shape of one row.
    pub(super) row: Vec<u64>,
    pub(super) row_bytes: u64,
}

impl Form {
    /// Takes the form of the rows of a tensor whose first dimension counts them; `None` where there are no rows.
    fn of(rows: &TensorView<'_>, count: usize) -> Result<Option<Self>, Error> {
        let (dtype, shape) = (rows.dtype(), rows.shape());
        let Some((length, row)) = shape.split_first() else {
            return Err(Error::usage("rows are a tensor of at least one dimension, and a scalar was given"));
        };
        if *length != count as u64 {
            return Err(Error::usage(format!(
                "there are {count} ids, and {length} rows: one id to each row"
            )));
        }
        let bytes = rows.data().len();
        if count == 0 {
            return Ok(None);
        }
        if !bytes.is_multiple_of(*length) {
            return Err(Error::usage(format!(
                "a row of shape {row:?} and dtype {dtype} doesn't end with a byte"
            )));
        }
        Ok(Some(Self { dtype, row: row.to_vec(), row_bytes: bytes / length }))
    }

    /// Returns the shape of so many rows.
    pub(super) fn shape(&self, rows: u64) -> Vec<u64> {
        std::iter::once(rows).chain(self.row.iter().copied()).collect()
    }
}

/// Rows with their ids, of one form: a shard, once they are saved.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) ids: Vec<String>,
    pub(super) bytes: Vec<u8>,
    pub(super) form: Form,
}

/// The rows that a worker has pushed and not handed over yet.
#[derive(Debug, Default)]
pub(super) struct Fill {
    ids: Vec<String>,
    bytes: Vec<u8>,
    /// When the first of them came, by the clock.
    first: Option<Duration>,
    /// The form of all rows so far, those that were handed over included.
    form: Option<Form>,
}

impl Fill {
    /// Returns how many rows there are.
    pub(super) fn rows(&self) -> u64 {
        self.ids.len() as u64
    }

    /// Returns how long the first row has waited.
    pub(super) fn waited(&self, now: Duration) -> Duration {
        self.first.map_or(Duration::ZERO, |first| now.saturating_sub(first))
    }

    /// Copies rows with their ids.
    ///
    /// # Errors
    ///
    /// There isn't one id to each row, the rows are of another form than those before them, or there is no memory.
    /// Nothing was taken then.
    pub(super) fn add(
        &mut self,
        ids: &[impl AsRef<str>],
        rows: &TensorView<'_>,
        now: Duration,
    ) -> Result<(), Error> {
        let Some(form) = Form::of(rows, ids.len())? else { return Ok(()) };
        if let Some(known) = self.form.as_ref().filter(|known| **known != form) {
            return Err(Error::usage(format!(
                "these rows are {} of shape {:?}, and those before them {} of {:?}: a shard has rows of one kind",
                form.dtype, form.row, known.dtype, known.row
            )));
        }
        self.copy(rows)?;
        self.ids.extend(ids.iter().map(|id| id.as_ref().to_owned()));
        self.first.get_or_insert(now);
        self.form = Some(form);
        Ok(())
    }

    /// Copies the bytes of rows.
    fn copy(&mut self, rows: &TensorView<'_>) -> Result<(), Error> {
        let (data, start) = (rows.data(), self.bytes.len());
        let bytes = data.len();
        let too_many =
            || Error::usage(format!("there is no memory for {bytes} bytes of rows: save smaller shards"));
        let more = usize::try_from(bytes).map_err(|_| too_many())?;
        self.bytes.try_reserve(more).map_err(|_| too_many())?;
        self.bytes.resize(start + more, 0);
        let copied = data.read_at(self.bytes.get_mut(start..).unwrap_or_default(), 0);
        if copied.is_err() {
            self.bytes.truncate(start);
        }
        copied
    }

    /// Takes the rows out; `None` where there are none.
    pub(super) fn take(&mut self) -> Option<Filled> {
        let form = self.form.clone().filter(|_| !self.ids.is_empty())?;
        self.first = None;
        Some(Filled { ids: std::mem::take(&mut self.ids), bytes: std::mem::take(&mut self.bytes), form })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(dtype: Dtype, shape: &[u64], bytes: usize) -> TensorView<'static> {
        TensorView::new(dtype, shape, vec![7; bytes]).unwrap()
    }

    #[test]
    fn rows_come_together_and_are_taken_out() {
        let mut fill = Fill::default();
        let second = Duration::from_secs(1);
        assert!(fill.take().is_none());
        fill.add(&[""; 0], &view(Dtype::F32, &[0, 3], 0), second).unwrap();
        assert_eq!((fill.rows(), fill.waited(second * 5)), (0, Duration::ZERO));
        fill.add(&["a", "b"], &view(Dtype::F32, &[2, 3], 24), second).unwrap();
        fill.add(&["c"], &view(Dtype::F32, &[1, 3], 12), second * 3).unwrap();
        assert_eq!((fill.rows(), fill.waited(second * 5)), (3, second * 4));
        let filled = fill.take().unwrap();
        assert_eq!((filled.ids.len(), filled.bytes.len(), filled.form.shape(3)), (3, 36, vec![3, 3]));
        assert_eq!((fill.rows(), fill.waited(second * 5)), (0, Duration::ZERO));
    }

    #[test]
    fn rows_of_another_kind_are_refused_and_nothing_is_taken() {
        let mut fill = Fill::default();
        fill.add(&["a"], &view(Dtype::F32, &[1, 3], 12), Duration::ZERO).unwrap();
        for (ids, rows, expected) in [
            (vec!["b"], view(Dtype::F32, &[2, 3], 24), "there are 1 ids, and 2 rows"),
            (
                vec!["b"],
                view(Dtype::F16, &[1, 3], 6),
                "these rows are f16 of shape [3], and those before them f32",
            ),
            (vec!["b"], view(Dtype::F32, &[1, 4], 16), "of shape [4]"),
            (vec!["b"], view(Dtype::F32, &[], 4), "a scalar was given"),
            (vec!["b", "c"], view(Dtype::F4, &[2, 3], 3), "doesn't end with a byte"),
        ] {
            let error = fill.add(&ids, &rows, Duration::ZERO).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!((fill.rows(), fill.bytes.len()), (1, 12));
        }
        fill.take().unwrap();
        assert!(
            fill.add(&["b"], &view(Dtype::F16, &[1, 3], 6), Duration::ZERO).is_err(),
            "also after a shard"
        );
    }
}
