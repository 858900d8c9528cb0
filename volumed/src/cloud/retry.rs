//! Tries again what certainly did nothing; a mutation in doubt goes back to the caller at once.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::layer::{Attempt, Layer, Method};
use super::{Cloud, CloudError, Layered};

/// How often and after what pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Calls made at most, the first one included; zero counts as one.
    pub attempts: u32,
    /// Pause after the first; doubled after each further one. The actual pause is between half of it and all of it.
    pub first_pause: Duration,
    /// No pause is longer. A provider that asks for a longer one gets no further try: its answer goes to the caller.
    pub longest_pause: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            attempts: 5,
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(10),
        }
    }
}

/// Repeats reads that failed for no lasting reason, and mutations only where the error says that nothing happened
/// ([`CloudError::Transient`]). Each try carries the same [`Call`](super::Call).
#[derive(Debug, Clone, Copy, Default)]
pub struct Retry(pub RetryPolicy);

impl Retry {
    /// Puts the layer around a provider.
    pub fn around(policy: RetryPolicy, inner: std::sync::Arc<dyn Cloud>) -> Layered<Retry> {
        Layered::new(Retry(policy), inner)
    }
}

impl Layer for Retry {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        method: Method,
        attempt: Attempt<'a, T>,
    ) -> Result<T, CloudError> {
        let mut made = 1;
        loop {
            let error = match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let Some(pause) = self.0.pause_after(made, method, &error) else {
                return Err(error);
            };
            tracing::debug!(method = method.as_str(), attempt = made, ?pause, %error, "trying the cloud again");
            tokio::time::sleep(pause).await;
            made += 1;
        }
    }
}

impl RetryPolicy {
    /// The pause before the next try; `None` where there shall be none.
    fn pause_after(&self, made: u32, method: Method, error: &CloudError) -> Option<Duration> {
        let harmless = error.is_transient() || (method.is_read() && error.is_unknown());
        if !harmless || made >= self.attempts {
            return None;
        }
        if let CloudError::Transient {
            retry_after: Some(asked),
            ..
        } = error
        {
            return (*asked <= self.longest_pause).then_some(*asked);
        }
        let doubled = 2_u32.saturating_pow(made - 1);
        let whole = self.first_pause.saturating_mul(doubled).min(self.longest_pause);
        Some(whole / 2 + (whole / 2).mul_f64(chance()))
    }
}

/// A number from 0 to 1. Only spreads callers out, so the hasher's random keys are good enough.
fn chance() -> f64 {
    let bits = RandomState::new().hash_one(0_u8) >> 32;
    f64::from(u32::try_from(bits).expect("32 bits are left")) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::time::Instant;

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        attempts: 4,
        first_pause: Duration::from_secs(1),
        longest_pause: Duration::from_secs(3),
    };

    fn transient(retry_after: Option<u64>) -> CloudError {
        let retry_after = retry_after.map(Duration::from_secs);
        CloudError::Transient {
            doing: "testing".into(),
            retry_after,
            source: None,
        }
    }

    fn unknown() -> CloudError {
        CloudError::Unknown {
            doing: "testing".into(),
            source: None,
        }
    }

    /// How many calls were made, and how long that took.
    async fn made(method: Method, error: fn() -> CloudError, failures: u32) -> (u32, Duration, bool) {
        let (count, began) = (AtomicU32::new(0), Instant::now());
        let attempt: Attempt<'_, ()> = Box::new(|| {
            let fails = count.fetch_add(1, Ordering::Relaxed) < failures;
            Box::pin(async move { if fails { Err(error()) } else { Ok(()) } })
        });
        let answer = Layer::around(&Retry(POLICY), method, attempt).await;
        (count.load(Ordering::Relaxed), began.elapsed(), answer.is_ok())
    }

    #[tokio::test(start_paused = true)]
    async fn what_did_nothing_is_tried_again_with_growing_pauses() {
        let (calls, took, done) = made(Method::Attach, || transient(None), 2).await;
        assert_eq!((calls, done), (3, true));
        assert!(
            (Duration::from_millis(1500)..Duration::from_millis(3010)).contains(&took),
            "{took:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn it_gives_up_after_so_many_tries() {
        let (calls, took, done) = made(Method::Volume, || transient(None), 99).await;
        assert_eq!((calls, done), (4, false));
        assert!(
            took < Duration::from_millis(6010),
            "no pause beyond the longest: {took:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_mutation_in_doubt_is_never_repeated_but_a_read_is() {
        for method in [
            Method::CreateVolume,
            Method::Attach,
            Method::Detach,
            Method::DeleteVolume,
        ] {
            assert_eq!(made(method, unknown, 1).await.0, 1, "{method:?}");
        }
        assert_eq!(made(Method::Volumes, unknown, 1).await.0, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_provider_sets_the_pause_within_reason() {
        let (calls, took, _) = made(Method::Attach, || transient(Some(3)), 1).await;
        assert_eq!(calls, 2);
        assert!(
            (Duration::from_secs(3)..Duration::from_millis(3010)).contains(&took),
            "{took:?}"
        );
        assert_eq!(made(Method::Attach, || transient(Some(4)), 1).await.0, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn lasting_errors_are_not_tried_again() {
        let refused = || CloudError::Refused {
            doing: "testing".into(),
            reason: "no".into(),
        };
        assert_eq!(made(Method::Volume, refused, 1).await.0, 1);
    }
}
