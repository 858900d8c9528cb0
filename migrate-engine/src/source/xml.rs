//! XML as a small tree: names without prefixes, no document types, no entities of one's own, bounded in depth and number.

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::name::printable;

/// What a document may have at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Levels of elements.
    pub(super) depth: usize,
    pub(super) elements: usize,
    pub(super) attributes: usize,
}

/// An element, by its name without the prefix.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) children: Vec<Element>,
    pub(super) text: String,
    pub(super) attributes: Vec<Attribute>,
}

/// An attribute, by its name without the prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attribute {
    pub(super) prefix: Option<String>,
    pub(super) name: String,
    pub(super) value: String,
}

/// Why a text is no XML that is read here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum XmlError {
    /// It is no UTF-8.
    #[error("it is not UTF-8")]
    Encoding,
    /// It is no well-formed XML.
    #[error("it is no well-formed XML at byte {position}")]
    Syntax {
        /// Where.
        position: u64,
        /// What is wrong there.
        #[source]
        source: quick_xml::Error,
    },
    /// An attribute is broken.
    #[error("an attribute is broken at byte {position}")]
    Attribute {
        /// Where.
        position: u64,
        /// What is wrong there.
        #[source]
        source: quick_xml::Error,
    },
    /// It ends too early, or goes on after its end.
    #[error("it is not whole")]
    Incomplete,
    /// It declares a document type: entities could be defined in it.
    #[error("it declares a document type")]
    DocumentType,
    /// It uses an entity that XML does not know by itself.
    #[error("it uses the entity `&{entity};`, which is not XML's own")]
    Entity {
        /// The entity's name.
        entity: String,
    },
    /// It is deeper or larger than is read.
    #[error("it has more than {limit} {what}")]
    TooComplex {
        /// Of what there are too many.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
}

impl Element {
    /// The first child of this name.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// All children of this name.
    pub(super) fn children<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text without space around it, unless it is empty.
    pub(super) fn trimmed(&self) -> Option<&str> {
        Some(self.text.trim()).filter(|text| !text.is_empty())
    }

    /// The text of the first child of this name.
    pub(super) fn child_text(&self, name: &str) -> Option<&str> {
        self.child(name)?.trimmed()
    }
}

/// Reads a document.
pub(super) fn parse(bytes: &[u8], bounds: Bounds) -> Result<Element, XmlError> {
    let text = std::str::from_utf8(bytes).map_err(|_| XmlError::Encoding)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::from_str(text);
    let mut builder = Builder::within(bounds);
    loop {
        let event = reader.read_event();
        let position = reader.buffer_position();
        match event.map_err(|source| XmlError::Syntax { position, source })? {
            Event::Start(start) => builder.open(&start, position)?,
            Event::Empty(start) => {
                builder.open(&start, position)?;
                builder.close()?;
            }
            Event::End(_) => builder.close()?,
            Event::Text(text) => builder.text(&text.xml10_content())?,
            Event::CData(text) => builder.text(&text.xml10_content())?,
            Event::GeneralRef(reference) => builder.reference(&reference, position)?,
            Event::DocType(_) => return Err(XmlError::DocumentType),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => return builder.finish(),
        }
    }
}

struct Builder {
    bounds: Bounds,
    open: Vec<Element>,
    root: Option<Element>,
    elements: usize,
    attributes: usize,
}

impl Builder {
    fn within(bounds: Bounds) -> Self {
        Self {
            bounds,
            open: Vec::new(),
            root: None,
            elements: 0,
            attributes: 0,
        }
    }

    fn open(&mut self, start: &BytesStart<'_>, position: u64) -> Result<(), XmlError> {
        self.elements += 1;
        bounded(self.elements, self.bounds.elements, "elements")?;
        bounded(self.open.len() + 1, self.bounds.depth, "levels of elements")?;
        let mut element = Element {
            name: start.local_name().as_ref().to_owned(),
            ..Element::default()
        };
        for attribute in start.attributes() {
            self.attributes += 1;
            bounded(self.attributes, self.bounds.attributes, "attributes")?;
            let broken = |source| XmlError::Attribute { position, source };
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

    fn close(&mut self) -> Result<(), XmlError> {
        let element = self.open.pop().ok_or(XmlError::Incomplete)?;
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None if self.root.is_none() => self.root = Some(element),
            None => return Err(XmlError::Incomplete),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), XmlError> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return Err(XmlError::Incomplete),
        }
        Ok(())
    }

    fn reference(&mut self, reference: &BytesRef<'_>, position: u64) -> Result<(), XmlError> {
        let resolved = reference
            .resolve_char_ref()
            .map_err(|source| XmlError::Syntax { position, source })?;
        if let Some(character) = resolved {
            return self.text(character.encode_utf8(&mut [0; 4]));
        }
        let name = reference.xml10_content();
        match quick_xml::escape::resolve_predefined_entity(&name) {
            Some(text) => self.text(text),
            None => Err(XmlError::Entity {
                entity: printable(&name),
            }),
        }
    }

    fn finish(self) -> Result<Element, XmlError> {
        if self.open.is_empty() {
            self.root.ok_or(XmlError::Incomplete)
        } else {
            Err(XmlError::Incomplete)
        }
    }
}

fn bounded(count: usize, limit: usize, what: &'static str) -> Result<(), XmlError> {
    if count > limit {
        Err(XmlError::TooComplex { what, limit })
    } else {
        Ok(())
    }
}
