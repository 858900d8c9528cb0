//! An asynchronous job as `queryAsyncJobResult` tells of it.

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::wire::time;

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// `jobstatus` 0.
    Pending,
    /// `jobstatus` 1, with `jobresult`.
    Succeeded(Value),
    /// `jobstatus` 2. The result is absent where the server kept plain text for it; the code may be 0.
    Failed {
        /// `jobresultcode`.
        code: u16,
        /// `jobresult`.
        result: Option<Value>,
    },
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its UUID: the caller's `customjobid`, or one of the server's.
    pub id: Uuid,
    /// The command that started it.
    pub command: &'static str,
    /// The account of who started it.
    pub account: Uuid,
    /// The user who started it.
    pub user: Uuid,
    /// `jobinstancetype`: `Volume`, `Snapshot` and so on.
    pub instance_type: &'static str,
    /// `jobinstanceid`.
    pub instance: Uuid,
    /// How far it is.
    pub state: JobState,
    /// When it was taken.
    pub created: Timestamp,
    /// When it ended.
    pub completed: Option<Timestamp>,
    /// Whether somebody in the user interface started it.
    pub by_stranger: bool,
    /// Whether it is so old that the server forgot it.
    pub expunged: bool,
}

impl Job {
    /// Whether it has not ended.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.state == JobState::Pending
    }

    /// `jobstatus`.
    #[must_use]
    pub fn status(&self) -> u8 {
        match self.state {
            JobState::Pending => 0,
            JobState::Succeeded(_) => 1,
            JobState::Failed { .. } => 2,
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let mut body = json!({
            "jobid": self.id,
            "accountid": self.account,
            "userid": self.user,
            "cmd": class_of(self.command, self.instance_type),
            "jobstatus": self.status(),
            "jobprocstatus": 0,
            "jobresultcode": self.code(),
            "jobinstancetype": self.instance_type,
            "jobinstanceid": self.instance,
            "created": time(self.created),
        });
        if let Some(result) = self.result() {
            body["jobresulttype"] = json!("object");
            body["jobresult"] = result.clone();
        }
        if let Some(completed) = self.completed {
            body["completed"] = json!(time(completed));
        }
        body
    }

    fn code(&self) -> u16 {
        match self.state {
            JobState::Failed { code, .. } => code,
            JobState::Pending | JobState::Succeeded(_) => 0,
        }
    }

    fn result(&self) -> Option<&Value> {
        match &self.state {
            JobState::Pending => None,
            JobState::Succeeded(result) => Some(result),
            JobState::Failed { result, .. } => result.as_ref(),
        }
    }
}

/// The class of the command in the server, as `cmd` shows it.
fn class_of(command: &str, instance_type: &str) -> String {
    let package = match instance_type {
        "VirtualMachine" => "vm",
        "VmSnapshot" => "vmsnapshot",
        "Snapshot" => "snapshot",
        "ResourceTag" => "tag",
        _ => "volume",
    };
    let (first, rest) = command.split_at(1);
    format!(
        "org.apache.cloudstack.api.command.user.{package}.{}{rest}Cmd",
        first.to_uppercase()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(state: JobState) -> Value {
        let job = Job {
            id: Uuid::nil(),
            command: "attachVolume",
            account: Uuid::nil(),
            user: Uuid::nil(),
            instance_type: "Volume",
            instance: Uuid::nil(),
            state,
            created: Timestamp::UNIX_EPOCH,
            completed: None,
            by_stranger: false,
            expunged: false,
        };
        job.to_json()
    }

    #[test]
    fn a_result_is_there_only_where_the_server_kept_one() {
        assert!(job(JobState::Pending).get("jobresult").is_none());
        assert_eq!(
            job(JobState::Succeeded(json!({"a": 1})))["jobresult"],
            json!({"a": 1})
        );
        let blocked = job(JobState::Failed {
            code: 0,
            result: None,
        });
        assert!(blocked.get("jobresult").is_none());
        assert_eq!(
            (&blocked["jobstatus"], &blocked["jobresultcode"]),
            (&json!(2), &json!(0))
        );
    }

    #[test]
    fn the_command_is_shown_as_the_servers_class() {
        let cmd = &job(JobState::Pending)["cmd"];
        assert_eq!(
            cmd,
            "org.apache.cloudstack.api.command.user.volume.AttachVolumeCmd"
        );
    }
}
