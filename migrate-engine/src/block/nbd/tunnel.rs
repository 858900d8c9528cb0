//! A tunnel to an export: TLS to a service of ours, and a request of HTTP that turns the connection into one to the NBD
//! server behind it (`Upgrade`; RFC 9110, 7.8). What the tunnel may be used for is the service's affair: it ends it when that is over.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection};

use super::error::NbdError;
use super::socket::{Socket, WaitEnded};
use super::uri::NbdEndpoint;
use crate::model::Secret;

/// The protocol's name in the `Upgrade` field.
pub const PROTOCOL: &str = "nbd";
/// A longer head of an answer is not read.
const LONGEST_HEAD: usize = 8192;

/// How a connection becomes one to an NBD server. The endpoint that the address names is the service.
#[derive(Clone)]
pub struct NbdTunnel {
    /// Whom to trust.
    pub tls: Arc<ClientConfig>,
    /// The name that the service's certificate must have.
    pub server: ServerName<'static>,
    /// The service, as its address has it.
    pub authority: String,
    /// What is asked for.
    pub path: String,
    /// What lets us in.
    pub token: Secret,
}

impl fmt::Debug for NbdTunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NbdTunnel")
            .field("authority", &self.authority)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl NbdTunnel {
    /// Makes of a fresh connection to the service one to the NBD server.
    pub(super) fn enter(
        &self,
        socket: &mut Socket,
        endpoint: &NbdEndpoint,
        patience: Duration,
    ) -> Result<(), NbdError> {
        let failed = |source: io::Error| match source.get_ref().is_some_and(|inner| inner.is::<WaitEnded>()) {
            true => NbdError::transport("receive from", source, patience),
            false => NbdError::Tls {
                endpoint: endpoint.to_string(),
                source,
            },
        };
        let client = ClientConnection::new(Arc::clone(&self.tls), self.server.clone());
        let client = client.map_err(|error| failed(io::Error::other(error)))?;
        socket.encrypt(client).map_err(failed)?;
        let asked = self.ask(socket);
        match asked.map_err(|error| NbdError::transport("receive from", error, patience))? {
            101 => Ok(()),
            status => Err(NbdError::Tunnel {
                endpoint: endpoint.to_string(),
                status,
            }),
        }
    }

    /// Asks for the upgrade. Returns the status of the answer.
    fn ask(&self, stream: &mut (impl Read + Write)) -> io::Result<u16> {
        let (path, authority, token) = (&self.path, &self.authority, self.token.reveal());
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: upgrade\r\nUpgrade: {PROTOCOL}\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        stream.flush()?;
        // Byte by byte: what follows the head is the server's greeting already.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
            if head.len() > LONGEST_HEAD {
                return Err(io::Error::other("the answer is too long to be the service's"));
            }
        }
        status(&head).ok_or_else(|| io::Error::other("the answer is not one of HTTP"))
    }
}

fn status(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head.split(|byte| *byte == b'\r').next()?).ok()?;
    let rest = line.strip_prefix("HTTP/1.1 ")?;
    rest.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A stream that answers with a text, and remembers what it was told.
    struct Played {
        told: Vec<u8>,
        answer: Cursor<Vec<u8>>,
    }

    impl Read for Played {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.answer.read(buffer)
        }
    }

    impl Write for Played {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.told.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn tunnel() -> NbdTunnel {
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(tokio_rustls::rustls::RootCertStore::empty())
            .with_no_client_auth();
        NbdTunnel {
            tls: Arc::new(tls),
            server: ServerName::try_from("appliance").unwrap(),
            authority: "appliance:8443".to_owned(),
            path: "/x".to_owned(),
            token: Secret::new("hunter2"),
        }
    }

    fn asked(answer: &str) -> (io::Result<u16>, Played) {
        let mut stream = Played {
            told: Vec::new(),
            answer: Cursor::new(answer.as_bytes().to_vec()),
        };
        (tunnel().ask(&mut stream), stream)
    }

    #[test]
    fn what_follows_the_answer_is_left_to_the_protocol() {
        let (status, stream) = asked("HTTP/1.1 101 Switching Protocols\r\nupgrade: nbd\r\n\r\nNBDMAGIC");
        assert_eq!(status.unwrap(), 101);
        assert_eq!(
            &stream.answer.get_ref()[usize::try_from(stream.answer.position()).unwrap()..],
            b"NBDMAGIC"
        );
        let told = String::from_utf8(stream.told).unwrap();
        assert!(
            told.starts_with("GET /x HTTP/1.1\r\nHost: appliance:8443\r\n"),
            "{told}"
        );
        assert!(
            told.contains("\r\nUpgrade: nbd\r\n") && told.contains("Bearer hunter2\r\n\r\n"),
            "{told}"
        );
    }

    #[test]
    fn refusals_and_nonsense_are_told_apart() {
        assert_eq!(asked("HTTP/1.1 404 Not Found\r\n\r\n").0.unwrap(), 404);
        assert!(asked("NBDMAGICIHAVEOPT\r\n\r\n").0.is_err());
        assert!(asked("HTTP/1.1 101").0.is_err());
        assert!(asked(&format!("HTTP/1.1 101 {}", "x".repeat(9000))).0.is_err());
    }

    #[test]
    fn its_token_is_not_shown() {
        assert!(!format!("{:?}", tunnel()).contains("hunter2"));
    }
}
