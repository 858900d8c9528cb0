//! Who is let in, and as what: one decision for every request.

use serving::Peer;

use crate::model::Scope;
use crate::store::TokenRecord;

/// Who is let in without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Whether everybody who comes over TCP needs a token.
    pub tcp_needs_token: bool,
    /// What members of the group of our Unix socket may do; root, and who the daemon runs as, may do everything.
    pub group_scope: Scope,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            tcp_needs_token: false,
            group_scope: Scope::Admin,
        }
    }
}

/// Who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// As records and logs name it.
    pub actor: String,
    /// What it may do.
    pub scope: Scope,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Nobody knows who it is.
    Unknown,
    /// It may less than that.
    Insufficient(Scope),
}

/// What a request brings along to say who is asking.
#[derive(Debug, Clone, Copy)]
pub enum Brought<'a> {
    /// No token.
    Nothing,
    /// A token that works.
    Token(&'a TokenRecord),
    /// A token that does not work, or something else.
    Useless,
}

impl Policy {
    /// Who is asking. A token that was brought counts, wherever it comes from: who brings one that does not work is wrong about
    /// something, and is told.
    ///
    /// # Errors
    /// [`Denied::Unknown`].
    pub fn caller(&self, peer: Option<&Peer>, brought: Brought<'_>) -> Result<Caller, Denied> {
        let from = peer.map_or_else(|| "unknown".to_owned(), Peer::to_string);
        match brought {
            Brought::Token(token) => Ok(Caller {
                actor: format!("token:{} {from}", token.name),
                scope: token.scope,
            }),
            Brought::Useless => Err(Denied::Unknown),
            Brought::Nothing => Ok(Caller {
                scope: self.scope_of(peer)?,
                actor: from,
            }),
        }
    }

    fn scope_of(&self, peer: Option<&Peer>) -> Result<Scope, Denied> {
        let ours = rustix::process::geteuid().as_raw();
        match peer {
            Some(Peer::Unix { uid, .. }) if *uid == 0 || *uid == ours => Ok(Scope::Admin),
            Some(Peer::Unix { .. }) => Ok(self.group_scope),
            Some(Peer::Tcp(_)) | None if self.tcp_needs_token => Err(Denied::Unknown),
            Some(Peer::Tcp(_)) | None => Ok(Scope::Admin),
        }
    }
}

impl Caller {
    /// Whether it may do what takes this scope.
    ///
    /// # Errors
    /// [`Denied::Insufficient`].
    pub fn require(&self, needed: Scope) -> Result<(), Denied> {
        match self.scope >= needed {
            true => Ok(()),
            false => Err(Denied::Insufficient(needed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_let_in_without_a_token() {
        let tcp = Peer::Tcp("127.0.0.1:9".parse().unwrap());
        let unix = |uid| Peer::Unix { uid, pid: None };
        let strict = Policy {
            tcp_needs_token: true,
            group_scope: Scope::Read,
        };
        let scope = |policy: Policy, peer| policy.caller(Some(&peer), Brought::Nothing).map(|it| it.scope);
        assert_eq!(scope(strict, unix(0)), Ok(Scope::Admin));
        assert_eq!(scope(strict, unix(4_000_000)), Ok(Scope::Read));
        assert_eq!(scope(strict, tcp), Err(Denied::Unknown));
        assert_eq!(scope(Policy::default(), tcp), Ok(Scope::Admin));
        assert_eq!(scope(Policy::default(), unix(4_000_000)), Ok(Scope::Admin));
        for policy in [strict, Policy::default()] {
            let wrong = policy.caller(Some(&unix(0)), Brought::Useless);
            assert_eq!(wrong, Err(Denied::Unknown), "who brings a token means it");
        }
    }

    #[test]
    fn each_scope_may_what_those_before_it_may() {
        for (at, scope) in Scope::ALL.into_iter().enumerate() {
            let caller = Caller {
                actor: "x".into(),
                scope,
            };
            for (needed_at, needed) in Scope::ALL.into_iter().enumerate() {
                assert_eq!(caller.require(needed).is_ok(), needed_at <= at);
            }
        }
    }
}
