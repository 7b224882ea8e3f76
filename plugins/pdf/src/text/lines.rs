//! Where lines end.

use std::ops::Range;

use unicode_linebreak::linebreaks;

/// The widths of a paragraph's parts that are not broken, whatever happens.
pub struct Advances {
    /// Where each part begins, and the width of all before it.
    places: Vec<(usize, f32)>,
    end: (usize, f32),
}

impl Advances {
    /// Of parts that begin at places in bytes, in any order.
    pub fn new(mut parts: Vec<(usize, f32)>, length: usize) -> Self {
        parts.sort_by_key(|(place, _)| *place);
        let mut sum = 0.0;
        for (_, width) in &mut parts {
            sum += std::mem::replace(width, sum);
        }
        Self { places: parts, end: (length, sum) }
    }

    fn before(&self, place: usize) -> f32 {
        let at = self.places.partition_point(|(known, _)| *known < place);
        self.places.get(at).map_or(self.end.1, |(_, sum)| *sum)
    }

    pub fn of(&self, range: Range<usize>) -> f32 {
        self.before(range.end) - self.before(range.start)
    }
}

/// A paragraph's lines of at most a width, without the spaces at their ends; and the width of its widest part that
/// is only broken where nothing else helps.
pub fn broken(text: &str, advances: &Advances, most: Option<f32>) -> (Vec<Range<usize>>, f32) {
    let mut lines = Vec::new();
    let mut narrowest: f32 = 0.0;
    let (mut line, mut from) = (0, 0);
    let shown = |range: Range<usize>| {
        let length = text[range.clone()].trim_end().len();
        range.start..range.start + length
    };
    for (to, _) in linebreaks(text) {
        narrowest = narrowest.max(advances.of(shown(from..to)));
        if let Some(most) = most {
            if advances.of(shown(line..to)) > most && from > line {
                lines.push(shown(line..from));
                line = from;
            }
            // A word that is too long is broken between its letters.
            while advances.of(shown(line..to)) > most {
                let first = advances.places.partition_point(|(place, _)| *place <= line);
                let limit = advances.before(line) + most;
                let behind = &advances.places[first..];
                let fits = behind.partition_point(|(place, sum)| *sum <= limit && *place < to);
                // At least one, however narrow the line.
                let Some((end, _)) = behind.get(fits.max(1) - 1).filter(|(place, _)| *place < to) else { break };
                lines.push(shown(line..*end));
                line = *end;
            }
        }
        from = to;
    }
    lines.push(shown(line..text.len()));
    (lines, narrowest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of a text whose letters are all one wide.
    fn lines(text: &str, most: f32) -> Vec<&str> {
        let advances = Advances::new(text.char_indices().map(|(place, _)| (place, 1.0)).collect(), text.len());
        broken(text, &advances, Some(most)).0.into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn lines_end_between_words_and_where_nothing_helps_inside_of_them() {
        assert_eq!(lines("the quick brown fox", 10.0), ["the quick", "brown fox"]);
        assert_eq!(lines("a incomprehensible b", 6.0), ["a", "incomp", "rehens", "ible b"]);
        assert_eq!(lines("abc", 0.5), ["a", "b", "c"]);
        assert_eq!(lines("", 5.0), [""]);
        assert_eq!(lines("ends   ", 4.0), ["ends"]);
        assert_eq!(lines("日本語文字", 2.0), ["日本", "語文", "字"]);
    }

    #[test]
    fn the_widest_word_is_known() {
        let text = "one three, five";
        let advances = Advances::new(text.char_indices().map(|(place, _)| (place, 1.0)).collect(), text.len());
        assert_eq!(broken(text, &advances, None), (Vec::from_iter(std::iter::once(0..15)), 6.0));
    }
}
