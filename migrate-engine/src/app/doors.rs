//! The doors of the service: what the service manager passed on, else what the command line says; and who says where they are.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::ensure;
use serving::{
    Certificate, CertificateFiles, Door, Inherited, ListenError, Listener, SocketFile, certificate,
    is_loopback,
};

use super::human;
use crate::source::vsphere::Fingerprint;

/// The names of sockets (`FileDescriptorName=` of systemd.socket(5)).
const NAMES: &str = "api, discovery, workers";

/// The sockets that the service manager passed on, by what is served on them.
pub(super) struct Passed {
    api: Vec<Listener>,
    discovery: Vec<Listener>,
    workers: Vec<Listener>,
}

/// Where the Unix socket of replications is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketPlace {
    /// Here; where it cannot be made, the service does not start.
    At(PathBuf),
    /// Here, as nobody said anything; where it cannot be made, the service does without.
    Usual(PathBuf),
    /// Nowhere.
    Nowhere,
}

impl Passed {
    pub(super) fn take() -> anyhow::Result<Self> {
        let mut inherited = Inherited::take()?;
        let passed = Self {
            api: inherited.named("api"),
            discovery: inherited.named("discovery"),
            workers: inherited.named("workers"),
        };
        inherited.none_left(NAMES)?;
        Ok(passed)
    }

    /// Whether the service manager listens for workers.
    pub(super) fn has_workers(&self) -> bool {
        !self.workers.is_empty()
    }

    /// Where replications are asked for. A passed Unix socket takes the place of `socket`, one of TCP that of `address`.
    pub(super) fn api(
        &mut self,
        address: SocketAddr,
        socket: SocketPlace,
    ) -> anyhow::Result<(Vec<Listener>, Option<SocketFile>)> {
        let mut listeners = std::mem::take(&mut self.api);
        let (mut file, has_unix) = (
            None,
            listeners.iter().any(|listener| listener.address().is_none()),
        );
        if listeners.iter().all(|listener| listener.address().is_none()) {
            listeners.push(Listener::tcp(address)?);
        }
        if !has_unix && let Some((made, listener)) = unix(socket)? {
            file = Some(made);
            listeners.push(listener);
        }
        Ok((listeners, file))
    }

    /// Where discovery is asked for.
    pub(super) fn discovery(&mut self, address: Option<SocketAddr>) -> anyhow::Result<Vec<Door>> {
        let mut listeners = std::mem::take(&mut self.discovery);
        if listeners.is_empty()
            && let Some(address) = address
        {
            ensure!(
                is_loopback(address),
                "cannot serve discovery on {address}: only on the loopback, such as 127.0.0.1:{}, as it asks nobody for a \
                 token; let callers come through a tunnel",
                address.port()
            );
            listeners.push(Listener::tcp(address)?);
        }
        let doors = listeners.into_iter().map(|listener| {
            let door = Door::near(listener)?;
            Ok(said("discovery", door))
        });
        doors.collect()
    }

    /// Where workers are heard.
    pub(super) fn workers(&mut self, address: Option<SocketAddr>) -> Result<Vec<Listener>, ListenError> {
        let mut listeners = std::mem::take(&mut self.workers);
        if listeners.is_empty()
            && let Some(address) = address
        {
            listeners.push(Listener::tcp(address)?);
        }
        Ok(listeners)
    }
}

fn unix(place: SocketPlace) -> Result<Option<(SocketFile, Listener)>, ListenError> {
    match place {
        SocketPlace::At(path) => Listener::unix(&path).map(Some),
        SocketPlace::Usual(path) => Ok(Listener::unix(&path)
            .inspect_err(|error| tracing::warn!(%error, "the service does without its Unix socket"))
            .ok()),
        SocketPlace::Nowhere => Ok(None),
    }
}

/// Tells where a door is.
pub(super) fn said(what: &str, door: Door) -> Door {
    human::say(&format!("{what}: {door}"));
    door
}

/// The certificate that is shown to whoever comes from elsewhere; made where there is none.
pub(super) fn certificate(files: CertificateFiles) -> anyhow::Result<Certificate> {
    let path = files.certificate.clone();
    if certificate::make_where_missing(&files)? {
        human::say(&format!("a certificate was made: {}", path.display()));
    }
    let certificate = Certificate::read(files)?;
    let print = Fingerprint::of(&certificate.shown());
    human::say(&format!(
        "the fingerprint that callers from elsewhere are to believe: {print}"
    ));
    Ok(certificate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> Passed {
        Passed {
            api: Vec::new(),
            discovery: Vec::new(),
            workers: Vec::new(),
        }
    }

    #[tokio::test]
    async fn who_is_asked_for_no_token_stays_on_the_loopback() {
        // An address that no machine has, should it be tried all the same (RFC 5737).
        let elsewhere = "192.0.2.1:9081".parse().unwrap();
        let error = nothing().discovery(Some(elsewhere)).unwrap_err();
        assert!(error.to_string().contains("only on the loopback"), "{error}");
        assert!(nothing().discovery(None).unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_socket_that_was_passed_takes_the_place_of_ours_of_its_kind() {
        let dir = tempfile::tempdir().unwrap();
        let (path, free) = (dir.path().join("s"), "127.0.0.1:0".parse().unwrap());
        let kinds = |listeners: &[Listener]| {
            let kinds = listeners.iter().map(|listener| listener.address().is_some());
            kinds.collect::<Vec<_>>()
        };
        let ours = || SocketPlace::At(path.clone());
        let (both, file) = nothing().api(free, ours()).unwrap();
        assert_eq!((kinds(&both), file.is_some()), (vec![true, false], true));
        drop((both, file));

        let mut passed = nothing();
        let (_file, listener) = Listener::unix(&dir.path().join("passed")).unwrap();
        passed.api.push(listener);
        let (both, file) = passed.api(free, ours()).unwrap();
        assert_eq!((kinds(&both), file.is_some()), (vec![false, true], false));
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn only_a_socket_that_was_asked_for_must_be_there() {
        let (free, nowhere) = ("127.0.0.1:0".parse().unwrap(), PathBuf::from("/proc/nowhere/s"));
        let (alone, _) = nothing().api(free, SocketPlace::Usual(nowhere.clone())).unwrap();
        assert_eq!(alone.len(), 1);
        let error = nothing().api(free, SocketPlace::At(nowhere)).unwrap_err();
        assert!(error.to_string().contains("/proc/nowhere/s"), "{error}");
    }
}
