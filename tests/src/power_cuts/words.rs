//! What the clients in the guest are told to do, and what they tell the host of each answer before they go on.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use volume_client::types::{LeaseId, Operation, OperationId, VolumeId};

/// What is to be done between two cuts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Orders {
    /// The daemon's socket.
    pub socket: PathBuf,
    /// The VM that it runs in.
    pub vm: String,
    /// Where the host listens.
    pub host: String,
    /// What the volumes' names begin with, one for each lane.
    pub lanes: Vec<String>,
    /// With what chance begins.
    pub seed: u64,
    /// Requests that were answered before the cut: they must be answered with the same operation again.
    pub replays: Vec<Told>,
}

/// A change that is asked for, as it can be asked for again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// A volume of this name.
    Create(String),
    /// Attach it.
    Attach(VolumeId),
    /// Detach it.
    Detach(VolumeId),
    /// Delete it, which takes its name.
    Delete(VolumeId, String),
}

/// An operation that the daemon acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// What was asked.
    pub ask: Ask,
    /// Under which key.
    pub key: String,
    /// The answer.
    pub operation: OperationId,
}

/// What the daemon answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Word {
    /// It took a change on.
    Taken(Told),
    /// An operation has ended like this.
    Ended(Box<Operation>),
    /// A lease was granted.
    Leased(LeaseId, VolumeId),
    /// A lease was given back.
    Released(LeaseId),
    /// The repetition of a request was answered with this operation, or refused.
    Repeated(Told, Result<OperationId, String>),
}
