//! A session with a vCenter or a host: logged in, kept logged in, and logged out at its end.
//!
//! Guarantees:
//! - a call that changes something is sent once or not at all (see [`Care`](super::http::Care)); it is sent again only
//!   after the host itself refused it for want of a login, which says that nothing happened;
//! - a session that the host forgot is renewed once, by whichever call notices first; the others wait for it. A wrong
//!   password is never tried a second time;
//! - the last handle that is dropped logs out, as well as it can; [`Session::logout`] does it and says how it went.

mod about;
mod cookie;
mod state;

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use hyper::header::{ACCEPT, CONTENT_TYPE, COOKIE, HeaderName, SET_COOKIE};
use tokio::task::spawn_blocking;

pub use about::About;
use about::ServiceContent;
use state::LoginState;

use super::http::{Answer, Channel, Outgoing};
use super::reference::Reference;
use super::soap::{Call, Element, SoapError, Xml, read};
use super::{Credentials, Endpoint, Patience, Thumbprint, Trust, TrustError, VsphereError};

const PATH: &str = "/sdk";
/// The largest answer: a page of 100 machines takes a few MiB.
const LARGEST: usize = 64 << 20;
/// Answers of this size are read on a thread of their own.
const LARGE: usize = 256 << 10;
/// Goodbyes are not waited for longer.
const GOODBYE: Duration = Duration::from_secs(5);

/// A session. Clones share it.
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

struct Shared {
    channel: Arc<Channel>,
    credentials: Credentials,
    content: ServiceContent,
    login: LoginState,
}

impl Session {
    /// Logs in. May be repeated: each time makes a session of its own.
    ///
    /// # Errors
    /// [`VsphereError::WrongCredentials`], or what keeps us from the host; nothing is left behind.
    pub async fn login(
        endpoint: &Endpoint,
        trust: &Trust,
        credentials: Credentials,
        patience: Patience,
    ) -> Result<Self, VsphereError> {
        let (to, trust) = (endpoint.clone(), trust.clone());
        let channel = spawn_blocking(move || Channel::new(to, &trust, patience))
            .await
            .map_err(|error| TrustError {
                place: "the certificates to trust".to_owned(),
                source: error.into(),
            })??;
        let channel = Arc::new(channel);
        let content = ServiceContent::retrieve(&channel).await?;
        let shared = Shared {
            channel,
            credentials,
            content,
            login: LoginState::default(),
        };
        shared.renew(0).await?;
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The vCenter or host.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        self.shared.channel.endpoint()
    }

    /// How long it waits for what.
    #[must_use]
    pub fn patience(&self) -> &Patience {
        self.shared.channel.patience()
    }

    /// What it says to be.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.shared.content.about
    }

    /// The SHA-1 of the certificate that the host showed last and that was believed, for tools that want it.
    #[must_use]
    pub fn thumbprint(&self) -> Option<Thumbprint> {
        self.shared.channel.thumbprint()
    }

    /// Who we are there.
    pub(super) fn credentials(&self) -> &Credentials {
        &self.shared.credentials
    }

    /// The cookie of the session as a `Cookie` header has it, `vmware_soap_session="…"` with its quotes: opens
    /// `/folder` to others, such as nbdkit. As good as a password until the session ends.
    #[must_use]
    pub fn cookie(&self) -> Option<String> {
        self.shared.login.cookie()
    }

    /// Logs out. Further calls, also by clones, give [`VsphereError::LoggedOut`]. Once more, it does nothing.
    ///
    /// # Errors
    /// When the host could not be told: it forgets the session by itself after half an hour.
    pub async fn logout(&self) -> Result<(), VsphereError> {
        let Some(cookie) = self.shared.login.end() else {
            return Ok(());
        };
        let call = self.shared.content.logout();
        match self.shared.attempt(&call, Some(cookie), GOODBYE).await {
            Err(error) if error.is_fault("NotAuthenticated") => Ok(()),
            other => other.map(drop),
        }
    }

    pub(super) fn content(&self) -> &ServiceContent {
        &self.shared.content
    }

    pub(super) fn channel(&self) -> &Arc<Channel> {
        &self.shared.channel
    }

    /// Counts the logins: what lives in a session, such as a view, is gone when it grew.
    pub(super) fn generation(&self) -> u64 {
        self.shared.login.generation()
    }

    /// Logs in once more, unless somebody did since `generation`.
    pub(super) async fn renew(&self, generation: u64) -> Result<(), VsphereError> {
        self.shared.renew(generation).await
    }

    /// Calls, within the usual patience.
    pub(super) async fn call(&self, call: &Call) -> Result<Element, VsphereError> {
        self.call_within(call, self.patience().answer).await
    }

    /// Calls; a session that the host forgot is renewed once.
    pub(super) async fn call_within(&self, call: &Call, patience: Duration) -> Result<Element, VsphereError> {
        let shared = &self.shared;
        let (generation, cookie) = shared.current()?;
        match shared.attempt(call, cookie, patience).await {
            Err(error) if error.is_fault("NotAuthenticated") => {
                // The host refused before it did anything: this may be sent again whatever it is.
                shared.renew(generation).await?;
                let (_, cookie) = shared.current()?;
                shared.attempt(call, cookie, patience).await
            }
            other => other,
        }
    }

    /// The error of an answer to `method` that lacks something.
    pub(super) fn lacks(&self, method: &'static str, missing: &'static str) -> VsphereError {
        VsphereError::Shape {
            endpoint: self.endpoint().to_string(),
            method,
            missing,
        }
    }
}

