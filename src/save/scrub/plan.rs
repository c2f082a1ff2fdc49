//! What is to be read, and in which order: nothing here touches a file.

use std::time::Duration;

use jiff::Timestamp;

use super::memory::{Entry, Memory};
use crate::record::Level;

/// A checkpoint as it is found now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The name under which it is remembered.
    pub key: String,
    /// The digest that stands for the state of its files; none where they couldn't be looked at.
    pub stamp: Option<String>,
}

/// What counts as verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The level that is asked for: what was checked less deep wasn't verified.
    pub level: Level,
    /// What was verified more recently than this is passed over; none passes over nothing.
    pub older_than: Option<Duration>,
}

/// What is to be done, as places in the list of what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What is to be read, in this order.
    pub due: Vec<usize>,
    /// What was verified recently enough.
    pub recent: Vec<usize>,
}

/// Decides what is due: first what was never verified, then what was verified longest ago.
///
/// Never verified is also what changed since, what was checked less deep, and what the memory says will be
/// verified in the future: a clock was wrong, and nobody knows which. Among those, what was never tried
/// comes before what could not be read, so that one bad file doesn't keep the others waiting. Where all is
/// equal, the order of the list decides.
pub fn plan(found: &[Found], memory: &Memory, now: Timestamp, rule: Rule) -> Plan {
    let (mut plan, mut keyed) = (Plan::default(), Vec::new());
    for (at, found) in found.iter().enumerate() {
        let entry = memory.get(&found.key);
        let verified = entry.and_then(|entry| verified(entry, found, now, rule.level));
        match verified {
            Some(time) if is_recent(time, now, rule.older_than) => plan.recent.push(at),
            Some(_) => keyed.push((verified, None, at)),
            None => {
                keyed.push((None, entry.filter(|entry| is_same(entry, found)).map(|entry| entry.tried), at));
            }
        }
    }
    keyed.sort_unstable();
    plan.due = keyed.into_iter().map(|(.., at)| at).collect();
    plan
}

/// Returns when a checkpoint was verified as it is now, and as deep as is asked for.
fn verified(entry: &Entry, found: &Found, now: Timestamp, level: Level) -> Option<Timestamp> {
    let is_enough = is_same(entry, found) && entry.level >= level;
    entry.verified.filter(|verified| is_enough && *verified <= now)
}

/// Returns whether the files are those that are remembered.
pub(super) fn is_same(entry: &Entry, found: &Found) -> bool {
    found.stamp.as_ref() == Some(&entry.stamp)
}

/// Returns whether a verification is recent enough to pass over.
fn is_recent(verified: Timestamp, now: Timestamp, older_than: Option<Duration>) -> bool {
    let age = Duration::try_from(now.duration_since(verified)).unwrap_or_default();
    older_than.is_some_and(|older_than| age < older_than)
}

#[cfg(test)]
mod tests {
    use super::super::memory::tests::entry;
    use super::*;

    const RULE: Rule = Rule { level: Level::Load, older_than: None };

    fn found(keys: &[&str]) -> Vec<Found> {
        keys.iter().map(|key| Found { key: (*key).to_owned(), stamp: Some("now".into()) }).collect()
    }

    fn memory(entries: &[(&str, Entry)]) -> Memory {
        let mut memory = Memory::default();
        for (key, entry) in entries {
            memory.set((*key).to_owned(), entry.clone());
        }
        memory
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn never_verified_comes_first_then_the_oldest() {
        let memory = memory(&[
            ("young", entry("now", Some(300))),
            ("old", entry("now", Some(100))),
            ("middle", entry("now", Some(200))),
        ]);
        let found = found(&["young", "new 1", "old", "new 2", "middle"]);
        let plan = plan(&found, &memory, at(1000), RULE);
        assert_eq!(plan, Plan { due: vec![1, 3, 2, 4, 0], recent: Vec::new() });
    }

    #[test]
    fn what_changed_was_never_verified() {
        let memory = memory(&[("a", entry("now", Some(1))), ("changed", entry("before", Some(900)))]);
        let mut found = found(&["a", "changed", "gone"]);
        found[2].stamp = None;
        let rule = Rule { older_than: Some(Duration::from_mins(10)), ..RULE };
        assert_eq!(plan(&found, &memory, at(1000), rule).due, [1, 2, 0]);
    }

    #[test]
    fn what_is_recent_is_passed_over() {
        let memory = memory(&[("a", entry("now", Some(400))), ("b", entry("now", Some(401)))]);
        let rule = Rule { older_than: Some(Duration::from_mins(10)), ..RULE };
        let plan = plan(&found(&["a", "b"]), &memory, at(1000), rule);
        assert_eq!(plan, Plan { due: vec![0], recent: vec![1] });
    }

    #[test]
    fn less_deep_or_in_the_future_is_never_verified() {
        let shallow = Entry { level: Level::Container, ..entry("now", Some(990)) };
        let memory = memory(&[("shallow", shallow), ("future", entry("now", Some(1001)))]);
        let rule = Rule { older_than: Some(Duration::from_hours(1)), ..RULE };
        let found = found(&["future", "shallow"]);
        assert_eq!(plan(&found, &memory, at(1000), rule).due, [1, 0]);
        let shallow = Rule { level: Level::Size, ..rule };
        assert_eq!(plan(&found, &memory, at(1000), shallow), Plan { due: vec![0], recent: vec![1] });
    }

    #[test]
    fn one_that_cannot_be_read_waits_for_those_never_tried() {
        let tried = |second| Entry { tried: at(second), ..entry("now", None) };
        let memory = memory(&[("a", tried(20)), ("b", tried(10)), ("z", entry("now", Some(1)))]);
        assert_eq!(plan(&found(&["a", "b", "new", "z"]), &memory, at(1000), RULE).due, [2, 1, 0, 3]);
    }
}
