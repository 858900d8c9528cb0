//! `POST /api/v1/discover`: what machines a source has, for whoever brings along who he is there.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Body;
use super::problem::{Code, Problem};
use super::vm::Vm;
use crate::model::{MachineSpec, Secret};
use crate::source::SourceFailure;

/// Callers give up after 15 seconds.
const PATIENCE: Duration = Duration::from_secs(14);

/// Finds machines for whoever says who he is at the source.
#[async_trait]
pub trait Discoverer: Send + Sync {
    /// The machines that are asked for, as they are now.
    ///
    /// # Errors
    /// What keeps us from the source.
    async fn discover(&self, request: &DiscoveryRequest) -> Result<Vec<MachineSpec>, SourceFailure>;
}

/// What machines are asked for, and by whom.
#[derive(Debug, Clone)]
pub struct DiscoveryRequest {
    /// The vCenter, or a host alone.
    pub vcenter: String,
    /// Who asks.
    pub username: String,
    /// His password.
    pub password: Secret,
    /// Only in this datacenter.
    pub datacenter: Option<String>,
    /// Only the machine of this name.
    pub filter: Option<String>,
}

/// Where machines are looked for, and who asks.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Discovery)]
pub(super) struct Asked {
    /// The vCenter, or a host alone.
    #[schema(pattern = r"\S")]
    vcenter: String,
    username: String,
    password: String,
    /// Only in this datacenter; an empty text says nothing.
    #[serde(default)]
    datacenter: Option<String>,
    /// Only the machine of this name; an empty text says nothing.
    #[serde(default)]
    filter: Option<String>,
}

/// Machines, as callers of the discovery know them.
#[derive(Serialize, ToSchema)]
#[schema(as = MachineList)]
pub(super) struct Found {
    vms: Vec<Vm>,
}

impl From<Vec<MachineSpec>> for Found {
    fn from(machines: Vec<MachineSpec>) -> Self {
        Self {
            vms: machines.into_iter().map(Vm::from).collect(),
        }
    }
}

pub(super) fn routes() -> Router<Arc<dyn Discoverer>> {
    Router::new().route("/discover", post(discover))
}

async fn discover(
    State(discoverer): State<Arc<dyn Discoverer>>,
    Body(asked): Body<Asked>,
) -> Result<Json<Found>, Problem> {
    let request = asked.whole()?;
    let late = || {
        Problem::new(
            Code::SourceUnreachable,
            format!("{} has not answered within {PATIENCE:?}", request.vcenter),
            "check the source's address and that it is up; give a filter or a datacenter to ask for less",
        )
    };
    let found = tokio::time::timeout(PATIENCE, discoverer.discover(&request)).await;
    let found = found.map_err(|_| late())??;
    Ok(Json(found.into()))
}

/// The machines, as the API answers them.
pub fn discovered(machines: Vec<MachineSpec>) -> String {
    let found = Found::from(machines);
    serde_json::to_string_pretty(&found).expect("machines have only strings and numbers")
}

impl Asked {
    fn whole(self) -> Result<DiscoveryRequest, Problem> {
        for (name, value) in [
            ("vcenter", &self.vcenter),
            ("username", &self.username),
            ("password", &self.password),
        ] {
            if value.trim().is_empty() {
                return Err(Problem::invalid(
                    format!("`{name}` is empty"),
                    "vcenter, username and password are needed",
                ));
            }
        }
        Ok(DiscoveryRequest {
            vcenter: self.vcenter,
            username: self.username,
            password: Secret::new(self.password),
            datacenter: given(self.datacenter),
            filter: given(self.filter),
        })
    }
}

/// Callers write an empty text for what they leave away.
pub(super) fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}
