//! XML as a small tree: names without prefixes, unknown elements kept, no document types, bounded.

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::xml_error::XmlError;

const DEEPEST: usize = 128;
/// A page of 100 machines with 60 disks each has about half of it.
const MOST_ELEMENTS: usize = 2_000_000;

/// An element, by its name without the prefix.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(in super::super) struct Element {
    pub(in super::super) name: String,
    pub(in super::super) children: Vec<Element>,
    pub(in super::super) text: String,
    kind: Option<Box<str>>,
    xsi_type: Option<Box<str>>,
}

impl Element {
    /// The attribute `type`: in a reference, the kind of object.
    pub(in super::super) fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }

    /// The type of the value, `xsi:type` by whatever prefix, without the prefix of its own.
    pub(in super::super) fn xsi_type(&self) -> &str {
        self.xsi_type.as_deref().unwrap_or_default()
    }

    /// The first child of this name.
    pub(in super::super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// All children of this name.
    pub(in super::super) fn children<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The first child of a child, and so on.
    pub(in super::super) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |element, name| element.child(name))
    }

    /// The text without space around it, unless it is empty.
    pub(in super::super) fn trimmed(&self) -> Option<&str> {
        Some(self.text.trim()).filter(|text| !text.is_empty())
    }

    /// The text of the first child of this name.
    pub(in super::super) fn child_text(&self, name: &str) -> Option<&str> {
        self.child(name)?.trimmed()
    }

    /// The same, as a number.
    pub(in super::super) fn child_number<N: std::str::FromStr>(&self, name: &str) -> Option<N> {
        self.child_text(name)?.parse().ok()
    }

    /// The same, as a truth value.
    pub(in super::super) fn child_flag(&self, name: &str) -> Option<bool> {
        truth(self.child_text(name)?)
    }
}

/// `true` and `false` as XML writes them.
pub(in super::super) fn truth(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// Reads a document.
pub(in super::super) fn parse(bytes: &[u8]) -> Result<Element, XmlError> {
    let text = std::str::from_utf8(bytes).map_err(|_| XmlError::Encoding)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::from_str(text);
    let mut builder = Builder::default();
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

#[derive(Default)]
struct Builder {
    open: Vec<Element>,
    root: Option<Element>,
    elements: usize,
}

impl Builder {
    fn open(&mut self, start: &BytesStart<'_>, position: u64) -> Result<(), XmlError> {
        self.elements += 1;
        if self.elements > MOST_ELEMENTS || self.open.len() >= DEEPEST {
            return Err(XmlError::TooComplex);
        }
        let mut element = Element {
            name: start.local_name().as_ref().to_owned(),
            ..Element::default()
        };
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| XmlError::Syntax {
                position,
                source: error.into(),
            })?;
            if attribute.key.local_name().as_ref() != "type" {
                continue;
            }
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|source| XmlError::Syntax { position, source })?;
            let value = value.trim();
            let local = value.rsplit(':').next().unwrap_or(value);
            // Which prefix stands for the namespace of `xsi:type` is the sender's choice.
            match attribute.key.prefix() {
                None => element.kind = Some(local.into()),
                Some(_) => element.xsi_type = Some(local.into()),
            }
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
            None => Err(XmlError::Entity),
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
