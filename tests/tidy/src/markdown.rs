//! The little Markdown that the rules need: headings, links, code.

/// A document's headings with their level, without those inside code blocks.
pub fn headings(text: &str) -> Vec<(usize, &str)> {
    prose_lines(text)
        .filter_map(|line| {
            let level = line.bytes().take_while(|byte| *byte == b'#').count();
            let title = line[level..].strip_prefix(' ')?;
            (1..=6).contains(&level).then_some((level, title.trim()))
        })
        .collect()
}

/// The name by which a heading can be linked to, as GitHub makes it.
pub fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter_map(|character| match character {
            ' ' => Some('-'),
            '-' | '_' => Some(character),
            _ => character.is_alphanumeric().then_some(character),
        })
        .collect()
}

/// The targets of inline links, without those in code.
pub fn links(text: &str) -> Vec<&str> {
    let mut links = Vec::new();
    for line in prose_lines(text) {
        // Every second piece between backticks is code.
        for prose in line.split('`').step_by(2) {
            for rest in prose.split("](").skip(1) {
                links.extend(rest.split([')', ' ']).next().filter(|target| !target.is_empty()));
            }
        }
    }
    links
}

/// Everything that is set as code, inline or in blocks, line by line.
pub fn code(text: &str) -> Vec<&str> {
    let mut code = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            code.push(line);
        } else {
            code.extend(line.split('`').skip(1).step_by(2));
        }
    }
    code
}

fn prose_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# One page\nsee [a](b.md#c) and `[x](code)`, `engine run`\n```sh\n# not a heading\nengine runs\n```\n## Next: it's done\n";

    #[test]
    fn code_holds_no_headings_and_no_links() {
        assert_eq!(headings(TEXT), [(1, "One page"), (2, "Next: it's done")]);
        assert_eq!(links(TEXT), ["b.md#c"]);
        assert_eq!(code(TEXT), ["[x](code)", "engine run", "# not a heading", "engine runs"]);
        assert_eq!(anchor("Next: it's done"), "next-its-done");
    }
}
