//! The XML of an OVF document: its bounds, and whose attributes come first.

use super::OvfError;
pub(super) use crate::source::xml::Element;
use crate::source::xml::{self, Attribute, Bounds, XmlError};

const BOUNDS: Bounds = Bounds {
    depth: 64,
    elements: 50_000,
    attributes: 200_000,
};

impl Element {
    /// The attribute of this name, OVF's own before those of extensions.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let is_own = |attribute: &&Attribute| matches!(attribute.prefix.as_deref(), None | Some("ovf"));
        let mut named = self.attributes.iter().filter(|attribute| attribute.name == name);
        let found = named.clone().find(is_own).or_else(|| named.next())?;
        Some(&found.value)
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
    Ok(xml::parse(bytes, BOUNDS)?)
}

impl From<XmlError> for OvfError {
    fn from(error: XmlError) -> Self {
        match error {
            XmlError::Encoding => Self::Encoding,
            XmlError::Syntax { position, source } => Self::Xml { position, source },
            XmlError::Attribute { position, source } => Self::Attribute { position, source },
            XmlError::Incomplete => Self::Incomplete,
            XmlError::DocumentType => Self::DocumentType,
            XmlError::Entity { entity } => Self::Entity { entity },
            XmlError::TooComplex { what, limit } => Self::TooComplex { what, limit },
        }
    }
}
