//! One API command: its name, its parameters, and whether it changes anything.

use std::time::Duration;

/// Whether a command changes anything at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It only asks: its answer may be lost without harm.
    Reads,
    /// It changes something: a lost answer leaves it open whether it did.
    Changes,
}

/// What a "not authorised" is taken for. The server gives it for wrong keys, for a wrong clock, for commands that the role
/// must not use, and now and then for no reason (apache/cloudstack#11394).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denial {
    /// Perhaps a whim: it is tried again a few times.
    MayPass,
    /// The role may well lack this command: it is believed at once.
    Believed,
}

/// A command to be signed and sent.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) name: &'static str,
    pub(super) parameters: Vec<(String, String)>,
    pub(super) effect: Effect,
    pub(super) denial: Denial,
    /// How long the answer may take; the configured time where it says nothing.
    pub(super) patience: Option<Duration>,
}

impl Command {
    /// A command that only asks.
    pub(super) fn read(name: &'static str) -> Self {
        Self {
            name,
            parameters: Vec::new(),
            effect: Effect::Reads,
            denial: Denial::MayPass,
            patience: None,
        }
    }

    /// A command that changes something.
    pub(super) fn change(name: &'static str) -> Self {
        Self {
            effect: Effect::Changes,
            ..Self::read(name)
        }
    }

    /// Adds a parameter. Names are in lower case: see [`signing`](super::signing).
    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        debug_assert!(!name.contains(|c: char| c.is_ascii_uppercase()), "{name}");
        self.parameters.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a parameter where there is a value.
    pub(super) fn with_some(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Believes a denial at once.
    pub(super) fn perhaps_denied(mut self) -> Self {
        self.denial = Denial::Believed;
        self
    }

    /// Gives the server this long to answer.
    pub(super) fn within(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// The first parameter whose value the server would refuse: it takes no control characters.
    pub(super) fn unsendable(&self) -> Option<&str> {
        let bad = |(_, value): &&(String, String)| value.chars().any(char::is_control);
        self.parameters.iter().find(bad).map(|(name, _)| name.as_str())
    }
}
