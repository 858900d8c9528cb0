//! Why the service did not do what it was asked for.

use std::path::PathBuf;
use std::time::Duration;

use volume_client::client::trust::{Rejection, TrustError};

/// Why the service did not do what it was asked for. Texts of the service hold nothing that a terminal would obey.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is none.
    #[error("`{url}` cannot be the service's address: {why}")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The token cannot be read.
    #[error("cannot read the service's token in {}", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file holds no token.
    #[error("{} holds no token", path.display())]
    NoToken {
        /// The file.
        path: PathBuf,
    },
    /// Nobody listens there. Nothing was asked.
    #[error("no service answers at {url}")]
    Unreachable {
        /// Where.
        url: String,
        /// Why not.
        #[source]
        source: reqwest::Error,
    },
    /// Who answers there shows a certificate that is not to be believed. Nothing was asked.
    #[error("the certificate that {url} shows is not to be believed: its fingerprint is {}", source.found())]
    Untrusted {
        /// Where.
        url: String,
        /// Why not.
        #[source]
        source: Box<Rejection>,
    },
    /// Whom to believe could not be read.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// It was asked, and has not answered; it may have done what was asked.
    #[error("the service at {url} has not answered within {} s", after.as_secs())]
    Late {
        /// Where.
        url: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The line broke; it may have done what was asked.
    #[error("the line to the service at {url} broke")]
    Lost {
        /// Where.
        url: String,
        /// How.
        #[source]
        source: reqwest::Error,
    },
    /// It knows another token.
    #[error("the service at {url} does not accept the token in {}", token_file.display())]
    Unauthorized {
        /// Where.
        url: String,
        /// The file of the token that it was sent.
        token_file: PathBuf,
    },
    /// It says no.
    #[error("{detail}")]
    Refused {
        /// The kind of problem.
        code: String,
        /// Why.
        detail: String,
        /// What to do.
        hint: Option<String>,
    },
    /// It answers something else than the service would.
    #[error("what answers at {url} is not the service of this version of migrate-engine: {why}")]
    Strange {
        /// Where.
        url: String,
        /// What was not as expected.
        why: String,
    },
}

impl ClientError {
    /// What to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Address { .. } => {
                "give its address: https://HOST:PORT where it listens over TLS, or on this machine http://127.0.0.1:8082"
            }
            Self::TokenFile { .. } => {
                "`migrate-engine serve` makes the file when it first starts; name it with --token-file, and read it as the \
                 user that the service runs as"
            }
            Self::NoToken { .. } | Self::Unauthorized { .. } => {
                "name the file that `migrate-engine serve` was started with: --token-file PATH"
            }
            Self::Unreachable { .. } => {
                "start it with `migrate-engine serve`, or say where it listens with --url http://127.0.0.1:PORT"
            }
            Self::Untrusted { .. } => {
                "compare it with the one that the service says when it starts; where it is the right one, give it with \
                 --fingerprint, or its authority with --ca-file"
            }
            Self::Trust(_) => {
                "name a file of certificates in PEM with --ca-file, or the service's own with --fingerprint"
            }
            Self::Late { .. } | Self::Lost { .. } => "`migrate-engine jobs` tells what it is doing",
            Self::Strange { .. } => {
                "look with --url at the port of replications, 8082 where nothing else was set"
            }
            Self::Refused { code, hint, .. } => {
                return here(code).map(str::to_owned).or_else(|| hint.clone());
            }
        };
        Some(hint.to_owned())
    }

    /// Whether asking again may be answered: nobody was there, or the answer did not come.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Late { .. } | Self::Lost { .. }
        )
    }

    /// The kind of problem, as programs are told.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Refused { code, .. } => code,
            Self::Address { .. } => "bad_address",
            Self::TokenFile { .. } | Self::NoToken { .. } => "no_token",
            Self::Unreachable { .. } => "service_unreachable",
            Self::Untrusted { .. } | Self::Trust(_) => "untrusted",
            Self::Late { .. } | Self::Lost { .. } => "answer_lost",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Strange { .. } => "strange_answer",
        }
    }
}

/// What to do on the command line, where the service speaks of its own paths.
fn here(code: &str) -> Option<&'static str> {
    Some(match code {
        "job_not_found" => "`migrate-engine jobs` lists the jobs",
        "vm_not_found" => "`migrate-engine sources HOST` lists the machines of a source",
        "vm_changed" => "look at the list again, and ask for what is there now",
        "replication_in_progress" => {
            "`migrate-engine watch ID` follows the job that is named, `migrate-engine cancel ID` stops it"
        }
        "wrong_state" => "`migrate-engine job ID` tells how it stands",
        _ => return None,
    })
}
