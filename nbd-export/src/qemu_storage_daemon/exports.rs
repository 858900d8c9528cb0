//! Exports inside a running qemu-storage-daemon: nodes and exports added, matched, withdrawn, swept.
//!
//! A node is named after access and device incarnation (`vw-block-7.3-c`), so the daemon itself knows what each
//! export serves. A node of ours without an export is what a crash left, and is removed.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::qmp::{Qmp, QmpError};
use crate::{Access, ExportError, ExportName, ExportSource, SourceIdentity, Withdrawal};

const NODE: &str = "v";
const EXPORT: &str = "exp-";
/// Newest and fastest first; io_uring may be forbidden (`kernel.io_uring_disabled`, seccomp) or not compiled in.
const AIO: [&str; 3] = ["io_uring", "native", "threads"];
/// How long a client that has just disconnected may still count as connected.
const GRACE: Duration = Duration::from_millis(500);
/// How long requests in flight may take to settle once clients are dropped.
const SETTLE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

/// One of our exports, as the daemon reports it.
pub(super) struct Export {
    pub(super) name: String,
    pub(super) node: String,
    shutting_down: bool,
}

/// The node's name; qemu allows 31 characters.
pub(super) fn node_name(identity: SourceIdentity, access: Access) -> String {
    let access = match access {
        Access::ReadOnly => 'r',
        Access::ReadWrite => 'w',
    };
    format!("{NODE}{access}-{identity}")
}

/// Whether both nodes are of one device, whatever the access.
pub(super) fn same_device(node: &str, other: &str) -> bool {
    node.split_once('-').map(|(_, device)| device) == other.split_once('-').map(|(_, device)| device)
}

pub(super) async fn list(qmp: &mut Qmp) -> Result<Vec<Export>, ExportError> {
    let answer = qmp
        .execute("query-block-exports", json!({}))
        .await
        .map_err(failed("listing exports"))?;
    let entries = answer.as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(entries.iter().filter_map(parse).collect())
}

fn parse(entry: &Value) -> Option<Export> {
    Some(Export {
        name: entry.get("id")?.as_str()?.strip_prefix(EXPORT)?.to_owned(),
        node: entry.get("node-name")?.as_str()?.to_owned(),
        shutting_down: entry.get("shutting-down")?.as_bool()?,
    })
}

pub(super) async fn find(qmp: &mut Qmp, name: &ExportName) -> Result<Option<Export>, ExportError> {
    Ok(list(qmp)
        .await?
        .into_iter()
        .find(|export| export.name == name.as_str()))
}

/// Removes nodes of ours that no export uses.
pub(super) async fn sweep(qmp: &mut Qmp) -> Result<(), ExportError> {
    let answer = qmp
        .execute("query-named-block-nodes", json!({ "flat": true }))
        .await;
    let answer = answer.map_err(failed("listing block nodes"))?;
    let used = list(qmp).await?;
    let nodes = answer.as_array().map(Vec::as_slice).unwrap_or_default();
    for node in nodes.iter().filter_map(|node| node.get("node-name")?.as_str()) {
        let ours = node.starts_with("vr-") || node.starts_with("vw-");
        if ours && !used.iter().any(|export| export.node == node) {
            tracing::warn!(node, "removing a block node without an export");
            remove_node(qmp, node).await?;
        }
    }
    Ok(())
}

/// The size of a node, as the daemon knows it.
pub(super) async fn size(qmp: &mut Qmp, node: &str) -> Result<Option<u64>, ExportError> {
    let answer = qmp
        .execute("query-named-block-nodes", json!({ "flat": true }))
        .await;
    let answer = answer.map_err(failed("asking for the size of a block node"))?;
    let nodes = answer.as_array().map(Vec::as_slice).unwrap_or_default();
    let ours = nodes
        .iter()
        .find(|found| found.get("node-name").and_then(Value::as_str) == Some(node));
    Ok(ours.and_then(|found| found.pointer("/image/virtual-size")?.as_u64()))
}

