//! A managed object reference: what kind of object, and which one.

use std::fmt;

use super::soap::Element;

/// Names an object of one vCenter or host: `VirtualMachine` `vm-57`. Stays the same over the object's life there, but
/// says nothing to another vCenter, nor to the host that the machine runs on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// The kind of object, such as `VirtualMachine`.
    pub kind: String,
    /// Which one of that kind, such as `vm-57`.
    pub id: String,
}

impl Reference {
    /// The object `id` of this kind.
    #[must_use]
    pub fn new(kind: impl Into<String>, id: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            id: id.into(),
        }
    }

    /// The virtual machine `id`.
    #[must_use]
    pub fn machine(id: impl Into<String>) -> Self {
        Self::new("VirtualMachine", id)
    }

    /// The reference that `element` holds. In a `val` it carries `type` and `xsi:type`: the one without prefix counts.
    pub(super) fn of(element: &Element) -> Option<Self> {
        let kind = element.kind()?;
        let id = element.trimmed()?;
        Some(Self::new(kind, id))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.id)
    }
}
