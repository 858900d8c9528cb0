//! A flag that stops work: shared, sticky, and inherited by children.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A handle that any thread may raise and any thread may check; once raised it stays raised.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    own: Arc<AtomicBool>,
    parent: Option<Arc<Cancel>>,
}

impl Cancel {
    /// A flag that is not raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// A flag that is raised when this one is, and can be raised without raising this one.
    pub fn child(&self) -> Self {
        Self {
            own: Arc::default(),
            parent: Some(Arc::new(self.clone())),
        }
    }

    /// Raises the flag; raising it again changes nothing.
    pub fn cancel(&self) {
        self.own.store(true, Ordering::Release);
    }

    /// Whether this flag or one of its parents was raised.
    pub fn is_cancelled(&self) -> bool {
        self.own.load(Ordering::Acquire) || self.parent.as_ref().is_some_and(|parent| parent.is_cancelled())
    }
}

#[cfg(test)]
mod tests {
    use super::Cancel;

    #[test]
    fn a_child_inherits_and_does_not_spread() {
        let parent = Cancel::new();
        let (one, other) = (parent.child(), parent.child());
        one.cancel();
        assert!(one.is_cancelled() && !other.is_cancelled() && !parent.is_cancelled());
        parent.cancel();
        assert!(other.is_cancelled() && other.child().is_cancelled());
    }
}