/// Opens the device through the caller's descriptor.
pub(super) async fn add_node(
    qmp: &mut Qmp,
    name: &ExportName,
    source: &ExportSource,
    access: Access,
) -> Result<(), ExportError> {
    let driver = match source.identity() {
        SourceIdentity::Block { .. } => "host_device",
        SourceIdentity::File { .. } => "file",
    };
    let mut refused = None;
    for aio in AIO {
        let arguments = json!({
            "driver": driver,
            "node-name": node_name(source.identity(), access),
            "filename": source.proc_path(),
            "aio": aio,
            "cache": { "direct": true },
            "discard": "unmap",
            "read-only": access == Access::ReadOnly,
            // Else qemu would open read-only first and resolve the file name again later.
            "auto-read-only": false,
        });
        match qmp.execute("blockdev-add", arguments).await {
            Ok(_) => return Ok(()),
            Err(error @ QmpError::Refused { .. }) => {
                tracing::debug!(%name, aio, %error, "block node refused");
                // The first refusal tells most, unless only the kind of I/O was refused.
                refused.get_or_insert(error);
            }
            Err(error) => return Err(failed(format!("opening the source of export {name}"))(error)),
        }
    }
    let source = refused.expect("every kind of I/O was tried and refused");
    Err(failed(format!("opening the source of export {name}"))(source))
}

pub(super) async fn add_export(
    qmp: &mut Qmp,
    name: &ExportName,
    node: &str,
    access: Access,
) -> Result<(), ExportError> {
    let arguments = json!({
        "type": "nbd",
        "id": format!("{EXPORT}{name}"),
        "name": name.as_str(),
        "node-name": node,
        "writable": access == Access::ReadWrite,
    });
    let added = qmp.execute("block-export-add", arguments).await;
    added.map(drop).map_err(failed(format!("adding export {name}")))
}

/// Removes an export and its node; afterwards the device is closed. An unknown export is fine.
pub(super) async fn remove(
    qmp: &mut Qmp,
    name: &ExportName,
    withdrawal: Withdrawal,
) -> Result<(), ExportError> {
    let Some(export) = find(qmp, name).await? else {
        return Ok(());
    };
    if !export.shutting_down {
        delete(qmp, name, withdrawal).await?;
    }
    let deadline = Instant::now() + SETTLE;
    while find(qmp, name).await?.is_some() {
        if Instant::now() > deadline {
            return Err(failed(format!("withdrawing export {name}"))(QmpError::Timeout(
                SETTLE,
            )));
        }
        sleep(POLL).await;
    }
    remove_node(qmp, &export.node).await
}

async fn delete(qmp: &mut Qmp, name: &ExportName, withdrawal: Withdrawal) -> Result<(), ExportError> {
    let mode = match withdrawal {
        Withdrawal::WhenIdle => "safe",
        Withdrawal::DropClients => "hard",
    };
    let deadline = Instant::now() + GRACE;
    loop {
        let arguments = json!({ "id": format!("{EXPORT}{name}"), "mode": mode });
        match qmp.execute("block-export-del", arguments).await {
            Ok(_) => return Ok(()),
            Err(QmpError::Refused { description }) if description.contains("is not found") => return Ok(()),
            Err(QmpError::Refused { description }) if description.contains("still in use") => {
                if Instant::now() > deadline {
                    return Err(ExportError::InUse { name: name.clone() });
                }
                sleep(POLL).await;
            }
            Err(error) => return Err(failed(format!("withdrawing export {name}"))(error)),
        }
    }
}

/// Removes a node, waiting for requests in flight.
pub(super) async fn remove_node(qmp: &mut Qmp, node: &str) -> Result<(), ExportError> {
    let deadline = Instant::now() + SETTLE;
    loop {
        match qmp.execute("blockdev-del", json!({ "node-name": node })).await {
            Ok(_) => return Ok(()),
            Err(QmpError::Refused { description }) if description.contains("Failed to find node") => {
                return Ok(());
            }
            Err(QmpError::Refused { description })
                if description.contains("in use") && Instant::now() < deadline =>
            {
                sleep(POLL).await;
            }
            Err(error) => return Err(failed(format!("closing block node {node}"))(error)),
        }
    }
}

pub(super) fn failed(doing: impl Into<String>) -> impl FnOnce(QmpError) -> ExportError {
    let doing = doing.into();
    move |source| ExportError::Qmp { doing, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_node_names_fit_qemus_31_characters() {
        let device = rustix::fs::makedev(0xfff, 0xf_ffff);
        let block = SourceIdentity::Block {
            device,
            diskseq: u64::from(u32::MAX),
        };
        assert!(
            node_name(block, Access::ReadWrite).len() <= 31,
            "{}",
            node_name(block, Access::ReadWrite)
        );
    }
}
