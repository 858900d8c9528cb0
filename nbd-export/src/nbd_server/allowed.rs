//! The list of addresses that nbd-server lets in to an export (`authfile`, nbd-server(5)).
//!
//! Facts this rests on (nbd-server 3.24, tried for real): the file is read anew for each client, so a list changes at once and for
//! new clients only. Where it is *missing*, everybody is let in; where it is empty or cannot be understood, nobody is. So it is
//! replaced by a rename and written before its export is.

use std::fs;

use super::{config::write_durably, drop_in::DropIns};
use crate::{AllowList, ExportError, ExportName, NbdAddress, Party, runtime::remove_if_there};

/// The file's text: those listed, and the server's own address, from which we confirm. No other machine can have that.
/// `None` for everybody; an error where nbd-server could not keep such a list.
pub(super) fn addresses(listen: &NbdAddress, allow: Option<&AllowList>) -> Result<Option<String>, String> {
    let Some(allow) = allow else { return Ok(None) };
    let NbdAddress::Tcp(own) = listen.dial() else {
        return Err(
            "nbd-server tells clients by their address, and on a Unix socket they have none".to_owned(),
        );
    };
    let mut text = format!("{}\n", own.ip());
    for party in allow.iter() {
        match party {
            Party::Network { address, .. } if address.is_ipv4() != own.ip().is_ipv4() => {
                return Err(format!("{party} cannot reach {}", own.ip()));
            }
            Party::Network { .. } => text.push_str(&format!("{party}\n")),
            Party::Subject(subject) => {
                return Err(format!(
                    "nbd-server tells clients by their address (10.0.0.5, 10.0.0.0/24), not by a subject like {subject}"
                ));
            }
        }
    }
    Ok(Some(text))
}

impl DropIns {
    /// Puts a list in force; `None` lets everybody in. One that is in force already stays untouched.
    pub(super) fn allow(&self, name: &ExportName, addresses: Option<&str>) -> Result<(), ExportError> {
        let file = self.allowed(name);
        match addresses {
            None => remove_if_there(&file),
            Some(text) if fs::read_to_string(&file).is_ok_and(|there| there == text) => Ok(()),
            Some(text) => write_durably(&file, text),
        }
    }
}
