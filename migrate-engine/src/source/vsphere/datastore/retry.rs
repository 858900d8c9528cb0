//! What to do after a read went wrong: give up, log in again, or try once more. Pure.

use std::time::Duration;

use super::super::http::HttpError;
use super::error::FolderError;

/// Pauses before the second, third and fourth try.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// The tries of one read.
#[derive(Debug, Default)]
pub(super) struct Tries {
    failed: usize,
    has_renewed: bool,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It will not get better.
    GiveUp,
    /// Log in again, then try.
    Renew,
    /// Wait, then try over a new connection.
    Again(Duration),
}

impl Tries {
    pub(super) fn next(&mut self, error: &FolderError) -> Next {
        match error {
            FolderError::Unauthorized { .. } if !self.has_renewed => {
                self.has_renewed = true;
                Next::Renew
            }
            FolderError::Busy { .. } => self.again(),
            FolderError::Http { source, .. } if is_passing(source) => self.again(),
            _ => Next::GiveUp,
        }
    }

    fn again(&mut self) -> Next {
        let pause = PAUSES.get(self.failed).copied();
        self.failed += 1;
        pause.map_or(Next::GiveUp, Next::Again)
    }
}

fn is_passing(error: &HttpError) -> bool {
    matches!(
        error,
        HttpError::Lost { .. }
            | HttpError::TooSlow { .. }
            | HttpError::ConnectTooSlow { .. }
            | HttpError::Unreachable { .. }
    )
}
