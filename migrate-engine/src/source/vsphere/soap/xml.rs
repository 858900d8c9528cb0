//! The XML of an answer: its bounds, and what its elements say of types and numbers.

pub(in super::super) use crate::source::xml::Element;
use crate::source::xml::{self, Attribute, Bounds, XmlError};

/// A page of 100 machines with 60 disks each has about half of it.
const BOUNDS: Bounds = Bounds {
    depth: 128,
    elements: 2_000_000,
    attributes: 4_000_000,
};

impl Element {
    /// The attribute `type`: in a reference, the kind of object.
    pub(in super::super) fn kind(&self) -> Option<&str> {
        self.type_where(|attribute| attribute.prefix.is_none())
    }

    /// The type of the value, `xsi:type` by whatever prefix, without the prefix of its own: which one stands for the namespace is the
    /// sender's choice.
    pub(in super::super) fn xsi_type(&self) -> &str {
        self.type_where(|attribute| attribute.prefix.is_some())
            .unwrap_or_default()
    }

    fn type_where(&self, is_meant: impl Fn(&Attribute) -> bool) -> Option<&str> {
        let mut types = self
            .attributes
            .iter()
            .filter(|attribute| attribute.name == "type");
        let value = types.rfind(|attribute| is_meant(attribute))?.value.trim();
        Some(value.rsplit(':').next().unwrap_or(value))
    }

    /// The first child of a child, and so on.
    pub(in super::super) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |element, name| element.child(name))
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
    xml::parse(bytes, BOUNDS)
}
