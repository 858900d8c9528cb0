//! Servers of a test's own: private directories, an own address, ended with the test.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use nbd_export::{NbdAddress, NbdServer, NbdServerConfig, QemuStorageDaemon, QemuStorageDaemonConfig};

/// Where one test's server lives. Dropping it kills every process that carries its mark.
pub struct Home {
    dir: tempfile::TempDir,
    nodes: PathBuf,
    pub listen: NbdAddress,
}

impl Home {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("nbdx")
            .tempdir_in("/tmp")
            .unwrap();
        // A directory under /dev: /tmp may be mounted nodev.
        let nodes = Path::new("/dev").join(dir.path().file_name().unwrap());
        let listen = NbdAddress::Unix(dir.path().join("s"));
        Self { dir, nodes, listen }
    }

    pub fn on_tcp() -> Self {
        let mut home = Self::new();
        home.listen = free_port();
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn qemu_config(&self) -> QemuStorageDaemonConfig {
        QemuStorageDaemonConfig {
            runtime_dir: self.path("q"),
            listen: self.listen.clone(),
            own_ports: self.own_ports(),
            ..QemuStorageDaemonConfig::default()
        }
    }

    /// Some after its own: below the ephemeral range, and further apart than what other processes pick.
    fn own_ports(&self) -> RangeInclusive<u16> {
        match self.listen {
            NbdAddress::Tcp(address) if address.port() < 60_000 => address.port() + 1..=address.port() + 40,
            _ => 1..=1,
        }
    }

    pub fn nbd_config(&self) -> NbdServerConfig {
        NbdServerConfig {
            base_config: self.path("config-base"),
            drop_in_dir: self.path("export.d"),
            node_dir: self.nodes.clone(),
            runtime_dir: self.path("n"),
            listen: self.listen.clone(),
            ..NbdServerConfig::default()
        }
    }

    pub async fn qemu(&self) -> QemuStorageDaemon {
        QemuStorageDaemon::connect_or_start(self.qemu_config())
            .await
            .unwrap()
    }

    pub async fn nbd(&self) -> NbdServer {
        NbdServer::connect_or_start(self.nbd_config()).await.unwrap()
    }
}

/// A port of this test's own: below the ephemeral range, where no outgoing connection and no "port 0" of others can
/// take it while a server is being replaced, and apart from what tests in other processes pick.
pub fn free_port() -> NbdAddress {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let own = std::process::id().wrapping_mul(7);
    loop {
        let offset = own.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let port = u16::try_from(20_000 + offset).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return NbdAddress::Tcp(address);
        }
    }
}

/// Live processes that carry the mark of a runtime directory.
pub fn marked(runtime: &Path) -> Vec<i32> {
    let mark = format!("NBD_EXPORT_RUNTIME={}", runtime.display());
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| {
            environ
                .split(|&byte| byte == 0)
                .any(|entry| entry == mark.as_bytes())
        })
    })
    .collect()
}

pub fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

impl Drop for Home {
    fn drop(&mut self) {
        for runtime in ["q", "n", "q/own-0", "q/own-1", "q/own-2"] {
            // Masters first come back as children; two rounds catch what was forked meanwhile.
            for _ in 0..2 {
                marked(&self.path(runtime)).into_iter().for_each(kill);
            }
        }
        let _ = std::fs::remove_dir_all(&self.nodes);
    }
}
