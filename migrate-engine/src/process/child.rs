//! A child that cannot be forgotten: dropping it kills it and sees to it that it is reaped.

use std::ops::{Deref, DerefMut};

use tokio::process::Child;
use tokio::runtime::Handle;

/// A started child. Dropping it kills it; a task then reaps it at once, where tokio alone would leave it a zombie
/// until the runtime has something else to do.
#[derive(Debug)]
pub(super) struct OwnedChild {
    child: Option<Child>,
    runtime: Handle,
}

impl OwnedChild {
    /// Owns a child that was started on `runtime`.
    pub(super) fn new(child: Child, runtime: Handle) -> Self {
        OwnedChild {
            child: Some(child),
            runtime,
        }
    }
}

impl Deref for OwnedChild {
    type Target = Child;

    fn deref(&self) -> &Child {
        self.child.as_ref().expect("the child is taken in drop only")
    }
}

impl DerefMut for OwnedChild {
    fn deref_mut(&mut self) -> &mut Child {
        self.child.as_mut().expect("the child is taken in drop only")
    }
}

impl Drop for OwnedChild {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        // No id: it was reaped already.
        if child.id().is_some() && child.start_kill().is_ok() {
            // Ends with the child's death, which is on its way. On a runtime that is shutting down the task is
            // dropped, and the child with it.
            self.runtime.spawn(async move { child.wait().await });
        }
    }
}
