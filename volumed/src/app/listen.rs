//! The doors of the daemon: the service manager's sockets where it passed some, else its own.

use serving::{Door, Inherited, ListenError, Listener, SocketFile};

use crate::config::Config;

/// Every socket that is served, and the files to remove at the end.
#[derive(Debug)]
pub(super) struct Doors {
    pub(super) open: Vec<Door>,
    pub(super) files: Vec<SocketFile>,
}

impl Doors {
    /// A socket of the service manager takes the place of ours: any of it that of our Unix socket, one of TCP that of
    /// `listen`.
    pub(super) fn open(config: &Config) -> Result<Self, ListenError> {
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
        let open = listeners.into_iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { open, files })
    }
}

fn open(listener: Listener) -> Result<Door, ListenError> {
    if let Some(address) = listener.address() {
        tracing::info!(%address, "listening");
    }
    Ok(Door::near(listener)?)
}
