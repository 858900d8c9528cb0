//! What the server received, in order, and the rules that a careful client never breaks: checked with every call.

use jiff::Timestamp;
use uuid::Uuid;

use super::wire::Params;

/// A request as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// When it came, by the server's clock.
    pub at: Timestamp,
    /// `GET` or `POST`.
    pub method: String,
    /// The command, or nothing.
    pub command: String,
    /// All parameters, the signature among them.
    pub params: Params,
    /// Whether it is a second copy that the network delivered: nobody's fault, and never judged.
    pub is_copy: bool,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is under way, or being worked on.
    Open,
    /// It was lost and will never be taken.
    Lost,
    /// It was answered with this status.
    Answered(u16),
    /// It was taken, and its answer with this status was lost.
    Unheard(u16),
}

/// A rule that the client broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// A second job for a volume while the first was alive (#14214).
    TwoLiveJobs {
        /// The volume.
        volume: Uuid,
        /// The command of the living job.
        living: String,
        /// The command that came on top.
        second: String,
    },
    /// A call for a volume while another one, not answered, might still have arrived.
    Overlap {
        /// The volume.
        volume: Uuid,
        /// The command whose fate was open.
        open: String,
        /// The command that came before it had expired.
        second: String,
    },
    /// The very same signed change sent once more, without an answer to the first: a retry that its expiry does not know.
    SentTwice {
        /// The command.
        command: String,
    },
    /// A change sent by GET.
    ChangeByGet {
        /// The command.
        command: String,
    },
}

/// The calls that change a volume; one at a time is safe.
const CHANGES_OF_A_VOLUME: [&str; 6] = [
    "attachVolume",
    "detachVolume",
    "deleteVolume",
    "destroyVolume",
    "recoverVolume",
    "resizeVolume",
];

/// Everything that was received, and what was wrong with it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    received: Vec<Received>,
    violations: Vec<Violation>,
}

impl Ledger {
    /// Writes a request down, judges it, and returns its number.
    pub(super) fn receive(&mut self, request: Received, changes: bool) -> usize {
        if changes && !request.is_copy {
            self.judge(&request);
        }
        self.received.push(request);
        self.received.len() - 1
    }

    pub(super) fn settle(&mut self, number: usize, fate: Fate) {
        if let Some(request) = self.received.get_mut(number) {
            request.fate = fate;
        }
    }

    pub(super) fn violated(&mut self, violation: Violation) {
        self.violations.push(violation);
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.received.clone()
    }

    pub(super) fn violations(&self) -> Vec<Violation> {
        self.violations.clone()
    }

    fn judge(&mut self, request: &Received) {
        let command = request.command.clone();
        if request.method == "GET" {
            self.violations.push(Violation::ChangeByGet {
                command: command.clone(),
            });
        }
        if self
            .received
            .iter()
            .any(|earlier| is_in_doubt(earlier) && is_signed_alike(earlier, request))
        {
            self.violations.push(Violation::SentTwice {
                command: command.clone(),
            });
        }
        let Some(volume) = volume_of(request) else { return };
        let open = self.received.iter().find(|earlier| {
            volume_of(earlier) == Some(volume)
                && may_still_arrive(earlier, request.at)
                && !is_resent(earlier, request)
        });
        if let Some(open) = open.map(|open| open.command.clone()) {
            self.violations.push(Violation::Overlap {
                volume,
                open,
                second: command,
            });
        }
    }
}

/// Whether the client cannot know that the call will not be taken any more.
fn may_still_arrive(earlier: &Received, now: Timestamp) -> bool {
    let is_open = !earlier.is_copy && matches!(earlier.fate, Fate::Lost | Fate::Open);
    is_open
        && earlier
            .params
            .get("expires")
            .and_then(super::expiry::parse)
            .is_none_or(|expires| now <= expires)
}

fn is_in_doubt(earlier: &Received) -> bool {
    !earlier.is_copy && !matches!(earlier.fate, Fate::Answered(_))
}

fn is_signed_alike(earlier: &Received, request: &Received) -> bool {
    let signature = request.params.get("signature");
    signature.is_some() && earlier.params.get("signature") == signature
}

/// The same call with the same job id of the caller's: whichever comes first, the other is refused.
fn is_resent(earlier: &Received, request: &Received) -> bool {
    let id = |of: &Received| of.params.get("customjobid").map(str::to_owned);
    earlier.command == request.command && id(earlier).is_some() && id(earlier) == id(request)
}

fn volume_of(request: &Received) -> Option<Uuid> {
    if !CHANGES_OF_A_VOLUME.contains(&request.command.as_str()) {
        return None;
    }
    request.params.id("id").ok().flatten()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    const VOLUME: &str = "8e6a7c2e-9b1d-4b57-9d0e-2f6f6f1f9a10";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    fn call(seconds: i64, command: &str, more: &str) -> Received {
        let query = format!("command={command}&id={VOLUME}&expires=1970-01-01T00:01:00Z&{more}");
        Received {
            at: at(seconds),
            method: "POST".to_owned(),
            command: command.to_owned(),
            params: Params::decode(&query, "").unwrap(),
            is_copy: false,
            fate: Fate::Open,
        }
    }

    /// The violations of a second call after a first one of this fate.
    fn after(fate: Fate, first: Received, second: Received) -> Vec<Violation> {
        let mut ledger = Ledger::default();
        let number = ledger.receive(first, true);
        ledger.settle(number, fate);
        ledger.receive(second, true);
        ledger.violations()
    }

    #[test]
    fn an_opposite_call_waits_until_the_lost_one_has_expired() {
        let attach = || call(0, "attachVolume", "signature=a");
        let detach = |seconds| call(seconds, "detachVolume", "signature=b");
        assert!(matches!(
            after(Fate::Lost, attach(), detach(60))[..],
            [Violation::Overlap { .. }]
        ));
        assert_eq!(after(Fate::Lost, attach(), detach(61)), []);
        assert_eq!(after(Fate::Answered(200), attach(), detach(1)), []);
    }

    #[test]
    fn a_call_may_be_sent_again_under_its_own_job_id() {
        let attach = |job: &str, signature: &str| {
            call(
                1,
                "attachVolume",
                &format!("customjobid={job}&signature={signature}"),
            )
        };
        assert_eq!(after(Fate::Lost, attach("j", "a"), attach("j", "b")), []);
        assert_eq!(after(Fate::Lost, attach("j", "a"), attach("k", "b")).len(), 1);
        let again = after(Fate::Unheard(200), attach("j", "a"), attach("j", "a"));
        assert_eq!(
            again,
            [Violation::SentTwice {
                command: "attachVolume".to_owned()
            }]
        );
        assert_eq!(after(Fate::Answered(401), attach("j", "a"), attach("j", "a")), []);
    }

    #[test]
    fn a_change_is_posted() {
        let mut ledger = Ledger::default();
        let change = Received {
            method: "GET".to_owned(),
            ..call(0, "deleteVolume", "")
        };
        ledger.receive(change, true);
        assert_eq!(
            ledger.violations(),
            [Violation::ChangeByGet {
                command: "deleteVolume".to_owned()
            }]
        );
    }
}
