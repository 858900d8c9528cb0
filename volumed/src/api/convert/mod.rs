//! From records to wire types, one file per resource: what is stored may change without callers noticing.

pub(super) mod device;
pub(super) mod event;
pub(super) mod lease;
pub(super) mod operation;
pub(super) mod snapshot;
pub(super) mod token;
pub(super) mod volume;
