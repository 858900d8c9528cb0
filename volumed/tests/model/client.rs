//! The clients of a history: what they asked for, what they were answered, what they hold.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use volumed::model::{
    ErrorCode, LeaseAccess, LeaseId, LeasePurpose, OperationId, OperationStatus, Request, VolumeId,
};
use volumed::operation::{NewLease, OperationError, Submission};
use volumed::store::{self, Asker, Key, VolumeFilter, VolumeRecord};

use crate::asked::request;
use crate::daemon::Daemon;
use crate::event::{Asked, Which};
use crate::reference::{Seen, answer};
use crate::world::World;

/// A request that was taken, with its key.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    volume: Option<VolumeId>,
    request: Request,
    key: Key,
    pub(crate) operation: OperationId,
}

/// A lease that was granted.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) id: LeaseId,
    pub(crate) expires: Timestamp,
}

#[derive(Debug, Default)]
pub(crate) struct Clients {
    pub(crate) sent: Vec<Sent>,
    pub(crate) leases: Vec<Held>,
    /// How operations ended, once they were seen to.
    pub(crate) ended: BTreeMap<OperationId, (OperationStatus, Option<Value>)>,
    keys: u64,
    /// When the present daemon was started.
    pub(crate) started: Timestamp,
}

fn asker() -> Asker {
    Asker {
        actor: "model".into(),
        request_id: None,
    }
}

pub(crate) async fn volumes(daemon: &Daemon) -> Vec<VolumeRecord> {
    let all = daemon
        .store
        .read(|conn| store::volumes::list(conn, &VolumeFilter::default(), 100));
    all.await.unwrap()
}

pub(crate) async fn volume(daemon: &Daemon, which: Which) -> Option<VolumeRecord> {
    let all = volumes(daemon).await;
    let count = all.len();
    all.into_iter().nth(which % count.max(1))
}

impl Clients {
    /// Asks for something; what it is answered has to be what the reference says.
    pub(crate) async fn ask(&mut self, daemon: &Daemon, world: &World, asked: &Asked) {
        let Some((volume, request)) = request(daemon, asked).await else {
            return;
        };
        self.keys += 1;
        let key = Key {
            key: format!("key-{}", self.keys),
            request_hash: format!("{volume:?} {request:?}"),
        };
        self.submit(daemon, world, volume, request, key).await;
    }

    async fn submit(
        &mut self,
        daemon: &Daemon,
        world: &World,
        volume: Option<VolumeId>,
        request: Request,
        key: Key,
    ) {
        let seen = async |id: Option<VolumeId>| match id {
            Some(id) => Some(daemon.store.read(move |conn| Seen::of(conn, id)).await.unwrap()),
            None => None,
        };
        let before = seen(volume).await;
        let is_delete = matches!(request, Request::Delete { .. });
        if let Some(id) = volume.filter(|_| is_delete) {
            condemn(world, id);
        }
        let submission = Submission {
            volume_id: volume,
            request: request.clone(),
            asker: asker(),
            key: Some(key.clone()),
        };
        let result = daemon.operations.submit(submission).await;
        let after = seen(volume).await;
        let now = daemon.store.now();
        let shown = result.as_ref().map(|op| op.id).map_err(ToString::to_string);
        world
            .now()
            .tell(format!("client: {request:?} {volume:?}: {shown:?}"));
        let given = match &result {
            Ok(_) => Ok(()),
            Err(OperationError::Refused { failure, .. }) => Err(failure.code),
            Err(OperationError::NotReady(_)) if now < self.started + SignedDuration::from_secs(1) => return,
            Err(error) => {
                world
                    .now()
                    .violated(format!("{request:?} was answered {error:?}"));
                return;
            }
        };
        let views = [before, after];
        // An operation that was open when the client looked may have ended before it asked.
        let freed = |seen: &Seen| Seen {
            open: None,
            ..seen.clone()
        };
        let expected: Vec<_> = match views.iter().flatten().collect::<Vec<_>>().as_slice() {
            [] => vec![Ok(())],
            views => views
                .iter()
                .flat_map(|seen| [answer(&request, seen, now), answer(&request, &freed(seen), now)])
                .collect(),
        };
        let is_steady = views[0] == views[1];
        let expected = if is_steady {
            expected[..1].to_vec()
        } else {
            expected
        };
        if !expected.contains(&given) {
            let text = format!("{request:?} was answered {given:?}, expected {expected:?}: {views:?}");
            world.now().violated(text);
        }
        match result {
            Ok(op) => self.sent.push(Sent {
                volume,
                request,
                key,
                operation: op.id,
            }),
            Err(_) => {
                if let Some(id) = volume.filter(|_| is_delete) {
                    self.pardon(world, id);
                }
            }
        }
    }

    /// A deletion that was refused is no order, unless an earlier one was taken.
    fn pardon(&self, world: &World, id: VolumeId) {
        let is_ordered =
            |sent: &Sent| sent.volume == Some(id) && matches!(sent.request, Request::Delete { .. });
        if !self.sent.iter().any(is_ordered) {
            let suffix = id.to_string();
            world
                .now()
                .cloud
                .condemned
                .retain(|name| !name.ends_with(&suffix));
        }
    }

    /// One of the requests that were sent before, counted from the latest.
    fn earlier(&self, which: Which) -> Option<Sent> {
        self.sent
            .iter()
            .rev()
            .nth(which % self.sent.len().max(1))
            .cloned()
    }

