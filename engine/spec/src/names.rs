//! The nearest right name for a wrong one.

/// Fewer letters are the beginning of too much.
const SHORTEST_START: usize = 3;

/// The candidate that was probably meant, if one is near enough.
pub fn nearest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |name: &str| name.to_lowercase().replace(['-', ' ', '_'], "");
    let wrong = plain(wrong);
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let near = candidates
        .iter()
        .copied()
        .map(|candidate| {
            let right = plain(candidate);
            let allowed = 1 + right.chars().count().min(wrong.chars().count()) / 4;
            // Names are short; a distance to something long is never small.
            let distance = if wrong.len().abs_diff(right.len()) > allowed {
                usize::MAX
            } else {
                strsim::osa_distance(&wrong, &right)
            };
            (distance, allowed, candidate)
        })
        .filter(|(distance, allowed, _)| distance <= allowed)
        .min_by_key(|(distance, ..)| *distance)
        .map(|(.., candidate)| candidate);
    // `int` is far from `integer` by letters alone.
    let mut longer = candidates.into_iter().filter(|candidate| plain(candidate).starts_with(&wrong));
    near.or_else(|| longer.next().filter(|_| wrong.len() >= SHORTEST_START && longer.next().is_none()))
}

/// `a`, `b` or `c`, in backticks.
pub(crate) fn either<S: AsRef<str>>(names: &[S]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    match quoted.as_slice() {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [firsts @ .., last] => format!("{} or {last}", firsts.join(", ")),
    }
}

/// A value for a message: short, in backticks.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("`{short}`")
}
