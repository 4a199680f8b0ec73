//! The known word a misspelt one resembles.

/// The candidate closest to `word`, if it is close enough to be what was meant: at most a third of the letters differ.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '_'], "");
    let wanted = plain(word);
    let scored = candidates.into_iter().map(|candidate| (distance(&wanted, &plain(candidate)), candidate));
    let (best, candidate) = scored.min_by_key(|(score, _)| *score)?;
    (best <= 1.max(wanted.chars().count() / 3)).then_some(candidate)
}

/// Letters to insert, remove, replace or swap with their neighbour to get from one word to the other (optimal string alignment).
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, a) in from.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, b) in to.iter().enumerate() {
            let at = |line: &[usize], column: usize| line.get(column).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&above, column) + usize::from(a != b)).min(at(&above, column + 1) + 1);
            best = best.min(at(&line, column) + 1);
            let swapped = row > 0 && column > 0 && from.get(row - 1) == Some(b) && to.get(column - 1) == Some(a);
            if swapped {
                best = best.min(at(&before, column - 1) + 1);
            }
            line.push(best);
        }
        before = std::mem::replace(&mut above, line);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_words_find_what_was_meant() {
        let known = ["iface", "ipMasq", "subnetFile", "store"];
        assert_eq!(nearest("ifcae", known), Some("iface"));
        assert_eq!(nearest("ip_masq", known), Some("ipMasq"));
        assert_eq!(nearest("subnet-file", known), Some("subnetFile"));
        assert_eq!(nearest("stroe", known), Some("store"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("x", []), None);
    }
}
