//! XML as a small tree: no document types, no entities of one's own, bounded in depth and number.

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::OvfError;
use crate::source::name::printable;

const DEEPEST: usize = 64;
const MOST_ELEMENTS: usize = 50_000;
const MOST_ATTRIBUTES: usize = 200_000;

/// An element, by its name without the prefix.
#[derive(Debug, Default)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) children: Vec<Element>,
    pub(super) text: String,
    attributes: Vec<Attribute>,
}

#[derive(Debug)]
struct Attribute {
    prefix: Option<String>,
    name: String,
    value: String,
}

impl Element {
    /// The attribute of this name, OVF's own before those of extensions.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let is_own = |attribute: &&Attribute| matches!(attribute.prefix.as_deref(), None | Some("ovf"));
        let mut named = self.attributes.iter().filter(|attribute| attribute.name == name);
        let found = named.clone().find(is_own).or_else(|| named.next())?;
        Some(&found.value)
    }

    /// The first child of this name.
    pub(super) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// All children of this name.
    pub(super) fn children<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The trimmed text of the first child of this name, unless it is empty.
    pub(super) fn child_text(&self, name: &str) -> Option<&str> {
        self.child(name)
            .map(|child| child.text.trim())
            .filter(|text| !text.is_empty())
    }

    /// This element and all below it, in order.
    pub(super) fn walk(&self) -> Vec<&Element> {
        let (mut found, mut open) = (Vec::new(), vec![self]);
        while let Some(element) = open.pop() {
            found.push(element);
            open.extend(element.children.iter().rev());
        }
        found
    }
}

/// Reads a document.
pub(super) fn parse(bytes: &[u8]) -> Result<Element, OvfError> {
    let text = std::str::from_utf8(bytes).map_err(|_| OvfError::Encoding)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::from_str(text);
    let mut builder = Builder::default();
    loop {
        let event = reader.read_event();
        let position = reader.buffer_position();
        match event.map_err(|source| OvfError::Xml { position, source })? {
            Event::Start(start) => builder.open(&start, position)?,
            Event::Empty(start) => {
                builder.open(&start, position)?;
                builder.close()?;
            }
            Event::End(_) => builder.close()?,
            Event::Text(text) => builder.text(&text.xml10_content())?,
            Event::CData(text) => builder.text(&text.xml10_content())?,
            Event::GeneralRef(reference) => builder.reference(&reference, position)?,
            Event::DocType(_) => return Err(OvfError::DocumentType),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => return builder.finish(),
        }
    }
}

#[derive(Default)]
struct Builder {
    open: Vec<Element>,
    root: Option<Element>,
    elements: usize,
    attributes: usize,
}

impl Builder {
    fn open(&mut self, start: &BytesStart<'_>, position: u64) -> Result<(), OvfError> {
        self.elements += 1;
        bounded(self.elements, MOST_ELEMENTS, "elements")?;
        bounded(self.open.len() + 1, DEEPEST, "levels of elements")?;
        let mut element = Element {
            name: start.local_name().as_ref().to_owned(),
            ..Element::default()
        };
        for attribute in start.attributes() {
            self.attributes += 1;
            bounded(self.attributes, MOST_ATTRIBUTES, "attributes")?;
            let broken = |source| OvfError::Attribute { position, source };
            let attribute = attribute.map_err(|error| broken(error.into()))?;
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(broken)?
                .into_owned();
            let prefix = attribute.key.prefix().map(|prefix| prefix.as_ref().to_owned());
            let name = attribute.key.local_name().as_ref().to_owned();
            element.attributes.push(Attribute { prefix, name, value });
        }
        self.open.push(element);
        Ok(())
    }

    fn close(&mut self) -> Result<(), OvfError> {
        let element = self.open.pop().ok_or(OvfError::Incomplete)?;
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None if self.root.is_none() => self.root = Some(element),
            None => return Err(OvfError::Incomplete),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), OvfError> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return Err(OvfError::Incomplete),
        }
        Ok(())
    }

    fn reference(&mut self, reference: &BytesRef<'_>, position: u64) -> Result<(), OvfError> {
        let resolved = reference
            .resolve_char_ref()
            .map_err(|source| OvfError::Xml { position, source })?;
        if let Some(character) = resolved {
            return self.text(character.encode_utf8(&mut [0; 4]));
        }
        let name = reference.xml10_content();
        match quick_xml::escape::resolve_predefined_entity(&name) {
            Some(text) => self.text(text),
            None => Err(OvfError::Entity {
                entity: printable(&name),
            }),
        }
    }

    fn finish(self) -> Result<Element, OvfError> {
        if self.open.is_empty() {
            self.root.ok_or(OvfError::Incomplete)
        } else {
            Err(OvfError::Incomplete)
        }
    }
}

fn bounded(count: usize, limit: usize, what: &'static str) -> Result<(), OvfError> {
    if count > limit {
        Err(OvfError::TooComplex { what, limit })
    } else {
        Ok(())
    }
}
