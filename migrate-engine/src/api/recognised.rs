//! Tokens of the daemon: whose one is, as the daemon says, remembered for some seconds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use volume_client::VolumedClient;
use volume_client::client::ClientError;
use volume_client::types::{Secret, TokenScope};

/// How long an answer about a token that works is believed: a token that is revoked works here no longer than that.
pub(super) const BELIEVED: Duration = Duration::from_secs(10);
/// How long a token that does not work is remembered as such: a new one works here soon, and a wrong one costs the daemon little.
const REFUSED: Duration = Duration::from_secs(2);
/// How long the daemon may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many questions the daemon is asked at once.
const AT_ONCE: usize = 4;
/// How many answers are remembered at most.
const MOST: usize = 4096;

/// A token that works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recognised {
    /// Its name.
    pub name: String,
    /// What it lets do.
    pub scope: TokenScope,
    /// Until when it works, where it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// The daemon did not say whose a token is: nothing is known of it, neither good nor bad.
#[derive(Debug, Error)]
pub enum Unanswered {
    /// It took too long.
    #[error("the daemon does not answer within {} s whose the token is", PATIENCE.as_secs())]
    Silent,
    /// It could not be asked, or would not say.
    #[error("the daemon cannot be asked whose the token is")]
    Failed(#[source] Box<ClientError>),
}

/// Who keeps tokens, and knows them by their secrets.
#[async_trait]
pub trait TokenKeeper: Send + Sync {
    /// The token that this is the secret of, where it works now.
    ///
    /// # Errors
    /// Where that is not known.
    async fn recognise(&self, secret: &str) -> Result<Option<Recognised>, Unanswered>;
}

#[async_trait]
impl TokenKeeper for VolumedClient {
    async fn recognise(&self, secret: &str) -> Result<Option<Recognised>, Unanswered> {
        let asked = self.introspect_token(Secret::new(secret)).await;
        let token = asked.map_err(|error| Unanswered::Failed(Box::new(error)))?;
        Ok(token.map(|token| Recognised {
            name: token.name,
            scope: token.scope,
            expires_at: token.expires_at,
        }))
    }
}

/// What the daemon said of tokens lately. Secrets are remembered by their hashes only.
pub(super) struct DaemonTokens {
    keeper: Arc<dyn TokenKeeper>,
    answers: Mutex<HashMap<blake3::Hash, Answer>>,
    asking: Semaphore,
}

struct Answer {
    token: Option<Recognised>,
    until: Instant,
}

impl DaemonTokens {
    pub(super) fn new(keeper: Arc<dyn TokenKeeper>) -> Self {
        Self {
            keeper,
            answers: Mutex::default(),
            asking: Semaphore::new(AT_ONCE),
        }
    }

    /// What is remembered of this secret: that it works, that it does not, or nothing.
    pub(super) fn remembered(&self, secret: &str) -> Option<Option<Recognised>> {
        let answers = self.answers.lock();
        let answer = answers.get(&blake3::hash(secret.as_bytes()))?;
        (Instant::now() < answer.until).then(|| answer.token.clone().filter(works))
    }

    /// The token that this is the secret of, where it works now. Asks the daemon where nothing is remembered.
    ///
    /// # Errors
    /// Where the daemon does not say.
    pub(super) async fn recognise(&self, secret: &str) -> Result<Option<Recognised>, Unanswered> {
        if let Some(known) = self.remembered(secret) {
            return Ok(known);
        }
        let asked = timeout(PATIENCE, async {
            let _turn = self.asking.acquire().await;
            // Whoever waited may have the answer of another.
            if let Some(known) = self.remembered(secret) {
                return Ok(known);
            }
            let token = self.keeper.recognise(secret).await?;
            self.remember(secret, token.clone());
            Ok(token.filter(works))
        });
        asked.await.unwrap_or(Err(Unanswered::Silent))
    }

    /// Returns once the token of this secret works no more. Where the daemon does not say, it is asked again.
    pub(super) async fn ended(&self, secret: &str) {
        loop {
            tokio::time::sleep(BELIEVED).await;
            if let Ok(None) = self.recognise(secret).await {
                return;
            }
        }
    }

