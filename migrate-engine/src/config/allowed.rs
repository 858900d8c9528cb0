//! Who may connect to which export, as it was asked for.

use std::str::FromStr;

use nbd_export::{AllowList, Party, PartyError};
use volume_client::types::VolumeId;

/// One who may connect: to the export of one volume, or to all exports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowEntry {
    /// `None`: to all.
    volume: Option<VolumeId>,
    party: Party,
}

impl FromStr for AllowEntry {
    type Err = PartyError;

    /// `CN=name`, `10.0.0.0/24`, or one of them after a volume's id and `=`.
    fn from_str(text: &str) -> Result<Self, PartyError> {
        let of_volume = text
            .split_once('=')
            .and_then(|(volume, party)| Some((volume.parse().ok()?, party)));
        let (volume, party) = match of_volume {
            Some((volume, party)) => (Some(volume), party),
            None => (None, text),
        };
        Ok(Self {
            volume,
            party: party.parse()?,
        })
    }
}

/// The list of one volume's export; `None` where nobody was named for it.
#[must_use]
pub fn allow_list(entries: &[AllowEntry], volume: VolumeId) -> Option<AllowList> {
    let mut named = entries
        .iter()
        .filter(|entry| entry.volume.is_none_or(|of| of == volume))
        .map(|entry| entry.party.clone())
        .peekable();
    named.peek()?;
    Some(named.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_for_one_volume_or_for_all() {
        let (one, other) = (
            "6c1c9d3e-7d7b-4c5e-8f4f-0d9a3b1f2e11",
            "6c1c9d3e-7d7b-4c5e-8f4f-0d9a3b1f2e12",
        );
        let entries =
            ["CN=backup".to_owned(), format!("{one}=O=acme,CN=restore")].map(|text| text.parse().unwrap());
        let list = |entries: &[AllowEntry], volume: &str| {
            let list = allow_list(entries, volume.parse().unwrap())?;
            Some(list.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(list(&entries, one).unwrap(), ["CN=backup", "O=acme,CN=restore"]);
        assert_eq!(list(&entries, other).unwrap(), ["CN=backup"]);
        assert_eq!(list(&entries[1..], other), None);
        assert!(format!("{one}=").parse::<AllowEntry>().is_err());
        assert!("backup".parse::<AllowEntry>().is_err());
    }
}
