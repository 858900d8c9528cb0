//! Where a running daemon listens: told once, remembered, and never taken for another place.

use std::fs;

use serde_json::{Value, json};

use super::{
    daemon::Daemon,
    guard::{self, Admission},
    qmp::{Qmp, QmpError},
};
use crate::{AllowList, ExportError, NbdAddress, Tls};

/// Where the running daemon listens, written after it listens.
pub(super) const LISTENING: &str = "listening";

impl Daemon {
    /// Makes the daemon listen and let in whom we want, or checks that it listens where we want.
    pub(super) async fn listen_on(
        &self,
        qmp: &mut Qmp,
        allow: Option<&AllowList>,
    ) -> Result<(), ExportError> {
        let record = self.directory.file(LISTENING);
        let wanted = self.description();
        if let Ok(listening) = fs::read_to_string(&record) {
            if listening == wanted {
                return Ok(());
            }
            let problem = format!("the running qemu-storage-daemon listens on {listening}, not on {wanted}");
            return Err(ExportError::Config { problem });
        }
        let address = self.address()?;
        let credentials = guard::install(qmp, self.tls.as_ref()).await?;
        let admission = match allow {
            None => Admission::Everybody,
            Some(allow) => guard::admit(qmp, self, allow).await?,
        };
        // 0: no limit; the default of 100 would refuse clients of unrelated exports.
        let mut arguments = json!({ "addr": address, "max-connections": 0 });
        let named = [("tls-creds", credentials), ("tls-authz", admission.object())];
        for (key, object) in named.into_iter().filter_map(|(key, object)| Some((key, object?))) {
            arguments[key] = Value::from(object);
        }
        match qmp.execute("nbd-server-start", arguments).await {
            Ok(_) => {}
            // A starter died between listening and writing the record; only this directory's users start it.
            Err(QmpError::Refused { description }) if description.contains("already running") => {}
            Err(QmpError::Refused { description }) if description.contains("Address already in use") => {
                return Err(self.in_use());
            }
            Err(source) => {
                return Err(ExportError::Qmp {
                    doing: format!("listening on {}", self.listen),
                    source,
                });
            }
        }
        fs::write(&record, wanted).map_err(ExportError::io("recording where qemu-storage-daemon listens"))
    }

    fn address(&self) -> Result<Value, ExportError> {
        match &self.listen {
            NbdAddress::Tcp(address) => Ok(json!({
                "type": "inet",
                "data": { "host": address.ip().to_string(), "port": address.port().to_string() },
            })),
            // qemu would unlink a live server's socket without a word.
            NbdAddress::Unix(path) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
                Err(self.in_use())
            }
            NbdAddress::Unix(path) => Ok(json!({ "type": "unix", "data": { "path": path } })),
        }
    }

    fn in_use(&self) -> ExportError {
        ExportError::AddressInUse {
            address: self.listen.clone(),
        }
    }

    fn description(&self) -> String {
        let how = match &self.tls {
            None => return self.listen.to_string(),
            Some(Tls::Certificates { .. }) => "certificates",
            Some(Tls::Keys { .. }) => "keys",
        };
        let folder = self.tls.iter().map(|tls| tls.folder().display().to_string());
        format!("{} with {how} of {}", self.listen, folder.collect::<String>())
    }
}
