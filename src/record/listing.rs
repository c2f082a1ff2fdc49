use super::Finding;

/// How many findings of one kind a report lists one by one: enough to see a pattern, few enough to
/// read. A model of another architecture would otherwise fill the report with its every tensor.
pub(crate) const LISTED: usize = 20;

/// Keeps the first [`LISTED`] findings of one kind, and sums up the others in one more:
/// "7 more `rest`".
pub(crate) fn first_few(findings: impl IntoIterator<Item = Finding>, rest: &str) -> Vec<Finding> {
    let mut findings = findings.into_iter();
    let mut listed: Vec<Finding> = findings.by_ref().take(LISTED).collect();
    let more = findings.count();
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

    fn findings(count: usize) -> impl Iterator<Item = Finding> {
        (0..count).map(|n| Finding::corrupted(Code::KeyMissing, Level::Keys, n.to_string()))
    }

    #[test]
    fn few_are_listed_all() {
        assert!(first_few(findings(0), "keys").is_empty());
        assert_eq!(first_few(findings(LISTED), "keys").len(), LISTED);
    }

    #[test]
    fn many_are_summed_up() {
        let listed = first_few(findings(LISTED + 7), "keys");
        assert_eq!(listed.len(), LISTED + 1);
        assert_eq!(listed[LISTED].message, "7 more keys");
        assert_eq!(listed[LISTED].code, Code::KeyMissing);
    }
}
