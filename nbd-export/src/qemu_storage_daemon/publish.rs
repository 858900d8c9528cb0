//! Publishing: what is there already is found and confirmed, what is not is added, and what fails is taken back.

use super::{
    confirm::confirm,
    daemon::Daemon,
    daemons::Daemons,
    exports::{self, Export},
    guard,
    qmp::Qmp,
};
use crate::{AllowList, ExportError, ExportName, ExportSpec, Published, Withdrawal, tls::check_listen};

/// An export that is there, and the daemon that serves it.
struct Served {
    export: Export,
    /// `None`: the shared one.
    own: Option<Daemon>,
}

pub(super) async fn publish(daemons: &Daemons, spec: &ExportSpec) -> Result<Published, ExportError> {
    let ExportSpec {
        name,
        source,
        access,
        allow,
    } = spec;
    source.verify().map_err(|source| ExportError::Source {
        name: name.clone(),
        source,
    })?;
    let tls = daemons.shared.tls.as_ref();
    check_listen(&daemons.shared.listen, tls)?;
    if let Some(problem) = allow.as_ref().and_then(|allow| guard::objection(tls, allow)) {
        return Err(ExportError::AllowList {
            name: name.clone(),
            problem,
        });
    }
    let mut shared = daemons.shared.ensure(None).await?;
    daemons.sweep().await?;
    let others = served(daemons, &mut shared).await?;
    let node = exports::node_name(source.identity(), *access);
    if let Some(there) = others.iter().find(|served| served.export.name == name.as_str()) {
        drop(shared);
        return again(daemons, spec, there, &node).await;
    }
    if let Some(other) = others
        .into_iter()
        .find(|served| exports::same_device(&served.export.node, &node))
    {
        return Err(ExportError::SourceTaken {
            name: name.clone(),
            other: other.export.name,
        });
    }
    let published = match allow {
        None => add_or_withdraw(&daemons.shared, shared, spec, &node).await,
        Some(allow) => publish_alone(daemons, spec, allow, &node).await,
    }?;
    tracing::info!(%name, device = %source.identity(), path = %source.path().display(), ?access, "exported");
    Ok(published)
}

/// Withdraws an export that has a daemon of its own, and ends that.
pub(super) async fn unpublish_own(
    own: &Daemon,
    name: &ExportName,
    withdrawal: Withdrawal,
) -> Result<(), ExportError> {
    let Some(mut qmp) = own.connect().await? else {
        return Ok(());
    };
    exports::remove(&mut qmp, name, withdrawal).await?;
    own.end(qmp).await?;
    tracing::info!(%name, "export withdrawn");
    Ok(())
}

async fn served(daemons: &Daemons, shared: &mut Qmp) -> Result<Vec<Served>, ExportError> {
    exports::sweep(shared).await?;
    let mut all: Vec<_> = exports::list(shared)
        .await?
        .into_iter()
        .map(|export| Served { export, own: None })
        .collect();
    for (owner, daemon) in daemons.own()? {
        let Some(mut qmp) = daemon.connect().await? else {
            continue;
        };
        let exports = exports::list(&mut qmp).await?;
        let export = exports.into_iter().find(|export| export.name == owner.as_str());
        all.extend(export.map(|export| Served {
            export,
            own: Some(daemon),
        }));
    }
    Ok(all)
}

/// An export of this name is there: it is the same, perhaps with another list, or something else.
async fn again(
    daemons: &Daemons,
    spec: &ExportSpec,
    there: &Served,
    node: &str,
) -> Result<Published, ExportError> {
    let taken = |by: &str| {
        Err(ExportError::NameTaken {
            name: spec.name.clone(),
            by: by.to_owned(),
        })
    };
    if there.export.node != node {
        return taken(&there.export.node);
    }
    match (&there.own, &spec.allow) {
        (None, None) => confirm(&daemons.shared, spec, node).await,
        (Some(own), Some(allow)) => {
            let mut qmp = own.ensure(Some(allow)).await?;
            guard::admit(&mut qmp, own, allow).await?;
            drop(qmp);
            confirm(own, spec, node).await
        }
        // It would have to move to another port.
        (None, Some(_)) => taken("the same device without an allow-list"),
        (Some(_), None) => taken("the same device with an allow-list"),
    }
}

async fn publish_alone(
    daemons: &Daemons,
    spec: &ExportSpec,
    allow: &AllowList,
    node: &str,
) -> Result<Published, ExportError> {
    let (own, qmp) = daemons.start(&spec.name, allow).await?;
    let published = add_or_withdraw(&own, qmp, spec, node).await;
    if published.is_err()
        && let Err(left) = super::end(&own).await
    {
        tracing::error!(name = %spec.name, error = %left, "the server of a failed export goes on");
    }
    published
}

async fn add_or_withdraw(
    daemon: &Daemon,
    qmp: Qmp,
    spec: &ExportSpec,
    node: &str,
) -> Result<Published, ExportError> {
    match add(daemon, qmp, spec, node).await {
        Ok(published) => Ok(published),
        Err(error) => {
            // A fresh connection: the failure may have been the former one's.
            if let Err(cleanup) = withdraw(daemon, &spec.name, node).await {
                tracing::error!(name = %spec.name, error = %cleanup, "a failed export could not be withdrawn");
            }
            Err(error)
        }
    }
}

/// The monitor serves one connection at a time: ours ends before the export is confirmed or withdrawn.
async fn add(daemon: &Daemon, mut qmp: Qmp, spec: &ExportSpec, node: &str) -> Result<Published, ExportError> {
    let ExportSpec {
        name, source, access, ..
    } = spec;
    exports::add_node(&mut qmp, name, source, *access).await?;
    let identity = source.identity();
    // No other node of ours has this device: what is open now was opened for this node.
    if !daemon.process().is_some_and(|process| process.has_open(identity)) {
        return Err(ExportError::WrongDevice {
            name: name.clone(),
            identity: identity.to_string(),
        });
    }
    exports::add_export(&mut qmp, name, node, *access).await?;
    drop(qmp);
    confirm(daemon, spec, node).await
}

async fn withdraw(daemon: &Daemon, name: &ExportName, node: &str) -> Result<(), ExportError> {
    let Some(mut qmp) = daemon.connect().await? else {
        return Ok(());
    };
    exports::remove(&mut qmp, name, Withdrawal::DropClients).await?;
    exports::remove_node(&mut qmp, node).await
}
