//! Tells an observer how each call to the cloud ended and how long it took.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

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
        let answer = attempt().await;
        report.outcome = answer.as_ref().err().map_or("ok", CloudError::kind);
        answer
    }
}