    fn remember(&self, secret: &str, token: Option<Recognised>) {
        let now = Instant::now();
        let until = now + if token.is_some() { BELIEVED } else { REFUSED };
        let mut answers = self.answers.lock();
        if answers.len() >= MOST {
            answers.retain(|_, answer| now < answer.until);
        }
        // Rather asked again than grown without bound by whoever guesses.
        if answers.len() < MOST {
            answers.insert(blake3::hash(secret.as_bytes()), Answer { token, until });
        }
    }
}

fn works(token: &Recognised) -> bool {
    token.expires_at.is_none_or(|end| Timestamp::now() < end)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Knows one token, for as long as it is not revoked, and counts how often it is asked.
    #[derive(Default)]
    struct Keeper {
        token: Mutex<Option<Recognised>>,
        is_away: Mutex<Option<Duration>>,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl TokenKeeper for Keeper {
        async fn recognise(&self, secret: &str) -> Result<Option<Recognised>, Unanswered> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let away = *self.is_away.lock();
            if let Some(time) = away {
                tokio::time::sleep(time).await;
                return Err(Unanswered::Silent);
            }
            Ok(self.token.lock().clone().filter(|_| secret == "right"))
        }
    }

    fn keeper(expires_at: Option<Timestamp>) -> (Arc<Keeper>, DaemonTokens) {
        let token = Recognised {
            name: "ci".to_owned(),
            scope: TokenScope::Read,
            expires_at,
        };
        let keeper = Arc::new(Keeper {
            token: Mutex::new(Some(token)),
            ..Keeper::default()
        });
        (Arc::clone(&keeper), DaemonTokens::new(keeper))
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_believed_for_some_seconds() {
        let (keeper, tokens) = keeper(None);
        for _ in 0..3 {
            assert!(tokens.recognise("right").await.unwrap().is_some());
            assert!(tokens.recognise("wrong").await.unwrap().is_none());
        }
        assert_eq!(keeper.asked.load(Ordering::Relaxed), 2);
        *keeper.token.lock() = None;
        tokio::time::sleep(BELIEVED - Duration::from_millis(1)).await;
        assert!(tokens.recognise("right").await.unwrap().is_some());
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert!(tokens.recognise("right").await.unwrap().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_expired_token_is_not_believed_from_memory() {
        let soon = Timestamp::now() + jiff::SignedDuration::from_millis(50);
        let (_, tokens) = keeper(Some(soon));
        assert!(tokens.recognise("right").await.unwrap().is_some());
        while Timestamp::now() < soon {
            tokio::task::yield_now().await;
        }
        assert!(tokens.recognise("right").await.unwrap().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn who_cannot_be_asked_has_not_refused() {
        let (keeper, tokens) = keeper(None);
        assert!(tokens.recognise("right").await.unwrap().is_some());
        *keeper.is_away.lock() = Some(Duration::ZERO);
        assert!(tokens.recognise("right").await.unwrap().is_some(), "remembered");
        tokio::time::sleep(BELIEVED).await;
        assert!(tokens.recognise("right").await.is_err());
        *keeper.is_away.lock() = Some(Duration::from_secs(3600));
        let begin = Instant::now();
        assert!(matches!(tokens.recognise("right").await, Err(Unanswered::Silent)));
        assert!(begin.elapsed() <= PATIENCE + Duration::from_millis(1));
        *keeper.is_away.lock() = None;
        assert!(tokens.recognise("right").await.unwrap().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_with_its_token_and_not_with_the_daemon() {
        let (keeper, tokens) = keeper(None);
        *keeper.is_away.lock() = Some(Duration::ZERO);
        let early = timeout(Duration::from_secs(60), tokens.ended("right")).await;
        assert!(early.is_err(), "unknown is not revoked");
        *keeper.is_away.lock() = None;
        *keeper.token.lock() = None;
        timeout(2 * BELIEVED, tokens.ended("right")).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded() {
        let (_, tokens) = keeper(None);
        for n in 0..MOST + 100 {
            assert!(tokens.recognise(&format!("guess {n}")).await.unwrap().is_none());
        }
        assert!(tokens.answers.lock().len() <= MOST);
        assert!(tokens.recognise("right").await.unwrap().is_some());
    }
}
