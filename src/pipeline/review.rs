//! What people say of stages: that one is good as it is, or to be done anew.

use jiff::Timestamp;

use super::open::undo;
use super::{Approval, Pipeline, look};
use crate::Error;
use crate::record::{Edit, FileRecord, StageStatus, quoted};

impl Pipeline {
    /// Approves a stage that waits for its review: the pipeline can go on. Its outputs are looked at anew; one that was
    /// edited is recorded with the digests before and after, and the new one counts from now on. Returns the edits.
    ///
    /// # Errors
    ///
    /// The stage doesn't wait for a review; an output is gone or can't be read; or the state can't be written.
    pub fn approve(&mut self, stage: &str, approval: Approval) -> Result<Vec<Edit>, Error> {
        let number = self.number(stage)?;
        let waiting = |status| status == StageStatus::AwaitingReview;
        let Some(mut record) = self.state.stage(stage).filter(|record| waiting(record.status)).cloned()
        else {
            let message = format!("the stage {} doesn't wait for a review", quoted(stage));
            return Err(Error::usage(message).at(self.place.state()));
        };
        let mut edits = Vec::new();
        for output in &mut record.outputs {
            edits.extend(self.look_again(stage, output)?);
        }
        let mut review = record.review.take().unwrap_or_else(|| crate::record::Review::new(Timestamp::now()));
        review.approved = Some(Timestamp::now());
        (review.by, review.note) = (approval.by, approval.note);
        review.edits.extend(edits.iter().cloned());
        record.review = Some(review);
        record.status = StageStatus::Completed;
        if !edits.is_empty() {
            // What was edited is another result: its checkpoint says so.
            record = self.commit(number, record)?;
        }
        self.looked.insert(record.name.clone(), None);
        self.put(number, record);
        self.write()?;
        Ok(edits)
    }

    /// Has a stage, and every later one, done anew. What they left stays until it is written over. A stage that waits for
    /// its review doesn't any more.
    ///
    /// # Errors
    ///
    /// There is no such stage, or the state can't be written.
    pub fn reset(&mut self, stage: &str) -> Result<(), Error> {
        let number = self.number(stage)?;
        self.state.stages.iter_mut().skip(number).for_each(undo);
        self.looked.clear();
        self.write()
    }

    /// Takes the record of an output anew; returns the edit where it is another one now.
    fn look_again(&self, stage: &str, output: &mut FileRecord) -> Result<Option<Edit>, Error> {
        let Some(now) = look::record(&self.place, &output.path)? else {
            let message = format!(
                "it is an output of {}, and isn't there any more: put it back, or have the stage done anew (reset)",
                quoted(stage)
            );
            return Err(Error::nothing(self.place.file(&output.path), message));
        };
        let is_same = (&now.digest, now.proven) == (&output.digest, output.proven);
        let edit = (!is_same).then(|| Edit::new(&output.path, &output.digest, &now.digest));
        if edit.is_some() {
            self.make_durable(&output.path, now.files.is_some())?;
        }
        *output = now.with_lifetime(output.lifetime);
        Ok(edit)
    }
}
