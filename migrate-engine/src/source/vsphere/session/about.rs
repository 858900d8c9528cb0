//! What a vCenter or a host says of itself, and the objects that everything begins at.

use std::sync::Arc;

use super::super::http::Channel;
use super::super::reference::Reference;
use super::super::soap::{Call, Element, Xml};
use super::super::{Credentials, VsphereError};
use super::{exchange, nothing, result, service_instance};

/// Any version of the API answers to it.
const OLDEST: &str = "urn:vim25/5.0";
const METHOD: &str = "RetrieveServiceContent";

/// What a vCenter or a host says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// Its whole name with version and build.
    pub full_name: String,
    /// Its version, such as `7.0.3`.
    pub version: String,
    /// Its build, such as `21477706`.
    pub build: String,
    /// The version of its API, such as `7.0.3.0`.
    pub api_version: String,
    /// Whether it is a vCenter; a stand-alone host otherwise.
    pub is_vcenter: bool,
}

/// Where everything begins.
#[derive(Debug)]
pub(in super::super) struct ServiceContent {
    pub(in super::super) about: About,
    pub(in super::super) root_folder: Reference,
    pub(in super::super) property_collector: Reference,
    pub(in super::super) view_manager: Reference,
    session_manager: Reference,
    /// The `SOAPAction` that names the version of the API.
    pub(super) action: String,
}

impl ServiceContent {
    pub(super) async fn retrieve(channel: &Arc<Channel>) -> Result<Self, VsphereError> {
        let call = Call::reading(METHOD, &service_instance(), nothing());
        let patience = channel.patience().answer;
        let answer = exchange(channel, &call, OLDEST, None, patience).await?;
        let response = result(channel, METHOD, answer).await?;
        Self::of(&response).map_err(|missing| VsphereError::Shape {
            endpoint: channel.endpoint().to_string(),
            method: METHOD,
            missing,
        })
    }

    fn of(response: &Element) -> Result<Self, &'static str> {
        let content = response.child("returnval").ok_or("returnval")?;
        let reference = |name| content.child(name).and_then(Reference::of).ok_or(name);
        let about = content.child("about").map(About::of).unwrap_or_default();
        let action = match about.api_version.as_str() {
            "" => OLDEST.to_owned(),
            version => format!("urn:vim25/{version}"),
        };
        Ok(Self {
            about,
            root_folder: reference("rootFolder")?,
            property_collector: reference("propertyCollector")?,
            view_manager: reference("viewManager")?,
            session_manager: reference("sessionManager")?,
            action,
        })
    }

    /// Changes something (there is a new session), but nothing that a second one would spoil.
    pub(super) fn login(&self, credentials: &Credentials) -> Call {
        let arguments = Xml::new()
            .text("userName", credentials.username())
            .text("password", credentials.password());
        Call::changing("Login", &self.session_manager, arguments)
    }

    pub(super) fn logout(&self) -> Call {
        Call::reading("Logout", &self.session_manager, nothing())
    }
}

impl About {
    fn of(about: &Element) -> Self {
        let text = |name| about.child_text(name).unwrap_or_default().to_owned();
        Self {
            full_name: text("fullName"),
            version: text("version"),
            build: text("build"),
            api_version: text("apiVersion"),
            is_vcenter: about.child_text("apiType") == Some("VirtualCenter"),
        }
    }
}
