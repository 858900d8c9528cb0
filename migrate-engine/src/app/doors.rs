//! Where the service is reached: on the loopback in the clear, from elsewhere over TLS only.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use axum::Router;
use axum::serve::Listener;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::certificate::Certificate;
use super::human;
use super::tls::TlsListener;

/// An address that is listened on.
pub(super) enum Door {
    /// Of the loopback.
    Plain(TcpListener),
    /// Over TLS.
    Tls(TlsListener),
}

/// Whether only this machine reaches an address.
pub(super) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

impl Door {
    /// Listens on the loopback for those who bring no token, and says where.
    ///
    /// # Errors
    /// Another address, or one that cannot be had.
    pub(super) async fn near(what: &str, address: SocketAddr) -> anyhow::Result<Self> {
        ensure!(
            is_loopback(address),
            "cannot serve {what} on {address}: only on the loopback, such as 127.0.0.1:{}, as it asks nobody for a token; \
             let callers come through a tunnel",
            address.port()
        );
        let listener = bind(what, address).await?;
        human::say(&format!("{what}: http://{}", listener.local_addr()?));
        Ok(Self::Plain(listener))
    }

    /// Listens for those who bring a token, and says where: elsewhere than on the loopback over TLS.
    ///
    /// # Errors
    /// An address that cannot be had.
    pub(super) async fn guarded(
        what: &str,
        address: SocketAddr,
        certificate: Option<&Arc<Certificate>>,
    ) -> anyhow::Result<Self> {
        match certificate {
            _ if is_loopback(address) => Self::near(what, address).await,
            Some(certificate) => Self::far(what, address, certificate).await,
            None => bail!("there is no certificate to serve {what} on {address} with"),
        }
    }

    /// Listens over TLS, wherever that is, and says where.
    ///
    /// # Errors
    /// An address that cannot be had.
    pub(super) async fn far(
        what: &str,
        address: SocketAddr,
        certificate: &Arc<Certificate>,
    ) -> anyhow::Result<Self> {
        let listener = TlsListener::new(bind(what, address).await?, Arc::clone(certificate))?;
        human::say(&format!("{what}: https://{}", listener.local_addr()?));
        Ok(Self::Tls(listener))
    }

    /// Answers whoever comes, until `stopping` is cancelled.
    pub(super) async fn answer(self, router: Router, stopping: CancellationToken) {
        match self {
            Self::Plain(listener) => serve(listener, router, stopping).await,
            Self::Tls(listener) => serve(listener, router, stopping).await,
        }
    }
}

async fn bind(what: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot serve {what} on {address}; give another port, or end who has it"))
}

async fn serve<L>(listener: L, router: Router, stopping: CancellationToken)
where
    L: Listener,
    L::Addr: std::fmt::Debug,
{
    let serving =
        axum::serve(listener, router).with_graceful_shutdown(async move { stopping.cancelled().await });
    if let Err(error) = serving.await {
        tracing::error!(%error, "an API broke off");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_asked_for_no_token_or_has_no_certificate_stays_on_the_loopback() {
        // An address that no machine has, should it be tried all the same (RFC 5737).
        let elsewhere: SocketAddr = "192.0.2.1:9081".parse().unwrap();
        let Err(error) = Door::near("discovery", elsewhere).await else {
            panic!("it was opened");
        };
        assert!(error.to_string().contains("only on the loopback"), "{error}");
        assert!(Door::guarded("replications", elsewhere, None).await.is_err());
        let here: SocketAddr = "127.0.0.1:0".parse().unwrap();
        assert!(matches!(
            Door::guarded("replications", here, None).await.unwrap(),
            Door::Plain(_)
        ));
        let mapped: SocketAddr = "[::ffff:127.0.0.1]:80".parse().unwrap();
        assert!(is_loopback(mapped) && !is_loopback(elsewhere));
    }
}