impl Shared {
    fn current(&self) -> Result<(u64, Option<String>), VsphereError> {
        self.login.current().ok_or_else(|| VsphereError::LoggedOut {
            endpoint: self.channel.endpoint().to_string(),
        })
    }

    async fn attempt(
        &self,
        call: &Call,
        cookie: Option<String>,
        patience: Duration,
    ) -> Result<Element, VsphereError> {
        let answer = exchange(&self.channel, call, &self.content.action, cookie, patience).await?;
        result(&self.channel, call.method, answer).await
    }

    async fn renew(&self, generation: u64) -> Result<(), VsphereError> {
        let _gate = self.login.gate().await;
        let (current, _) = self.current()?;
        if current != generation {
            return Ok(());
        }
        let call = self.content.login(&self.credentials);
        let patience = self.channel.patience().answer;
        // Without the old cookie: whoever is logged in may not log in.
        let answer = exchange(&self.channel, &call, &self.content.action, None, patience).await?;
        let cookie = cookie::of_session(answer.headers.get_all(SET_COOKIE));
        match result(&self.channel, call.method, answer).await {
            Ok(_) => {
                self.login.renewed(cookie);
                Ok(())
            }
            Err(error) if error.is_fault("InvalidLogin") => Err(VsphereError::WrongCredentials {
                endpoint: self.channel.endpoint().to_string(),
                username: self.credentials.username().to_owned(),
            }),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let (Some(cookie), Ok(runtime)) = (self.login.end(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let (channel, call) = (Arc::clone(&self.channel), self.content.logout());
        let action = self.content.action.clone();
        // Best effort, and bounded: the host forgets us anyway.
        drop(runtime.spawn(async move {
            let _ = exchange(&channel, &call, &action, Some(cookie), GOODBYE).await;
        }));
    }
}

/// Sends a call and reads the answer's bytes.
async fn exchange(
    channel: &Arc<Channel>,
    call: &Call,
    action: &str,
    cookie: Option<String>,
    patience: Duration,
) -> Result<Answer, VsphereError> {
    let mut outgoing = Outgoing::new(Method::POST, PATH)
        .header(CONTENT_TYPE, "text/xml; charset=utf-8")
        .header(ACCEPT, "text/xml")
        .header(HeaderName::from_static("soapaction"), action)
        .body(call.document().to_owned());
    if let Some(cookie) = cookie {
        outgoing = outgoing.header(COOKIE, cookie);
    }
    Ok(channel.exchange(&outgoing, call.care, patience, LARGEST).await?)
}

async fn result(
    channel: &Arc<Channel>,
    method: &'static str,
    answer: Answer,
) -> Result<Element, VsphereError> {
    let read = if answer.body.len() < LARGE {
        read(method, &answer)
    } else {
        let reading = spawn_blocking(move || read(method, &answer)).await;
        reading.unwrap_or(Err(SoapError::Shape))
    };
    let endpoint = channel.endpoint().to_string();
    read.map_err(|error| match error {
        SoapError::Fault(fault) if fault.is("NoPermission") => VsphereError::NoPermission {
            endpoint,
            method,
            privilege: fault
                .detail("privilegeId")
                .unwrap_or("that it asks for")
                .to_owned(),
        },
        SoapError::Fault(fault) => VsphereError::Fault {
            endpoint,
            method,
            fault,
        },
        SoapError::Status(status) => VsphereError::NotTheApi {
            endpoint,
            method,
            status,
        },
        SoapError::Xml(source) => VsphereError::Xml {
            endpoint,
            method,
            source,
        },
        SoapError::Shape => VsphereError::Shape {
            endpoint,
            method,
            missing: "result",
        },
    })
}

/// Arguments of no call.
fn nothing() -> Xml {
    Xml::new()
}

/// The object that answers before a login.
fn service_instance() -> Reference {
    Reference::new("ServiceInstance", "ServiceInstance")
}
