//! Where and of what volumes are made: zone, disk offering and project, by name or id, and the bounds of sizes.

use serde::de::DeserializeOwned;

use super::api::Api;
use super::classify;
use super::command::Command;
use super::error::Failure;
use super::open_error::CloudStackOpenError;
use super::volume::is_id;
use super::wire::{Capability, DiskOffering, Named};
use crate::config::CloudStack as Settings;
use crate::model::Bytes;

/// The server's own bound for custom sizes where it names none, GiB.
const MOST_GIB: u64 = 1024;
/// How many of the things that there are an error names.
const SHOWN: usize = 12;

/// Where and of what volumes are made: ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) zone: String,
    pub(super) offering: String,
    pub(super) project: Option<String>,
    pub(super) max_size: Bytes,
}

/// Something with an id and a name.
pub(super) trait HasName: DeserializeOwned {
    /// The command that lists such things, and the key of the list.
    const LIST: (&'static str, &'static str);
    fn id(&self) -> &str;
    fn name(&self) -> &str;
}

/// A zone.
#[derive(Debug, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Zone(Named);

/// A project.
#[derive(Debug, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Project(Named);

impl HasName for Zone {
    const LIST: (&'static str, &'static str) = ("listZones", "zone");
    fn id(&self) -> &str {
        &self.0.id
    }
    fn name(&self) -> &str {
        &self.0.name
    }
}

impl HasName for Project {
    const LIST: (&'static str, &'static str) = ("listProjects", "project");
    fn id(&self) -> &str {
        &self.0.id
    }
    fn name(&self) -> &str {
        &self.0.name
    }
}

impl HasName for DiskOffering {
    const LIST: (&'static str, &'static str) = ("listDiskOfferings", "diskoffering");
    fn id(&self) -> &str {
        &self.id
    }
    fn name(&self) -> &str {
        &self.name
    }
}

impl Place {
    /// Asks the server for everything that the configuration names.
    pub(super) async fn find(api: &Api, settings: &Settings) -> Result<Self, CloudStackOpenError> {
        let capability = capability(api)
            .await
            .map_err(|failure| asking("listCapabilities", failure))?;
        let zone: Zone = named(api, "zone", &settings.zone).await?;
        let offering = custom_offering(api, settings).await?;
        let project: Option<Project> = match &settings.project {
            Some(project) => Some(named(api, "project", project).await?),
            None => None,
        };
        let most = capability
            .customdiskofferingmaxsize
            .filter(|gib| *gib > 0)
            .unwrap_or(MOST_GIB);
        let place = Self {
            zone: zone.0.id,
            offering: offering.id,
            project: project.map(|project| project.0.id),
            max_size: Bytes(
                most.saturating_mul(Bytes::GIB.0)
                    .min(i64::MAX.unsigned_abs() / Bytes::GIB.0 * Bytes::GIB.0),
            ),
        };
        let version = capability.cloudstackversion.as_deref().unwrap_or("unknown");
        tracing::info!(version, ?place, "the management server answers");
        Ok(place)
    }
}

/// What the server can do.
pub(super) async fn capability(api: &Api) -> Result<Capability, Failure> {
    api.object(&Command::read("listCapabilities"), "capability").await
}

/// The disk offering that volumes are made of. Its size must be ours to choose.
pub(super) async fn custom_offering(
    api: &Api,
    settings: &Settings,
) -> Result<DiskOffering, CloudStackOpenError> {
    let offering: DiskOffering = named(api, "disk_offering", &settings.disk_offering).await?;
    if offering.iscustomized {
        return Ok(offering);
    }
    Err(CloudStackOpenError::Named {
        key: "disk_offering",
        named: settings.disk_offering.clone(),
        why: "its size is fixed; volumes need an offering with a custom size".to_owned(),
    })
}

/// The one thing of this name or id. A name that several have is refused: which one is meant is not ours to guess.
pub(super) async fn named<T: HasName>(
    api: &Api,
    key: &'static str,
    wanted: &str,
) -> Result<T, CloudStackOpenError> {
    let (list, entries) = T::LIST;
    let by = if is_id(wanted) { "id" } else { "name" };
    let listed = api
        .list::<T>(&Command::read(list).with(by, wanted), entries)
        .await;
    let mut found = match listed {
        Ok(found) => found,
        Err(failure) if failure.is_absence_of(wanted) => Vec::new(),
        Err(failure) => return Err(asking(list, failure)),
    };
    found.retain(|one| one.id() == wanted || one.name() == wanted);
    let why = match found.len() {
        1 => return Ok(found.remove(0)),
        0 => format!("there is none; there are {}", what_there_is::<T>(api).await),
        _ => {
            let ids: Vec<_> = found.iter().map(T::id).collect();
            format!("several have that name: give one of the ids {}", ids.join(", "))
        }
    };
    Err(CloudStackOpenError::Named {
        key,
        named: wanted.to_owned(),
        why,
    })
}

async fn what_there_is<T: HasName>(api: &Api) -> String {
    let (list, entries) = T::LIST;
    let all = api
        .list::<T>(&Command::read(list), entries)
        .await
        .unwrap_or_default();
    let names: Vec<_> = all
        .iter()
        .take(SHOWN)
        .map(|one| format!("`{}` ({})", one.name(), one.id()))
        .collect();
    if names.is_empty() {
        "none that these keys may see".to_owned()
    } else {
        names.join(", ")
    }
}

fn asking(command: &str, failure: Failure) -> CloudStackOpenError {
    classify::reading(failure, &format!("asking {command}")).into()
}
