//! Why the provider could not start.

use crate::cloud::{Cause, CloudError};

use super::credentials::CredentialsError;

/// Why the provider could not start.
#[derive(Debug, thiserror::Error)]
pub enum CloudStackOpenError {
    /// There are no credentials to use.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The address is none.
    #[error("`cloudstack.url` is {url}: {why}")]
    Url {
        /// As it was written.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// No certificates to trust.
    #[error("no certificates to trust in {place}")]
    Certificates {
        /// Where they were looked for.
        place: String,
        /// What is wrong.
        #[source]
        source: Cause,
    },
    /// What the configuration names is not there, or not once.
    #[error("`cloudstack.{key}` is {named}: {why}")]
    Named {
        /// The key.
        key: &'static str,
        /// What it names.
        named: String,
        /// What is wrong, with what there is.
        why: String,
    },
    /// The server did not answer what the provider has to know.
    #[error("asking the management server")]
    Cloud(#[from] CloudError),
}
