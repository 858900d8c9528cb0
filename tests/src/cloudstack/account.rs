//! Accounts, projects, and the API keys with what each may call.

use std::collections::BTreeSet;

use uuid::Uuid;

/// What a key may call. A call that is not permitted looks like a wrong signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Root administrator: everything, on everything.
    Admin,
    /// A user of the account: all that is not an administrator's.
    User,
    /// A user whose role lists its calls.
    Limited(BTreeSet<String>),
}

impl Role {
    /// A role that permits just these calls.
    #[must_use]
    pub fn only(calls: &[&str]) -> Self {
        Self::Limited(calls.iter().map(|call| (*call).to_owned()).collect())
    }
}

/// A pair of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `apikey`.
    pub api_key: String,
    /// What requests are signed with.
    pub secret_key: String,
}

/// An owner of volumes and VMs; a project owns through an account of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) project: Option<Uuid>,
}

/// Who calls: a key, whose account it is, and what it may do.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) id: Uuid,
    pub(super) account: Uuid,
    pub(super) credentials: Credentials,
    pub(super) role: Role,
}

impl User {
    pub(super) fn new(account: Uuid, role: Role) -> Self {
        let key = || format!("{}-_{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let credentials = Credentials {
            api_key: key(),
            secret_key: key(),
        };
        Self {
            id: Uuid::new_v4(),
            account,
            credentials,
            role,
        }
    }

    pub(super) fn is_admin(&self) -> bool {
        self.role == Role::Admin
    }
}
