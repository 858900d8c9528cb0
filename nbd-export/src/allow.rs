//! Who may connect to an export: subjects of certificates, or addresses.

use std::{collections::BTreeSet, fmt, net::IpAddr, str::FromStr};

/// Longest subject.
const MAX: usize = 1024;

/// One who may connect.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Party {
    /// Whoever proves to be the subject of a certificate, written as `openssl x509 -subject -nameopt RFC2253,-dn_rev` does:
    /// `O=Example,CN=backup`. Told by qemu-storage-daemon.
    Subject(String),
    /// Whoever has an address of this network. Told by nbd-server.
    Network {
        /// Its first address.
        address: IpAddr,
        /// Bits that all of its addresses share.
        prefix: u8,
    },
}

/// Those who may connect to one export; nobody else may. Our own handshakes are let in besides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllowList(BTreeSet<Party>);

/// Why a text names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartyError {
    /// Neither a subject nor an address.
    #[error(
        "{0:?} is neither a certificate's subject (CN=name) nor an address (10.0.0.5) or network (10.0.0.0/24)"
    )]
    Neither(String),
    /// A subject that could not be in a certificate, or not be told from another.
    #[error("a subject has 1 to {MAX} printable characters, and no space at its end or after a comma")]
    Subject,
    /// More bits than an address has.
    #[error("{0:?} has more bits than its addresses")]
    Prefix(String),
    /// Bits after those that count: what was meant?
    #[error("{text:?} is not the first address of its network; write {meant}")]
    HostBits {
        /// What was written.
        text: String,
        /// The network that it is in.
        meant: Party,
    },
}

impl FromStr for Party {
    type Err = PartyError;

    fn from_str(text: &str) -> Result<Self, PartyError> {
        if text.contains('=') {
            return subject(text);
        }
        let neither = || PartyError::Neither(text.chars().take(80).collect());
        let (address, prefix) = text
            .split_once('/')
            .map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| neither())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix: u8 = prefix.map_or(Ok(bits), str::parse).map_err(|_| neither())?;
        if prefix > bits {
            return Err(PartyError::Prefix(text.to_owned()));
        }
        let first = first_of(address, prefix);
        match first == address {
            true => Ok(Self::Network { address, prefix }),
            false => Err(PartyError::HostBits {
                text: text.to_owned(),
                meant: Self::Network {
                    address: first,
                    prefix,
                },
            }),
        }
    }
}

fn subject(text: &str) -> Result<Party, PartyError> {
    let fits = text.len() <= MAX && text.trim() == text && !text.contains(char::is_control);
    // "CN=a, O=b" is how people read it, and no subject at all to a server that compares letter by letter.
    let is_plain = fits && !text.starts_with('=') && !has_space_after_comma(text);
    match is_plain {
        true => Ok(Party::Subject(text.to_owned())),
        false => Err(PartyError::Subject),
    }
}

fn has_space_after_comma(text: &str) -> bool {
    text.match_indices(", ")
        .any(|(at, _)| !text[..at].ends_with('\\'))
}

fn first_of(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(32 - prefix).unwrap_or(0)).into()),
        IpAddr::V6(v6) => {
            IpAddr::V6((v6.to_bits() & u128::MAX.checked_shl(128 - prefix).unwrap_or(0)).into())
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subject(subject) => f.write_str(subject),
            Self::Network { address, prefix } => write!(f, "{address}/{prefix}"),
        }
    }
}

impl FromIterator<Party> for AllowList {
    fn from_iter<I: IntoIterator<Item = Party>>(parties: I) -> Self {
        Self(parties.into_iter().collect())
    }
}

impl AllowList {
    /// Each of them, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &Party> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_names_nobody_is_refused_with_what_to_write() {
        for bad in [
            "",
            "somebody",
            "10.0.0",
            "10.0.0.0/x",
            "10.0.0.0/33",
            "::/129",
            "=",
            "CN=a, O=b",
            " CN=a",
            "CN=a\n",
            "10.0.0.1/",
        ] {
            assert!(bad.parse::<Party>().is_err(), "{bad:?} was accepted");
        }
        let error = "10.1.2.3/8".parse::<Party>().unwrap_err();
        assert!(error.to_string().ends_with("write 10.0.0.0/8"), "{error}");
    }

    proptest! {
        #[test]
        fn a_party_is_read_as_it_is_written(v4: u32, v6: u128, bits in 0_u8..=32, cn in "[a-z, ]{1,9}") {
            let networks = [
                Party::Network { address: first_of(IpAddr::V4(v4.into()), bits), prefix: bits },
                Party::Network { address: first_of(IpAddr::V6(v6.into()), bits * 4), prefix: bits * 4 },
            ];
            for network in networks {
                prop_assert_eq!(network.to_string().parse(), Ok(network));
            }
            if let Ok(subject) = format!("CN={cn}").parse::<Party>() {
                prop_assert_eq!(subject.to_string().parse(), Ok(subject));
            }
        }
    }
}
