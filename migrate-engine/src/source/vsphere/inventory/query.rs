//! The question for machines.

use super::super::entity_name::decoded;
use super::super::properties::{Object, Of, Select};
use super::super::reference::Reference;
use super::super::soap::{Call, Xml};
use super::super::{Session, VsphereError};
use super::assembly::{SETTINGS, machine, placed};
use super::{Inventory, Machine, Places};

/// What places a machine: enough to filter by.
const PLACED: [&str; 3] = ["name", "parent", "parentVApp"];
const DESCRIBED: [&str; 20] = [
    "name",
    "parent",
    "parentVApp",
    "runtime.host",
    "runtime.powerState",
    "runtime.connectionState",
    "runtime.consolidationNeeded",
    "capability.changeTrackingSupported",
    "snapshot",
    "config.instanceUuid",
    "config.uuid",
    "config.guestFullName",
    "config.guestId",
    "config.version",
    "config.files.vmPathName",
    "config.firmware",
    "config.template",
    "config.keyId",
    "config.changeTrackingEnabled",
    "config.hardware",
];
/// Which machines are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// The name, path or id of a machine. Asked for by one, it is also told for each disk whether it is tracked.
    pub machine: Option<String>,
    /// The name or path of a datacenter.
    pub datacenter: Option<String>,
}

impl Session {
    /// Finds machines. Reads only; the time grows with the number of machines, not faster.
    ///
    /// # Errors
    /// [`VsphereError::DatacenterNotFound`], or what keeps us from the vCenter. That no machine matches is no error here:
    /// [`Inventory::machine`] says it.
    pub async fn discover(&self, query: &Query) -> Result<Inventory, VsphereError> {
        let generation = self.generation();
        match self.discover_once(query).await {
            // What was half-read went with the session, or with the connection.
            Err(error)
                if self.generation() != generation
                    || matches!(&error, VsphereError::Http(lost) if lost.is_broken()) =>
            {
                tracing::debug!(endpoint = %self.endpoint(), %error, "machines are asked for again");
                self.discover_once(query).await
            }
            other => other,
        }
    }

    async fn discover_once(&self, query: &Query) -> Result<Inventory, VsphereError> {
        let view = self.create_view().await?;
        let found = self.found(query, &view).await;
        let closing = Call::changing("DestroyView", &view, Xml::new());
        if let Err(error) = self.call(&closing).await {
            // It goes with the session.
            tracing::debug!(endpoint = %self.endpoint(), %error, "a view could not be closed");
        }
        found
    }

    async fn create_view(&self) -> Result<Reference, VsphereError> {
        const METHOD: &str = "CreateContainerView";
        let content = self.content();
        let arguments = Places::selects()
            .iter()
            .map(|select| select.kind)
            .chain(["VirtualMachine"])
            .fold(
                Xml::new().reference("container", &content.root_folder),
                |arguments, kind| arguments.text("type", kind),
            )
            .text("recursive", "true");
        let response = self
            .call(&Call::changing(METHOD, &content.view_manager, arguments))
            .await?;
        let view = response.child("returnval").and_then(Reference::of);
        view.ok_or_else(|| self.lacks(METHOD, "view"))
    }

    async fn found(&self, query: &Query, view: &Reference) -> Result<Inventory, VsphereError> {
        let is_narrow = query.machine.is_some();
        let mut selects = Places::selects();
        let wanted: &[&str] = if is_narrow { &PLACED } else { &DESCRIBED };
        selects.push(Select::new("VirtualMachine", wanted));
        let mut places = Places::default();
        let mut machines = Vec::new();
        for object in self.retrieve(Of::View(view), selects).await? {
            machines.extend(places.take(object));
        }
        query.check(&places)?;
        machines.retain(|machine| query.matches(machine, &places));
        if is_narrow && !machines.is_empty() {
            machines = self.described(&machines).await?;
        }
        let mut machines: Vec<Machine> = machines.iter().map(|object| machine(object, &places)).collect();
        machines.sort_by(|a, b| (&a.path, &a.id).cmp(&(&b.path, &b.id)));
        Ok(Inventory {
            machines,
            endpoint: self.endpoint().clone(),
        })
    }

    async fn described(&self, machines: &[Object]) -> Result<Vec<Object>, VsphereError> {
        let references: Vec<Reference> = machines.iter().map(|object| object.reference.clone()).collect();
        let mut select = Select::new("VirtualMachine", &DESCRIBED);
        select.paths.push(SETTINGS);
        self.retrieve(Of::These(&references), vec![select]).await
    }
}

impl Query {
    fn check(&self, places: &Places) -> Result<(), VsphereError> {
        let Some(wanted) = &self.datacenter else {
            return Ok(());
        };
        let present = places.datacenters();
        let is_it = |path: &String| {
            is_datacenter(
                wanted,
                path.trim_start_matches('/'),
                path.rsplit('/').next().unwrap_or_default(),
            )
        };
        if present.iter().any(is_it) {
            return Ok(());
        }
        Err(VsphereError::DatacenterNotFound {
            wanted: wanted.clone(),
            present,
        })
    }

    fn matches(&self, machine: &Object, places: &Places) -> bool {
        let (name, place) = placed(machine, places);
        let is_named = |wanted: &String| {
            *wanted == place.path || *wanted == machine.reference.id || *wanted == decoded(&name)
        };
        let is_inside = |wanted: &String| match (&place.datacenter_path, &place.datacenter) {
            (Some(path), Some(name)) => is_datacenter(wanted, path, name),
            _ => false,
        };
        self.machine.as_ref().is_none_or(is_named) && self.datacenter.as_ref().is_none_or(is_inside)
    }
}

fn is_datacenter(wanted: &str, path: &str, name: &str) -> bool {
    wanted == name || decoded(name) == wanted || wanted.trim_start_matches('/') == path
}
