//! The snapshots of a machine, as a tree.

use jiff::Timestamp;

use super::super::entity_name::decoded;
use super::super::reference::Reference;
use super::super::soap::Element;

/// A snapshot and those that were made on top of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotNode {
    /// Its id, `snapshot-70`.
    pub id: String,
    /// Its name. Not unique.
    pub name: String,
    /// What whoever made it wrote there.
    pub description: String,
    /// When it was made, by the vCenter's clock.
    pub created: Option<Timestamp>,
    /// Whether the guest's file systems were brought to rest for it.
    pub is_quiesced: bool,
    /// Those on top of it.
    pub children: Vec<SnapshotNode>,
}

impl SnapshotNode {
    /// The object of this snapshot.
    #[must_use]
    pub fn reference(&self) -> Reference {
        Reference::new("VirtualMachineSnapshot", &self.id)
    }

    /// All of `roots` and what is on top of them, parents before children.
    #[must_use]
    pub fn walk(roots: &[Self]) -> Vec<&Self> {
        let mut open: Vec<&Self> = roots.iter().rev().collect();
        let mut found = Vec::new();
        while let Some(node) = open.pop() {
            found.push(node);
            open.extend(node.children.iter().rev());
        }
        found
    }

    /// Those among `roots` whose name begins with `prefix` and whose description is `owner`.
    #[must_use]
    pub fn owned<'a>(roots: &'a [Self], prefix: &str, owner: &str) -> Vec<&'a Self> {
        let mut all = Self::walk(roots);
        all.retain(|node| node.name.starts_with(prefix) && node.description == owner);
        all
    }

    /// Reads the property `snapshot` of a machine.
    pub(in super::super) fn tree(info: &Element) -> Vec<Self> {
        info.children("rootSnapshotList").filter_map(Self::of).collect()
    }

    fn of(element: &Element) -> Option<Self> {
        let text = |name| element.child_text(name).unwrap_or_default();
        Some(Self {
            id: element.child("snapshot").and_then(Reference::of)?.id,
            name: decoded(text("name")),
            description: text("description").to_owned(),
            created: text("createTime").parse().ok(),
            is_quiesced: element.child_flag("quiesced").unwrap_or(false),
            children: element
                .children("childSnapshotList")
                .filter_map(Self::of)
                .collect(),
        })
    }
}
