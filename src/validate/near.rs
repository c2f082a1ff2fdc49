//! The key that somebody may have meant.

/// The most keys whose characters are compared. Each costs up to the product of two names' lengths,
/// and the answer is a courtesy.
const COMPARED: usize = 4_096;

/// The longest name whose characters are compared, in bytes.
const NAME_BYTES: usize = 128;

/// The most characters that a name may be away, so that a suggestion is one.
const MOST_EDITS: usize = 8;

/// Finds the key nearest to `wanted`, if one is near: the same but for case; with a prefix more or
/// less (`module.` of data-parallel training); or few characters away.
pub(super) fn nearest<'a>(wanted: &str, keys: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut budget = COMPARED;
    let near = keys.into_iter().filter(|key| *key != wanted);
    let near = near.filter_map(|key| Some((distance(wanted, key, &mut budget)?, key)));
    near.min_by_key(|(distance, _)| *distance).map(|(_, key)| key)
}

/// Returns how far apart two names are; none where it is too far, or `budget` comparisons are spent.
fn distance(wanted: &str, key: &str, budget: &mut usize) -> Option<usize> {
    let limit = (wanted.len() / 3).clamp(1, MOST_EDITS);
    if wanted.eq_ignore_ascii_case(key) {
        Some(0)
    } else if extends(key, wanted) || extends(wanted, key) {
        Some(1)
    } else if wanted.len().max(key.len()) > NAME_BYTES || wanted.len().abs_diff(key.len()) > limit {
        None
    } else {
        *budget = budget.checked_sub(1)?;
        Some(edits(wanted.as_bytes(), key.as_bytes())).filter(|&edits| edits <= limit)
    }
}

/// Returns whether `long` is `short` with a prefix that ends in a dot.
fn extends(long: &str, short: &str) -> bool {
    !short.is_empty() && long.strip_suffix(short).is_some_and(|prefix| prefix.ends_with('.'))
}

/// Counts the bytes to insert, remove or replace (Levenshtein's distance).
fn edits(one: &[u8], other: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, byte) in one.iter().enumerate() {
        let mut diagonal = at;
        let mut left = at + 1;
        for (cell, theirs) in row.iter_mut().skip(1).zip(other) {
            let replaced = diagonal + usize::from(byte != theirs);
            diagonal = *cell;
            left = replaced.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = at + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (one, other, count) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("weight", "wieght", 2)]
        {
            assert_eq!(edits(one.as_bytes(), other.as_bytes()), count, "{one} {other}");
        }
    }

    #[test]
    fn the_nearest_key_is_found() {
        let keys = ["optimizer", "module.model.weight", "Model.Bias", "model.wieght"];
        assert_eq!(nearest("model.weight", keys), Some("module.model.weight"));
        assert_eq!(nearest("model.bias", keys), Some("Model.Bias"));
        assert_eq!(nearest("optimiser", keys), Some("optimizer"));
        assert_eq!(nearest("x", keys), None);
        assert_eq!(nearest("epoch", keys), None);
        assert_eq!(nearest(&"x".repeat(300), keys), None);
        assert_eq!(nearest("a.optimizer", keys), Some("optimizer"));
    }
}
