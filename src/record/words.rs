use super::Finding;

/// How many findings of one kind a report lists one by one: enough to see a pattern, few enough to
/// read. A model of another architecture would otherwise fill the report with its every tensor.
pub(crate) const LISTED: usize = 20;

/// The most bytes of a foreign name that a message repeats. A name may be as long as its document.
const QUOTED_BYTES: usize = 80;

/// Returns a foreign text in quotes, without control characters, shortened where it is long.
pub(crate) fn quoted(text: &str) -> String {
    let end = text.floor_char_boundary(QUOTED_BYTES);
    let shown = text.get(..end).unwrap_or_default().escape_debug();
    if end < text.len() { format!("'{shown}…' ({} bytes)", text.len()) } else { format!("'{shown}'") }
}

/// Makes the findings of the first [`LISTED`] facts of one kind, and sums up the others in one more:
/// "7 more `rest`".
pub(crate) fn first_few<T>(
    facts: impl IntoIterator<Item = T>,
    finding: impl FnMut(T) -> Finding,
    rest: &str,
) -> Vec<Finding> {
    let mut facts = facts.into_iter();
    let mut listed: Vec<Finding> = facts.by_ref().take(LISTED).map(finding).collect();
    let more = facts.count();
    if let Some(last) = listed.last()
        && more > 0
    {
        let sum = Finding::new(last.code, last.level, last.verdict, format!("{more} more {rest}"));
        listed.push(sum);
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Code, Level};

    fn list(count: usize) -> Vec<Finding> {
        let finding = |n: usize| Finding::corrupted(Code::KeyMissing, Level::Keys, n.to_string());
        first_few(0..count, finding, "keys")
    }

    #[test]
    fn few_are_listed_all() {
        assert!(list(0).is_empty());
        assert_eq!(list(LISTED).len(), LISTED);
    }

    #[test]
    fn many_are_summed_up() {
        let listed = list(LISTED + 7);
        assert_eq!(listed.len(), LISTED + 1);
        assert_eq!(listed[LISTED].message, "7 more keys");
        assert_eq!(listed[LISTED].code, Code::KeyMissing);
    }

    #[test]
    fn a_long_or_odd_name_is_shown_safely() {
        assert_eq!(quoted("a\u{1b}[2J"), "'a\\u{1b}[2J'");
        assert!(quoted(&"ä".repeat(1000)).len() < 120);
    }
}
