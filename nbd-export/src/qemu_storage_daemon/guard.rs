//! What a daemon asks of whom connects: credentials for TLS, and the list of subjects that it lets in.
//!
//! Facts this rests on (qemu 7.2, tried for real): the list is looked up by its name at each TLS handshake, so it can be replaced
//! while the server runs; while there is none of that name, everybody is refused. It is asked before the client names an export, so it
//! is one for all exports of a process. Pre-shared keys are not asked about by it, and are read once.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use super::{
    daemon::Daemon,
    exports::failed,
    qmp::{Qmp, QmpError},
};
use crate::{AllowList, ExportError, Party, Tls};

const CREDENTIALS: &str = "credentials";
const LIST: &str = "allow";
/// The list in force, written after it is.
pub(super) const ALLOWED: &str = "allowed";

/// Whom a daemon lets in.
pub(super) enum Admission {
    /// Whoever has a certificate or a key.
    Everybody,
    /// Those on the list.
    Listed,
}

impl Admission {
    pub(super) const fn object(&self) -> Option<&'static str> {
        match self {
            Self::Everybody => None,
            Self::Listed => Some(LIST),
        }
    }
}

/// Why this server could not keep a list; `None` where it can.
pub(super) fn objection(tls: Option<&Tls>, allow: &AllowList) -> Option<String> {
    let problem = match tls {
        Some(Tls::Certificates { .. }) => {
            let network = allow
                .iter()
                .find(|party| matches!(party, Party::Network { .. }))?;
            return Some(format!(
                "qemu-storage-daemon tells clients by the subject of their certificate (CN=name), not by an address like {network}"
            ));
        }
        Some(Tls::Keys { .. }) => {
            "with pre-shared keys qemu-storage-daemon lets in whoever has one; use certificates, or give out other keys"
        }
        None => "without TLS qemu-storage-daemon cannot tell clients from each other; give it certificates",
    };
    Some(problem.to_owned())
}

/// Gives the daemon its credentials by the name of their folder. Returns their name.
pub(super) async fn install(qmp: &mut Qmp, tls: Option<&Tls>) -> Result<Option<&'static str>, ExportError> {
    let arguments = match tls {
        None => return Ok(None),
        Some(Tls::Certificates { folder, .. }) => json!({
            "qom-type": "tls-creds-x509", "id": CREDENTIALS, "endpoint": "server", "dir": folder, "verify-peer": true,
        }),
        Some(Tls::Keys { folder }) => json!({
            "qom-type": "tls-creds-psk", "id": CREDENTIALS, "endpoint": "server", "dir": folder,
        }),
    };
    remove(qmp, CREDENTIALS).await?;
    let added = qmp.execute("object-add", arguments).await;
    added.map_err(failed("loading certificates or keys"))?;
    Ok(Some(CREDENTIALS))
}

/// Puts a list in force, for those who connect from now on. One that is in force already stays untouched.
pub(super) async fn admit(
    qmp: &mut Qmp,
    daemon: &Daemon,
    allow: &AllowList,
) -> Result<Admission, ExportError> {
    let subjects = subjects(daemon, allow)?;
    let written = subjects
        .iter()
        .map(|subject| format!("{subject}\n"))
        .collect::<String>();
    let record = daemon.directory.file(ALLOWED);
    if fs::read_to_string(&record).is_ok_and(|in_force| in_force == written) {
        return Ok(Admission::Listed);
    }
    let rules: Vec<Value> = subjects
        .iter()
        .map(|subject| json!({ "match": subject, "format": "exact", "policy": "allow" }))
        .collect();
    remove(qmp, LIST).await?;
    let arguments = json!({ "qom-type": "authz-list", "id": LIST, "policy": "deny", "rules": rules });
    let added = qmp.execute("object-add", arguments).await;
    added.map_err(failed("putting an allow-list in force"))?;
    fs::write(&record, written).map_err(ExportError::io("recording an allow-list"))?;
    Ok(Admission::Listed)
}

/// The listed subjects and our own, without which no export could be confirmed.
fn subjects(daemon: &Daemon, allow: &AllowList) -> Result<BTreeSet<String>, ExportError> {
    let mut subjects: BTreeSet<_> = allow.iter().map(ToString::to_string).collect();
    if let Some(tls) = &daemon.tls {
        subjects.extend(tls.own_subject()?);
    }
    Ok(subjects)
}

/// Removes an object; one that is not there is fine.
async fn remove(qmp: &mut Qmp, id: &str) -> Result<(), ExportError> {
    match qmp.execute("object-del", json!({ "id": id })).await {
        Ok(_) => Ok(()),
        Err(QmpError::Refused { description }) if description.contains("not found") => Ok(()),
        Err(error) => Err(failed(format!("removing object {id}"))(error)),
    }
}
