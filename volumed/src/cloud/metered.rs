//! Tells an observer how each call to the cloud ended and how long it took.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

use super::layer::{Attempt, Layer, Method};
use super::{Cloud, CloudError, Layered};

/// Who wants to know of calls: metrics. Called once per call, never with a lock held; must not block.
pub trait CallObserver: Send + Sync + 'static {
    /// A call ended. `method` is a method of [`Cloud`]; `outcome` is `ok`, a [`CloudError::kind`], or `abandoned` where
    /// the caller did not wait for the end. Both are closed sets.
    fn finished(&self, method: &'static str, outcome: &'static str, took: Duration);
}

/// Reports every call to an observer and changes nothing.
#[derive(Clone)]
pub struct Metered(Arc<dyn CallObserver>);

impl Metered {
    /// Puts the layer around a provider.
    pub fn around(observer: Arc<dyn CallObserver>, inner: Arc<dyn Cloud>) -> Layered<Metered> {
        Layered::new(Metered(observer), inner)
    }
}

/// Reports when dropped, so that a call that nobody waits for is reported too.
struct Report<'a> {
    observer: &'a dyn CallObserver,
    method: Method,
    outcome: &'static str,
    began: Instant,
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        self.observer
            .finished(self.method.as_str(), self.outcome, self.began.elapsed());
    }
}

impl Layer for Metered {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        method: Method,
        attempt: Attempt<'a, T>,
    ) -> Result<T, CloudError> {
        let mut report = Report {
            observer: &*self.0,
            method,
            outcome: "abandoned",
            began: Instant::now(),
        };
        let span = tracing::info_span!("cloud_call", method = method.as_str());
        let answer = attempt().instrument(span.clone()).await;
        report.outcome = answer.as_ref().err().map_or("ok", CloudError::kind);
        let (outcome, took) = (report.outcome, report.began.elapsed());
        // What goes wrong is said in full by whoever asked: this line ties an answer to its operation.
        span.in_scope(|| match method.is_read() {
            true => tracing::debug!(outcome, ?took, "the cloud answered"),
            false => tracing::info!(outcome, ?took, "the cloud answered"),
        });
        answer
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[derive(Default)]
    struct Seen(Mutex<Vec<(&'static str, &'static str, Duration)>>);

    impl CallObserver for Seen {
        fn finished(&self, method: &'static str, outcome: &'static str, took: Duration) {
            self.0.lock().push((method, outcome, took));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_end_is_reported_even_of_calls_nobody_waits_for() {
        let seen = Arc::new(Seen::default());
        let layer = Metered(seen.clone());
        let second = Duration::from_secs(1);
        let done: Attempt<'_, ()> = Box::new(|| {
            Box::pin(async move {
                tokio::time::sleep(second).await;
                Ok(())
            })
        });
        Layer::around(&layer, Method::Detach, done)
            .await
            .expect("it succeeds");
        let lost: Attempt<'_, ()> = Box::new(|| {
            Box::pin(async {
                Err(CloudError::Unknown {
                    doing: "testing".into(),
                    source: None,
                })
            })
        });
        Layer::around(&layer, Method::Resize, lost)
            .await
            .expect_err("it fails");
        let endless: Attempt<'_, ()> = Box::new(|| Box::pin(std::future::pending()));
        let waited = tokio::time::timeout(second, Layer::around(&layer, Method::Attach, endless)).await;
        assert!(waited.is_err());
        let seen: Vec<_> = seen
            .0
            .lock()
            .iter()
            .map(|&(method, outcome, _)| (method, outcome))
            .collect();
        assert_eq!(
            seen,
            [("detach", "ok"), ("resize", "unknown"), ("attach", "abandoned")]
        );
    }
}
