//! Everything around machines: folders, datacenters, hosts, datastores and networks, by their ids.

use std::collections::HashMap;

use super::super::entity_name::decoded;
use super::super::properties::{Object, Select};

/// No real inventory is deeper; a loop in an answer ends here.
const DEEPEST: usize = 64;

/// What there is besides machines.
#[derive(Debug, Default)]
pub(in super::super) struct Places {
    containers: HashMap<String, Container>,
    hosts: HashMap<String, String>,
    pub(super) datastores: HashMap<String, Store>,
    /// The names of networks by their ids, and of distributed ones by their keys.
    pub(super) networks: HashMap<String, String>,
}

/// A datastore.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) name: String,
    pub(super) kind: Option<String>,
}

#[derive(Debug)]
struct Container {
    /// As the vCenter writes it: `/` is `%2f`.
    name: String,
    parent: Option<String>,
    is_datacenter: bool,
}

/// Where a machine is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Place {
    pub(super) path: String,
    pub(super) datacenter: Option<String>,
    pub(super) datacenter_path: Option<String>,
}

impl Places {
    /// What to ask for, over a view of everything.
    pub(super) fn selects() -> Vec<Select> {
        vec![
            Select::new("Folder", &["name", "parent"]),
            Select::new("Datacenter", &["name", "parent"]),
            Select::new("VirtualApp", &["name", "parentFolder", "parent"]),
            Select::new("HostSystem", &["name"]),
            Select::new("Datastore", &["name", "summary.type"]),
            Select::new("Network", &["name"]),
            Select::new("DistributedVirtualPortgroup", &["name", "key"]),
        ]
    }

    /// Takes an object in; gives it back if it is none of these.
    pub(super) fn take(&mut self, object: Object) -> Option<Object> {
        let Some(name) = object.text("name").map(str::to_owned) else {
            // Without a name there is nothing to say about a place.
            return (object.reference.kind == "VirtualMachine").then_some(object);
        };
        let id = object.reference.id.clone();
        match object.reference.kind.as_str() {
            "VirtualMachine" => return Some(object),
            "Folder" | "StoragePod" | "Datacenter" | "VirtualApp" => {
                self.containers.insert(id, Container::of(&object, name));
            }
            "HostSystem" => {
                self.hosts.insert(id, decoded(&name));
            }
            "Datastore" => {
                let kind = object.text("summary.type").map(str::to_owned);
                let name = decoded(&name);
                self.datastores.insert(id, Store { name, kind });
            }
            _ => {
                let name = decoded(&name);
                if let Some(key) = object.text("key") {
                    self.networks.insert(key.to_owned(), name.clone());
                }
                self.networks.insert(id, name);
            }
        }
        None
    }

    pub(super) fn host(&self, id: &str) -> Option<String> {
        self.hosts.get(id).cloned()
    }

    /// Every datacenter's path.
    pub(super) fn datacenters(&self) -> Vec<String> {
        let datacenters = self
            .containers
            .iter()
            .filter(|(_, container)| container.is_datacenter);
        let mut paths: Vec<String> = datacenters.map(|(id, _)| self.place("", Some(id)).path).collect();
        paths.iter_mut().for_each(|path| {
            path.pop();
        });
        paths.sort();
        paths
    }

    /// The place of something called `name` in the container `parent`. The root folder is no part of a path.
    pub(super) fn place(&self, name: &str, parent: Option<&str>) -> Place {
        let mut names = vec![name];
        let mut datacenter = None;
        let mut above = parent;
        while let Some(container) = above.and_then(|id| self.containers.get(id)) {
            if names.len() > DEEPEST {
                break;
            }
            // A view does not hold the folder that it begins at, but other ways to ask might.
            if container.parent.is_none() && !container.is_datacenter {
                break;
            }
            names.push(&container.name);
            if container.is_datacenter {
                datacenter = Some((decoded(&container.name), names.len() - 1));
            }
            above = container.parent.as_deref();
        }
        let joined = |names: &[&str]| names.iter().rev().copied().collect::<Vec<_>>().join("/");
        Place {
            datacenter_path: datacenter.as_ref().map(|(_, at)| joined(&names[*at..])),
            datacenter: datacenter.map(|(name, _)| name),
            path: format!("/{}", joined(&names)),
        }
    }
}

impl Container {
    fn of(object: &Object, name: String) -> Self {
        let parent = object
            .reference("parentFolder")
            .or_else(|| object.reference("parent"));
        Self {
            name,
            parent: parent.map(|parent| parent.id),
            is_datacenter: object.reference.kind == "Datacenter",
        }
    }
}
