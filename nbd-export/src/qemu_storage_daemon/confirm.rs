//! What clients would see: an export confirmed by a handshake of ours, and the health of a daemon.

use super::{daemon::Daemon, exports};
use crate::{
    ExportError, ExportSpec, Health, Published,
    handshake::{self, Dial, HandshakeError, Security, Session},
};

/// Opens the export as a client. With pre-shared keys, which we do not speak, the daemon's own word for node and size must do,
/// and that it refuses the export in the clear.
pub(super) async fn confirm(
    daemon: &Daemon,
    spec: &ExportSpec,
    node: &str,
) -> Result<Published, ExportError> {
    let server = daemon.dial()?;
    let size = spec.source.size();
    let handshake = match server.security {
        Security::Keys => by_its_word(daemon, &server, spec, node).await?,
        Security::Plain | Security::Certificates(_) => {
            async {
                Session::confirm(&server, &spec.name, size, spec.access)
                    .await?
                    .close()
                    .await
            }
            .await
        }
    };
    match handshake {
        Ok(()) => Ok(Published {
            endpoint: daemon.endpoint(&spec.name),
            size,
            access: spec.access,
        }),
        Err(source) => Err(ExportError::Unconfirmed {
            name: spec.name.clone(),
            address: server.address,
            source,
        }),
    }
}

async fn by_its_word(
    daemon: &Daemon,
    server: &Dial,
    spec: &ExportSpec,
    node: &str,
) -> Result<Result<(), HandshakeError>, ExportError> {
    let missing = |what, found: String, expected: String| {
        Ok(Err(HandshakeError::Mismatch {
            what,
            found,
            expected,
        }))
    };
    let Some(mut qmp) = daemon.connect().await? else {
        return missing("server", "none".to_owned(), "one".to_owned());
    };
    let export = exports::find(&mut qmp, &spec.name).await?;
    let served = export.map(|export| export.node).unwrap_or_default();
    if served != node {
        return missing("device", served, node.to_owned());
    }
    let (size, expected) = (exports::size(&mut qmp, node).await?, spec.source.size());
    if size != Some(expected) {
        return missing("size", format!("{size:?}"), expected.to_string());
    }
    Ok(handshake::demands_tls(&server.address, &spec.name).await)
}

pub(super) async fn health(daemon: &Daemon) -> Result<Health, ExportError> {
    let degraded = |reason: String| Ok(Health::Degraded { reason });
    let mut qmp = match daemon.connect().await {
        Ok(Some(qmp)) => qmp,
        Ok(None) => return Ok(Health::Stopped),
        Err(error) => return degraded(error.to_string()),
    };
    let Some(process) = daemon.process() else {
        return degraded("its process is not known".to_owned());
    };
    let exports = exports::list(&mut qmp).await?;
    let server = match daemon.dial() {
        Ok(server) => server,
        Err(error) => return degraded(error.to_string()),
    };
    let serving = Health::Serving {
        pid: process.pid(),
        exports: exports.len(),
    };
    if let Security::Keys = server.security {
        return match exports
            .first()
            .and_then(|export| crate::ExportName::new(export.name.as_str()).ok())
        {
            None => Ok(serving),
            Some(name) => match handshake::demands_tls(&server.address, &name).await {
                Ok(()) => Ok(serving),
                Err(error) => degraded(format!("nbd server does not answer: {error}")),
            },
        };
    }
    match handshake::list(&server).await {
        Err(error) => degraded(format!("nbd server does not answer: {error}")),
        Ok(listed) => match exports.iter().find(|export| !listed.contains(&export.name)) {
            Some(export) => degraded(format!("export {} is not listed", export.name)),
            None => Ok(serving),
        },
    }
}
