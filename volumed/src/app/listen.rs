//! The doors of the daemon: the service manager's sockets where it passed some, else its own.

use std::sync::Arc;

use serving::{Certificate, Door, Inherited, ListenError, Listener, SocketFile};

use super::AppError;
use crate::config::Config;

/// Every socket that is served, and the files to remove at the end.
#[derive(Debug)]
pub(super) struct Doors {
    pub(super) open: Vec<Door>,
    pub(super) files: Vec<SocketFile>,
    /// What is shown over TCP.
    pub(super) certificate: Option<Arc<Certificate>>,
}

impl Doors {
    /// A socket of the service manager takes the place of ours: any of it that of our Unix socket, one of TCP that of
    /// `listen`.
    pub(super) fn open(config: &Config) -> Result<Self, AppError> {
        let tls = config.http.tls.clone();
        let certificate = tls
            .map(|tls| Certificate::read(tls.files, tls.clients))
            .transpose()?;
        let certificate = certificate.map(Arc::new);
        let mut listeners = Inherited::take()?.rest();
        let mut files = Vec::new();
        if listeners.is_empty()
            && let Some(path) = &config.socket
        {
            let (file, listener) = Listener::unix(path)?;
            files.push(file);
            listeners.push(listener);
            tracing::info!(socket = %path.display(), "listening");
        }
        if let Some(address) = config.listen
            && listeners.iter().all(|listener| listener.address().is_none())
        {
            listeners.push(Listener::tcp(address)?);
        }
        let open = listeners
            .into_iter()
            .map(|listener| open(listener, certificate.as_ref()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            open,
            files,
            certificate,
        })
    }
}

fn open(listener: Listener, certificate: Option<&Arc<Certificate>>) -> Result<Door, ListenError> {
    let (address, tls) = (listener.address(), certificate.is_some());
    let door = match certificate {
        Some(certificate) if address.is_some() => Door::far(listener, certificate),
        _ => Door::near(listener)?,
    };
    if let Some(address) = address {
        tracing::info!(%address, tls, "listening");
    }
    Ok(door)
}
