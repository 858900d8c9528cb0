//! Clients that create, attach, lease, detach and delete until the power goes: runs inside the appliance.
//!
//! Started with one argument, a JSON object ([`Orders`]). Each lane tells the host every answer of the daemon's, and waits until the
//! host has it, before it asks for anything more.
#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test program: it fails by panicking"
)]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::str::FromStr;
use std::time::Duration;

use volume_client::client::{ClientError, IdempotencyKey, VolumeFilter, VolumedClient};
use volume_client::types::{
    AttachVolume, Cursor, LeaseAccess, LeasePurpose, NewLease, NewVolume, Operation, OperationStatus, Volume,
    VolumeId, VolumeState,
};
use whole_system_tests::Chance;
use whole_system_tests::power_cuts::words::{Ask, Orders, Told, Word};

const MIB: u64 = 1 << 20;

/// How long an operation may take before its lane goes on with another volume.
const PATIENCE: Duration = Duration::from_secs(60);

struct Lane {
    client: VolumedClient,
    vm: String,
    name: String,
    chance: Chance,
    host: BufReader<TcpStream>,
}

fn main() {
    let argument = std::env::args().nth(1).expect("orders, as JSON");
    let orders: Orders = serde_json::from_str(&argument).expect("orders that make sense");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run(orders));
}

async fn run(orders: Orders) {
    let mut chance = Chance::from_seed(orders.seed);
    let mut lanes = Vec::new();
    for (n, name) in orders.lanes.iter().enumerate() {
        let lane = Lane {
            client: VolumedClient::unix(&orders.socket).unwrap(),
            vm: orders.vm.clone(),
            name: name.clone(),
            chance: chance.branch(),
            host: BufReader::new(TcpStream::connect(&orders.host).unwrap()),
        };
        let replays = if n == 0 {
            orders.replays.clone()
        } else {
            Vec::new()
        };
        lanes.push(tokio::spawn(lane.work(replays)));
    }
    for lane in lanes {
        lane.await.expect("no lane panics");
    }
}

impl Lane {
    async fn work(mut self, replays: Vec<Told>) {
        for told in replays {
            let answer = self.ask(&told.ask, &told.key).await;
            let answer = answer
                .map(|operation| operation.id)
                .map_err(|error| error.to_string());
            self.tell(&Word::Repeated(told, answer));
        }
        for round in 0_u64.. {
            // A daemon that is busy with something else has refused; it is asked for something else then.
            if let Err(error) = self.round(round).await {
                eprintln!("{}: {error}", self.name);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Goes on with a volume of this lane's, or makes one.
    async fn round(&mut self, round: u64) -> Result<(), ClientError> {
        let mut mine = self
            .client
            .list_volumes(&VolumeFilter::default(), &Cursor::default())
            .await?
            .items;
        mine.retain(|volume| volume.name.starts_with(&self.name));
        let Some(volume) = mine.first() else {
            let name = format!("{}{}", self.name, self.chance.below(u64::MAX));
            return self.change(Ask::Create(name)).await;
        };
        match volume.state {
            // Hot-plugging takes long under emulation: two lanes do it, the others make and delete volumes.
            VolumeState::Available if self.name.as_str() < "lane2" && round % 3 != 2 => {
                self.change(Ask::Attach(volume.id)).await
            }
            VolumeState::Available => self.change(Ask::Delete(volume.id, volume.name.clone())).await,
            VolumeState::InUse => self.use_it(volume).await,
            _ => {
                tokio::time::sleep(Duration::from_millis(200)).await;
                Ok(())
            }
        }
    }

    async fn use_it(&mut self, volume: &Volume) -> Result<(), ClientError> {
        for _ in 0..3 + self.chance.below(12) {
            self.lease(volume.id).await?;
        }
        self.change(Ask::Detach(volume.id)).await
    }

    async fn lease(&mut self, volume_id: VolumeId) -> Result<(), ClientError> {
        let new = NewLease {
            volume_id,
            purpose: LeasePurpose::Transfer,
            access: LeaseAccess::Write,
            holder: self.name.clone(),
            detail: None,
            ttl_seconds: None,
        };
        let lease = self.client.take_lease(&new).await?.lease;
        self.tell(&Word::Leased(lease.id, volume_id));
        self.client.release_lease(lease.id).await?;
        self.tell(&Word::Released(lease.id));
        Ok(())
    }

    /// Asks for a change, tells that it was taken on, waits for its end and tells that.
    async fn change(&mut self, ask: Ask) -> Result<(), ClientError> {
        let key = IdempotencyKey::fresh().to_string();
        let operation = self.ask(&ask, &key).await?.id;
        self.tell(&Word::Taken(Told { ask, key, operation }));
        match self.client.wait_for_completion(operation, PATIENCE).await {
            Ok(ended) => self.tell(&Word::Ended(Box::new(ended))),
            Err(ClientError::OperationFailed(ended) | ClientError::OperationCancelled(ended)) => {
                assert_ne!(ended.status, OperationStatus::Running);
                self.tell(&Word::Ended(ended));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn ask(&self, ask: &Ask, key: &str) -> Result<Operation, ClientError> {
        let key = IdempotencyKey::from_str(key).unwrap();
        let client = self.client.clone().with_idempotency_key(key);
        match ask {
            Ask::Create(name) => {
                let new = NewVolume {
                    name: name.clone(),
                    size_bytes: 1024 * MIB,
                    source: None,
                };
                client.create_volume(&new).await
            }
            Ask::Attach(id) => {
                let vm_id = self.vm.clone();
                client.attach_volume(*id, &AttachVolume { vm_id }).await
            }
            Ask::Detach(id) => client.detach_volume(*id).await,
            Ask::Delete(id, name) => client.delete_volume(*id, Some(name)).await,
        }
    }

    /// Returns once the host has it. Blocks, as a client that must not go on.
    fn tell(&mut self, word: &Word) {
        let mut line = serde_json::to_string(word).unwrap();
        line.push('\n');
        self.host.get_mut().write_all(line.as_bytes()).unwrap();
        let mut heard = String::new();
        self.host.read_line(&mut heard).unwrap();
        assert_eq!(heard, "ok\n");
    }
}
