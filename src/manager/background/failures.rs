use super::Ticket;
use crate::Error;
use crate::record::CheckpointId;

/// How many failures are remembered one by one; of further ones, how many there were.
const MAX_KEPT: usize = 100;

/// The saves that failed for good.
#[derive(Debug, Default)]
pub(super) struct Failures {
    kept: Vec<Failure>,
    count: usize,
}

#[derive(Debug)]
struct Failure {
    id: CheckpointId,
    error: Error,
    ticket: Ticket,
    /// Whether a call returned it.
    is_told: bool,
}

impl Failures {
    pub(super) fn add(&mut self, id: CheckpointId, error: Error, ticket: Ticket) {
        self.count += 1;
        if self.kept.len() < MAX_KEPT {
            self.kept.push(Failure { id, error, ticket, is_told: false });
        }
    }

    /// Returns the first failure as an error, with how many followed; nothing where there is none.
    pub(super) fn tell(&mut self) -> Result<(), Error> {
        self.kept.iter_mut().for_each(|failure| failure.is_told = true);
        let Some(first) = self.kept.first() else { return Ok(()) };
        let error = first.error.clone().with_note(&format!("{} isn't saved", first.id));
        Err(match self.count - 1 {
            0 => error,
            1 => error.with_note("nor is one after it"),
            more => error.with_note(&format!("nor are {more} after it")),
        })
    }

    /// Returns what nobody has been told, one line for each save.
    pub(super) fn untold(&self) -> Vec<String> {
        let untold = self.kept.iter().filter(|failure| !failure.is_told && !failure.ticket.is_seen());
        let line = |failure: &Failure| format!("{} isn't saved: {}", failure.id, failure.error);
        let mut lines: Vec<_> = untold.map(line).collect();
        if !lines.is_empty() && self.count > self.kept.len() {
            lines.push(format!("nor are {} further checkpoints", self.count - self.kept.len()));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(step: u64) -> CheckpointId {
        CheckpointId { generation: 0, step }
    }

    #[test]
    fn the_first_is_told_with_the_number_of_the_others() {
        let mut failures = Failures::default();
        assert!(failures.tell().is_ok());
        for (step, note) in [(1, ""), (2, "; nor is one after it"), (3, "; nor are 2 after it")] {
            failures.add(id(step), Error::usage(format!("no {step}")), Ticket::new());
            assert_eq!(failures.untold(), [format!("step-000000000{step} isn't saved: no {step}")]);
            let text = failures.tell().unwrap_err().to_string();
            assert_eq!(text, format!("no 1; step-0000000001 isn't saved{note}"));
            assert!(failures.untold().is_empty());
        }
    }

    #[test]
    fn thousands_take_no_more_room_than_a_hundred() {
        let mut failures = Failures::default();
        for step in 0..3000 {
            failures.add(id(step), Error::usage("no"), Ticket::new());
        }
        let lines = failures.untold();
        assert_eq!((lines.len(), lines[100].as_str()), (101, "nor are 2900 further checkpoints"));
    }
}
