//! The parts of the service: long-lived tasks, each with a name, of which none may end by itself.

use std::collections::HashMap;
use std::future::Future;

use tokio::task::{Id, JoinSet};

/// The tasks of a service. Dropping it breaks off what is left of them.
#[derive(Default)]
pub(super) struct Parts {
    /// Those that hold something which they give back once they are told to stop.
    giving_back: JoinSet<()>,
    /// Those that may be broken off.
    others: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Parts {
    /// Begins a part that is waited for when the service stops.
    pub(super) fn begin(&mut self, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        let id = self.giving_back.spawn(part).id();
        self.names.insert(id, name);
    }

    /// Begins a part that holds nothing.
    pub(super) fn begin_idle(&mut self, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        let id = self.others.spawn(part).id();
        self.names.insert(id, name);
    }

    /// Waits until one ends, by itself or by a panic. Returns its name.
    pub(super) async fn one_ends(&mut self) -> &'static str {
        let ended = tokio::select! {
            Some(ended) = self.giving_back.join_next_with_id() => ended,
            Some(ended) = self.others.join_next_with_id() => ended,
            else => return "every part",
        };
        let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
        self.names.get(&id).copied().unwrap_or("a part")
    }

    /// Waits for those that give something back, once they were told to stop; breaks the others off.
    pub(super) async fn end(mut self) {
        while self.giving_back.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn the_one_that_ends_or_panics_is_named() {
        let mut parts = Parts::default();
        parts.begin("lasting", pending());
        parts.begin_idle("brief", async {});
        assert_eq!(parts.one_ends().await, "brief");
        parts.begin("panicking", async { panic!("a fault") });
        assert_eq!(parts.one_ends().await, "panicking");
    }

    #[tokio::test]
    async fn the_end_waits_for_those_that_give_back_only() {
        let (done, told) = tokio::sync::oneshot::channel();
        let mut parts = Parts::default();
        parts.begin("giving back", async move {
            tokio::task::yield_now().await;
            done.send(()).unwrap();
        });
        parts.begin_idle("lasting", pending());
        parts.end().await;
        assert_eq!(told.await, Ok(()));
    }
}
