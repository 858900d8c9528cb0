//! A cloud that misbehaves on order: for tests and demonstrations of what the daemon makes of it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::layer::{Attempt, Layer, Method};
use super::{Cause, Cloud, CloudError, Layered};

/// One misbehaviour of one call.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The call does nothing and fails with [`CloudError::Transient`].
    Transient {
        /// The pause that the provider asks for.
        retry_after: Option<Duration>,
    },
    /// The call does nothing and fails with [`CloudError::NoSpace`].
    NoSpace,
    /// The call does nothing, but the caller cannot know: [`CloudError::Unknown`].
    LoseRequest,
    /// The call does its work, whatever comes of it, but the caller cannot know: [`CloudError::Unknown`].
    LoseAnswer,
    /// The call begins this much later.
    Delay(Duration),
    /// The call begins when the gate is opened.
    Hold(Gate),
}

/// Holds calls up until it is opened. Clones are the same gate.
#[derive(Debug, Clone)]
pub struct Gate {
    opened: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
}

impl Default for Gate {
    fn default() -> Self {
        Gate {
            opened: watch::Sender::new(false),
            waiting: watch::Sender::new(0),
        }
    }
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Gate {
        Gate::default()
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        self.opened.send_replace(true);
    }

    /// Waits until at least `calls` calls have come to the gate.
    pub async fn reached_by(&self, calls: usize) {
        let mut waiting = self.waiting.subscribe();
        // Cannot fail: `self` keeps the sender.
        let _ = waiting.wait_for(|count| *count >= calls).await;
    }

    async fn pass(&self) {
        self.waiting.send_modify(|count| *count += 1);
        let mut opened = self.opened.subscribe();
        // Cannot fail: `self` keeps the sender.
        let _ = opened.wait_for(|open| *open).await;
    }
}

/// The faults to come, method by method, each used once and in order. Clones are the same script.
#[derive(Debug, Clone, Default)]
pub struct FaultScript(Arc<Mutex<HashMap<Method, VecDeque<Fault>>>>);

impl FaultScript {
    /// A script without faults.
    #[must_use]
    pub fn new() -> FaultScript {
        FaultScript::default()
    }

    /// Appends a fault for a coming call of `method`.
    pub fn push(&self, method: Method, fault: Fault) {
        self.0.lock().entry(method).or_default().push_back(fault);
    }

    /// How many faults of `method` have not been met yet.
    #[must_use]
    pub fn left(&self, method: Method) -> usize {
        self.0.lock().get(&method).map_or(0, VecDeque::len)
    }

    fn next(&self, method: Method) -> Option<Fault> {
        self.0.lock().get_mut(&method)?.pop_front()
    }
}

/// Misbehaves as its script says; without one, passes everything through.
#[derive(Debug, Clone, Default)]
pub struct Faulty(FaultScript);

impl Faulty {
    /// Puts the layer around a provider.
    pub fn around(script: FaultScript, inner: Arc<dyn Cloud>) -> Layered<Faulty> {
        Layered::new(Faulty(script), inner)
    }
}

/// Nothing real went wrong.
#[derive(Debug, thiserror::Error)]
#[error("a fault on order")]
struct Ordered;

impl Layer for Faulty {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        method: Method,
        attempt: Attempt<'a, T>,
    ) -> Result<T, CloudError> {
        let doing = format!("calling {}", method.as_str());
        let source = Some(Cause::from(Ordered));
        match self.0.next(method) {
            None => {}
            Some(Fault::Transient { retry_after }) => {
                return Err(CloudError::Transient {
                    doing,
                    retry_after,
                    source,
                });
            }
            Some(Fault::NoSpace) => return Err(CloudError::NoSpace { doing, source }),
            Some(Fault::LoseRequest) => return Err(CloudError::Unknown { doing, source }),
            Some(Fault::LoseAnswer) => {
                let _lost = attempt().await;
                return Err(CloudError::Unknown { doing, source });
            }
            Some(Fault::Delay(pause)) => tokio::time::sleep(pause).await,
            Some(Fault::Hold(gate)) => gate.pass().await,
        }
        attempt().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::time::Instant;

    use super::*;

    /// The answer's kind, and how often the work was done.
    async fn met(script: &FaultScript, method: Method) -> (&'static str, u32) {
        let count = AtomicU32::new(0);
        let attempt: Attempt<'_, ()> = Box::new(|| {
            count.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { Ok(()) })
        });
        let answer = Layer::around(&Faulty(script.clone()), method, attempt).await;
        (
            answer.as_ref().map_or_else(CloudError::kind, |()| "ok"),
            count.load(Ordering::Relaxed),
        )
    }

    #[tokio::test]
    async fn faults_are_met_once_in_order_by_their_method() {
        let script = FaultScript::new();
        for fault in [
            Fault::Transient { retry_after: None },
            Fault::NoSpace,
            Fault::LoseRequest,
            Fault::LoseAnswer,
        ] {
            script.push(Method::Attach, fault);
        }
        assert_eq!(met(&script, Method::Detach).await, ("ok", 1));
        let expected = [
            ("transient", 0),
            ("no_space", 0),
            ("unknown", 0),
            ("unknown", 1),
            ("ok", 1),
        ];
        for expected in expected {
            assert_eq!(met(&script, Method::Attach).await, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn delays_and_gates_hold_a_call_up() {
        let (script, gate) = (FaultScript::new(), Gate::new());
        let pause = Duration::from_secs(5);
        script.push(Method::Resize, Fault::Delay(pause));
        script.push(Method::Resize, Fault::Hold(gate.clone()));
        let began = Instant::now();
        assert_eq!(met(&script, Method::Resize).await, ("ok", 1));
        assert!(began.elapsed() >= pause);

        let held = tokio::spawn(async move { met(&script, Method::Resize).await });
        gate.reached_by(1).await;
        assert!(!held.is_finished());
        gate.open();
        assert_eq!(held.await.expect("it ends"), ("ok", 1));
    }
}
