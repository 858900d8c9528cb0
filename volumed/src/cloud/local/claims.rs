//! One mutation per volume at a time: short ones wait for each other, nobody waits for a copy.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};
use uuid::Uuid;

use crate::cloud::CloudError;

/// What a claim is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Over in a moment.
    Short,
    /// May take minutes; says what is going on.
    Long(&'static str),
}

/// Who may work on which volume.
#[derive(Debug, Default)]
pub(super) struct Claims {
    held: Mutex<HashMap<Uuid, Work>>,
    released: Condvar,
}

/// The right to change one volume, until dropped.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    claims: &'a Claims,
    volume: Uuid,
}

/// Whether somebody still wants the answer of a call.
#[derive(Debug, Clone, Default)]
pub(super) struct Ticket(Arc<AtomicBool>);

/// The caller's side of a [`Ticket`]: dropped early, a call that has not begun never begins.
#[derive(Debug)]
pub(super) struct Interest(Ticket);

impl Claims {
    /// Waits for short work on the volume to end; refuses while long work goes on or when nobody wants it any more.
    pub(super) fn claim(&self, volume: Uuid, work: Work, ticket: &Ticket) -> Result<Claim<'_>, CloudError> {
        let mut held = self.held.lock();
        loop {
            match held.get(&volume) {
                None => break,
                Some(Work::Short) => self.released.wait(&mut held),
                Some(Work::Long(what)) => {
                    return Err(CloudError::Conflict {
                        doing: format!("changing volume {volume}"),
                        reason: format!("it is busy ({what})"),
                    });
                }
            }
        }
        ticket.still_wanted(volume)?;
        held.insert(volume, work);
        Ok(Claim { claims: self, volume })
    }

    /// The long work that goes on at the volume.
    pub(super) fn long_work(&self, volume: Uuid) -> Option<&'static str> {
        match self.held.lock().get(&volume) {
            Some(Work::Long(what)) => Some(what),
            _ => None,
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.claims.held.lock().remove(&self.volume);
        self.claims.released.notify_all();
    }
}

impl Ticket {
    /// A ticket, and what keeps it wanted.
    pub(super) fn issue() -> (Ticket, Interest) {
        let ticket = Ticket::default();
        (ticket.clone(), Interest(ticket))
    }

    /// Fails once the caller has gone.
    pub(super) fn still_wanted(&self, volume: Uuid) -> Result<(), CloudError> {
        if self.0.load(Ordering::Acquire) {
            return Err(CloudError::Transient {
                doing: format!("changing volume {volume} for a caller that has gone"),
                retry_after: None,
                source: None,
            });
        }
        Ok(())
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const VOLUME: Uuid = Uuid::from_u128(1);

    #[test]
    fn nobody_waits_for_long_work() {
        let (claims, (ticket, _interest)) = (Claims::default(), Ticket::issue());
        let long = claims
            .claim(VOLUME, Work::Long("copying"), &ticket)
            .expect("it is free");
        assert_eq!(claims.long_work(VOLUME), Some("copying"));
        let refused = claims
            .claim(VOLUME, Work::Short, &ticket)
            .expect_err("it is busy");
        assert_eq!(refused.kind(), "conflict");
        claims
            .claim(Uuid::from_u128(2), Work::Short, &ticket)
            .expect("another volume is free");
        drop(long);
        assert_eq!(claims.long_work(VOLUME), None);
        claims
            .claim(VOLUME, Work::Short, &ticket)
            .expect("it is free again");
    }

    #[test]
    fn a_call_that_nobody_wants_any_more_never_begins() {
        let claims = Claims::default();
        let (ticket, interest) = Ticket::issue();
        let (gone, gone_interest) = Ticket::issue();
        let first = claims.claim(VOLUME, Work::Short, &ticket).expect("it is free");
        thread::scope(|scope| {
            let waiting = scope.spawn(|| claims.claim(VOLUME, Work::Short, &gone).map(drop));
            drop(gone_interest);
            drop(first);
            let never = waiting
                .join()
                .expect("no panic")
                .expect_err("its caller has gone");
            assert!(never.is_transient(), "{never}");
        });
        claims
            .claim(VOLUME, Work::Short, &ticket)
            .expect("nothing is left held");
        drop(interest);
    }
}
