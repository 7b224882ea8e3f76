//! What stores answer: small documents of elements and texts, without attributes that matter.

use engine_sdk::prelude::{Error, Result};
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

/// How deep elements may stand inside each other. Answers of S3 have four levels.
const DEEPEST: usize = 32;

/// One element.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Element {
    pub name: String,
    /// The text directly in it.
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    /// Reads a document.
    pub fn read(text: &str) -> Result<Self> {
        read(text).ok_or_else(|| {
            Error::unavailable("the store's answer is no XML that can be read")
                .hint("check that `endpoint` is that of an S3 store, and that no proxy answers in its place")
        })
    }

    /// The first element in it of a name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// All elements in it of a name.
    pub fn all(&self, name: &'static str) -> impl Iterator<Item = &Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text of the first element of a name; empty where there is none.
    pub fn text_of(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| child.text.as_str())
    }
}

fn read(text: &str) -> Option<Element> {
    let mut reader = Reader::from_str(text);
    let mut open = vec![Element::default()];
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                if open.len() > DEEPEST {
                    return None;
                }
                open.push(Element { name: start.local_name().as_ref().to_owned(), ..Element::default() });
            }
            Event::Empty(start) => {
                let name = start.local_name().as_ref().to_owned();
                open.last_mut()?.children.push(Element { name, ..Element::default() });
            }
            Event::End(_) => {
                let done = open.pop()?;
                open.last_mut()?.children.push(done);
            }
            Event::Text(text) => open.last_mut()?.text.push_str(&text),
            Event::CData(text) => open.last_mut()?.text.push_str(&text),
            Event::GeneralRef(reference) => match reference.resolve_char_ref().ok()? {
                Some(character) => open.last_mut()?.text.push(character),
                None => open.last_mut()?.text.push_str(resolve_predefined_entity(&reference)?),
            },
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            // Entities of one's own are nothing that a store needs.
            Event::DocType(_) => return None,
        }
    }
    let [document] = &mut open[..] else { return None };
    document.children.pop().filter(|_| document.children.is_empty())
}

/// A text as it stands in an element.
pub fn escaped(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_texts_and_references_are_read() {
        let text = "<?xml version=\"1.0\"?>\n<List xmlns=\"http://s3\"><!-- x --><K>a&amp;b&#10;&#x41;</K><K>two</K><E/>\
                    <Deep><K>no</K></Deep><C><![CDATA[<c>]]></C></List>";
        let list = Element::read(text).unwrap();
        assert_eq!(list.name, "List");
        assert_eq!(list.all("K").map(|key| key.text.as_str()).collect::<Vec<_>>(), ["a&b\nA", "two"]);
        assert_eq!((list.text_of("E"), list.text_of("C"), list.text_of("None")), ("", "<c>", ""));
        assert_eq!(list.child("Deep").unwrap().text_of("K"), "no");
    }

    #[test]
    fn what_is_no_answer_of_a_store_is_refused() {
        let deep = "<a>".repeat(10_000);
        for text in
            ["", "OK", "<a>", "<a></b>", "<a/><b/>", "<a>&own;</a>", "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", &deep]
        {
            assert!(Element::read(text).is_err(), "{:.40}", text);
        }
        assert_eq!(escaped("a<b>&\"c"), "a&lt;b&gt;&amp;&quot;c");
    }
}