    /// The same key and request, sent again: the same operation.
    pub(crate) async fn ask_again(&mut self, daemon: &Daemon, world: &World, which: Which) {
        let Some(sent) = self.earlier(which) else { return };
        let result = daemon
            .operations
            .submit(submission(&sent, sent.key.clone()))
            .await;
        match result {
            Ok(op) if op.id == sent.operation => {}
            Err(OperationError::NotReady(_)) => {}
            other => world
                .now()
                .violated(format!("{sent:?} was answered {other:?} when asked again")),
        }
    }

    /// The same key for something else: refused.
    pub(crate) async fn reuse_key(&mut self, daemon: &Daemon, world: &World, which: Which) {
        let Some(sent) = self.earlier(which) else { return };
        let key = Key {
            request_hash: "another".into(),
            ..sent.key.clone()
        };
        match daemon.operations.submit(submission(&sent, key)).await {
            Err(OperationError::Refused { failure, .. })
                if failure.code == ErrorCode::IdempotencyKeyReused => {}
            Err(OperationError::NotReady(_)) => {}
            other => world
                .now()
                .violated(format!("a key was used twice, and answered {other:?}")),
        }
    }

    pub(crate) async fn cancel(&mut self, daemon: &Daemon, world: &World, which: Which) {
        let Some(sent) = self.sent.iter().rev().nth(which % self.sent.len().max(1)) else {
            return;
        };
        let result = daemon.operations.cancel(sent.operation, asker()).await;
        world
            .now()
            .tell(format!("client: cancel {}: {}", sent.operation, result.is_ok()));
        match result {
            Ok(_) => {}
            Err(OperationError::Refused { failure, .. }) if failure.code == ErrorCode::NotCancellable => {}
            Err(error) => world.now().violated(format!("a cancel was answered {error:?}")),
        }
    }

    pub(crate) async fn take_lease(
        &mut self,
        daemon: &Daemon,
        world: &World,
        (which, write, ttl): (Which, bool, u32),
    ) {
        let Some(volume) = volume(daemon, which).await else {
            return;
        };
        let new = NewLease {
            volume_id: volume.id,
            purpose: LeasePurpose::Transfer,
            access: if write {
                LeaseAccess::Write
            } else {
                LeaseAccess::Read
            },
            holder: "model".into(),
            detail: None,
            ttl_seconds: ttl,
        };
        let result = daemon.operations.acquire_lease(new, asker(), None).await;
        let shown = result
            .as_ref()
            .map(|(lease, _)| lease.id)
            .map_err(ToString::to_string);
        world
            .now()
            .tell(format!("client: lease on {} for {ttl} s: {shown:?}", volume.id));
        match result {
            Ok((lease, _)) => self.leases.push(Held {
                id: lease.id,
                expires: lease.expires_at,
            }),
            Err(OperationError::Refused { failure, .. }) if failure.code != ErrorCode::Internal => {}
            Err(OperationError::NotReady(_)) => {}
            Err(error) => world.now().violated(format!("a lease was answered {error:?}")),
        }
    }

    pub(crate) async fn renew_lease(&mut self, daemon: &Daemon, which: Which) {
        let count = self.leases.len();
        let Some(held) = self.leases.get_mut(which % count.max(1)) else {
            return;
        };
        let id = held.id;
        let renewed = daemon.store.write(move |tx| store::leases::renew(tx, id, None));
        if let Some(lease) = renewed.await.unwrap() {
            held.expires = lease.expires_at;
        }
    }

    pub(crate) async fn release_lease(&mut self, daemon: &Daemon, which: Which) {
        if self.leases.is_empty() {
            return;
        }
        let held = self.leases.remove(which % self.leases.len());
        let released = daemon
            .store
            .write(move |tx| store::leases::release(tx, held.id, "given back"));
        released.await.unwrap();
    }

    /// Asks for the device: it is the right one, or a refusal.
    pub(crate) async fn device(&mut self, daemon: &Daemon, world: &World, which: Which) {
        let Some(volume) = volume(daemon, which).await else {
            return;
        };
        let result = daemon.operations.device(volume.id).await;
        judge_device(world, volume.id, result.map(|device| device.observed.device_path));
    }
}

/// Whether a path that was shown is the volume's, at this very moment. A disk that was unplugged since leaves a dead name.
pub(crate) fn judge_device(world: &World, id: VolumeId, shown: Result<String, OperationError>) {
    let mut world = world.now();
    match shown {
        Ok(path) => {
            let disk = world.kernel.at_node(&path).cloned();
            let is_wrong = disk.as_ref().is_some_and(|disk| !is_of(&disk.content, id));
            if is_wrong {
                world.violated(format!("{path} was shown for volume {id}, and is {disk:?}"));
            }
        }
        Err(OperationError::Refused { failure, .. }) if failure.code != ErrorCode::Internal => {}
        Err(OperationError::NotReady(_)) => {}
        Err(error) => world.violated(format!("asked for the device of {id}: {error:?}")),
    }
}

pub(crate) fn is_of(content: &crate::kernel::Content, id: VolumeId) -> bool {
    matches!(content, crate::kernel::Content::Volume(name) if name.ends_with(&id.to_string()))
}

fn submission(sent: &Sent, key: Key) -> Submission {
    Submission {
        volume_id: sent.volume,
        request: sent.request.clone(),
        asker: asker(),
        key: Some(key),
    }
}

fn condemn(world: &World, id: VolumeId) {
    let mut world = world.now();
    let name = world.name_of_ours(id);
    world.cloud.condemned.extend(name);
}
