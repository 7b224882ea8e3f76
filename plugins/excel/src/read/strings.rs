//! The texts that the cells of a workbook share.

use std::io::Read;

use super::xml::{Token, Xml, resolve, unescape};

/// Texts by their numbers. They are held in memory, in one piece.
#[derive(Default)]
pub struct Strings {
    all: String,
    /// Where each of them ends.
    ends: Vec<u32>,
}

impl Strings {
    /// Reads them. None: there are more than `most` bytes of them.
    pub fn read(input: impl Read, most: usize) -> Result<Option<Self>, String> {
        // Places are numbers of 32 bits.
        let most = most.min(u32::MAX as usize);
        let (mut strings, mut xml) = (Self::default(), Xml::new(input));
        let mut text = Inline::default();
        while let Some(token) = xml.next()? {
            match token {
                Token::Start { name: b"si", is_empty: true, .. } => strings.end(),
                Token::End(b"si") => {
                    text = Inline::default();
                    strings.end();
                }
                token => text.add(token, &mut strings.all)?,
            }
            if strings.all.len() + strings.ends.len() * size_of::<u32>() > most {
                return Ok(None);
            }
        }
        Ok(Some(strings))
    }

    fn end(&mut self) {
        self.ends.push(self.all.len() as u32);
    }

    /// A text.
    pub fn get(&self, number: usize) -> Option<&str> {
        let end = *self.ends.get(number)? as usize;
        let begin = number.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        self.all.get(begin..end)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.ends.len()
    }
}

/// Where in a text with runs of their own looks a token stands.
#[derive(Default)]
pub struct Inline {
    in_text: bool,
    /// In what says how the text is pronounced.
    in_sound: bool,
    begin: usize,
}

impl Inline {
    /// Takes a token of the text, which is appended.
    pub fn add(&mut self, token: Token<'_>, out: &mut String) -> Result<(), String> {
        match token {
            Token::Start { name: b"t", is_empty: false, .. } => (self.in_text, self.begin) = (true, out.len()),
            Token::End(b"t") => {
                if self.in_text && !self.in_sound {
                    resolve(out, self.begin);
                }
                self.in_text = false;
            }
            Token::Start { name: b"rPh", is_empty: false, .. } => self.in_sound = true,
            Token::End(b"rPh") => self.in_sound = false,
            Token::Text(raw) if self.in_text && !self.in_sound => unescape(raw, out)?,
            Token::Plain(raw) if self.in_text && !self.in_sound => {
                out.push_str(std::str::from_utf8(raw).map_err(|_| "a text in it is not in UTF-8")?);
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_runs_and_how_they_are_pronounced_is_none_of_them() {
        let xml = "<sst><si><t>a</t></si><si/><si><r><rPr><b/></rPr><t xml:space=\"preserve\">b </t></r><r><t>c&amp;_x0041_</t></r>\
                   <rPh sb=\"0\" eb=\"1\"><t>d</t></rPh></si><si><t/></si><si><t><![CDATA[<e>]]></t></si></sst>";
        let strings = Strings::read(xml.as_bytes(), 1_000).unwrap().unwrap();
        let all: Vec<_> = (0..strings.count()).map(|at| strings.get(at).unwrap()).collect();
        assert_eq!((all.as_slice(), strings.get(5)), (["a", "", "b c&A", "", "<e>"].as_slice(), None));
        assert!(Strings::read(xml.as_bytes(), 28).unwrap().is_none());
    }
}
