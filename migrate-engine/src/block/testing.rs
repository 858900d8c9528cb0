//! Real servers, devices and files for tests; everything ends with the value that holds it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::{InitialContent, LocalDisk, LocalDiskOptions, NbdError, NbdExport, NbdOptions, NbdUri};

/// Polls until `done`, at most 10 s.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        #[expect(
            clippy::disallowed_methods,
            reason = "the one polling loop of these tests, bounded above"
        )]
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether the tools are here; a missing one skips the test on a laptop and fails it in CI.
pub(crate) fn have(tools: &[&str]) -> bool {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let missing: Vec<_> = tools
        .iter()
        .filter(|tool| !path.split(':').any(|dir| Path::new(dir).join(tool).exists()))
        .collect();
    skip_if(!missing.is_empty(), &format!("missing {missing:?}"))
}

/// Whether this process may set up loop devices.
pub(crate) fn have_loop_devices() -> bool {
    let usable = rustix::process::geteuid().is_root() && Path::new("/dev/loop-control").exists();
    skip_if(!usable, "loop devices need root") && have(&["losetup"])
}

fn skip_if(missing: bool, why: &str) -> bool {
    if missing {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "CI must not skip: {why}"
        );
        eprintln!("SKIPPED: {why}");
    }
    !missing
}

/// Runs a tool to its end and demands success.
pub(crate) fn run(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{tool} {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A repeatable stream of pseudo-random numbers (xorshift).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        blake3::Hasher::new()
            .update(&self.next().to_le_bytes())
            .finalize_xof()
            .fill(&mut bytes);
        bytes
    }
}

/// Writes a sparse image: data, explicit zeroes and holes at random places.
pub(crate) fn random_image(path: &Path, size: u64, seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    let mut at = 0;
    while at < size {
        let length = match random.below(3) {
            0 => 1 + random.below(9000),
            1 => 4096 * (1 + random.below(100)),
            _ => 65_536 * (1 + random.below(50)),
        }
        .min(size - at);
        let count = usize::try_from(length).unwrap();
        match random.below(4) {
            0 | 1 => file.write_all_at(&random.bytes(count), at).unwrap(),
            2 => file.write_all_at(&vec![0; count], at).unwrap(),
            _ => {}
        }
        at += length;
    }
    file.sync_all().unwrap();
}

/// A file full of old bytes, as a target that is not zero.
pub(crate) fn dirty_file(path: &Path, size: u64) {
    let file = File::create(path).unwrap();
    let chunk = vec![0xaa; 1 << 20];
    let mut at = 0;
    while at < size {
        let count = usize::try_from((size - at).min(chunk.len() as u64)).unwrap();
        file.write_all_at(&chunk[..count], at).unwrap();
        at += count as u64;
    }
}

pub(crate) fn open_rw(path: &Path) -> OwnedFd {
    File::options().read(true).write(true).open(path).unwrap().into()
}

pub(crate) fn local(path: &Path, initial_content: InitialContent) -> LocalDisk {
    LocalDisk::new(
        open_rw(path),
        LocalDiskOptions {
            initial_content,
            ..LocalDiskOptions::default()
        },
    )
    .unwrap()
}

/// A loop device over a file, detached at the end.
pub(crate) struct Loop(pub(crate) PathBuf);

impl Loop {
    pub(crate) fn attach(file: &Path, extra: &[&str]) -> Self {
        let mut arguments = vec!["--find", "--show", "--nooverlap"];
        arguments.extend(extra);
        arguments.push(file.to_str().unwrap());
        Self(run("/usr/sbin/losetup", &arguments).into())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let detached = Command::new("/usr/sbin/losetup")
            .arg("--detach")
            .arg(&self.0)
            .status();
        if !detached.is_ok_and(|status| status.success()) {
            eprintln!("could not detach {}", self.0.display());
        }
    }
}

/// A server process on a Unix socket, ended with this value.
pub(crate) struct Server {
    process: Process,
    pub(crate) socket: PathBuf,
    export: String,
}

enum Process {
    Child(Child),
    /// It put itself into the background.
    Daemon(Pid),
}

impl Server {
    /// Starts `command`, which must stay in the foreground and listen on `socket`.
    pub(crate) fn start(mut command: Command, socket: PathBuf, export: &str) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            process: Process::Child(child),
            socket,
            export: export.to_owned(),
        }
    }

    pub(crate) fn nbdkit(directory: &Path, arguments: &[&str]) -> Self {
        let socket = directory.join("nbdkit.sock");
        let mut command = Command::new("nbdkit");
        command
            .args(["--foreground", "--newstyle", "--unix"])
            .arg(&socket)
            .args(arguments);
        Self::start(command, socket, "")
    }

    pub(crate) fn qemu_nbd(directory: &Path, arguments: &[&str], image: &Path) -> Self {
        let socket = directory.join("qemu-nbd.sock");
        let mut command = Command::new("qemu-nbd");
        command
            .args(["--persistent", "--socket"])
            .arg(&socket)
            .args(arguments)
            .arg(image);
        Self::start(command, socket, "")
    }

    /// Debian's nbd-server, one export named `disk`.
    pub(crate) fn nbd_server(directory: &Path, image: &Path, settings: &str) -> Self {
        let socket = directory.join("nbd-server.sock");
        let config = directory.join("nbd-server.conf");
        let text = format!(
            "[generic]\nunixsock = {}\n[disk]\nexportname = {}\n{settings}\n",
            socket.display(),
            image.display()
        );
        std::fs::write(&config, text).unwrap();
        let pid_file = directory.join("nbd-server.pid");
        run(
            "nbd-server",
            &["-C", config.to_str().unwrap(), "-p", pid_file.to_str().unwrap()],
        );
        let mut pid = None;
        wait_until("nbd-server's pid", || {
            let text = std::fs::read_to_string(&pid_file).unwrap_or_default();
            pid = text.trim().parse().ok().and_then(Pid::from_raw);
            pid.is_some()
        });
        Self {
            process: Process::Daemon(pid.unwrap()),
            socket,
            export: "disk".to_owned(),
        }
    }

    /// qemu-storage-daemon with one raw file exported as `disk`.
    pub(crate) fn storage_daemon(directory: &Path, image: &Path) -> Self {
        let socket = directory.join("qsd.sock");
        let mut command = Command::new("qemu-storage-daemon");
        command
            .arg("--blockdev")
            .arg(format!("driver=file,node-name=file,filename={}", image.display()))
            .args(["--blockdev", "driver=raw,node-name=disk,file=file,discard=unmap"])
            .arg("--nbd-server")
            .arg(format!(
                "addr.type=unix,addr.path={},max-connections=0",
                socket.display()
            ))
            .args([
                "--export",
                "type=nbd,id=export,node-name=disk,name=disk,writable=on",
            ]);
        Self::start(command, socket, "disk")
    }

    pub(crate) fn uri(&self) -> NbdUri {
        format!("nbd+unix:///{}?socket={}", self.export, self.socket.display())
            .parse()
            .unwrap()
    }

    /// Connects as soon as the server listens. No probing: some servers end with their first client.
    pub(crate) fn connect(&self, options: NbdOptions) -> NbdExport {
        let mut export = None;
        wait_until("the server", || {
            match NbdExport::connect(self.uri(), options.clone()) {
                Ok(connected) => export.insert(connected).size() < u64::MAX,
                Err(NbdError::Connect { .. }) => false,
                Err(error) => panic!("{error:?}"),
            }
        });
        export.unwrap()
    }

    /// Ends the server without warning.
    pub(crate) fn kill(&mut self) {
        let Process::Child(child) = &mut self.process else {
            panic!("only children are killed")
        };
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Server {
    /// Terminates rather than kills, so that a server with children can end them.
    fn drop(&mut self) {
        let (pid, child) = match &mut self.process {
            Process::Daemon(pid) => (Some(*pid), None),
            Process::Child(child) => {
                if matches!(child.try_wait(), Ok(Some(_))) {
                    return;
                }
                (
                    i32::try_from(child.id()).ok().and_then(Pid::from_raw),
                    Some(child),
                )
            }
        };
        let ended = pid.is_some_and(|pid| rustix::process::kill_process(pid, Signal::TERM).is_ok());
        if !ended || child.is_some_and(|child| child.wait().is_err()) {
            eprintln!("could not end the server on {}", self.socket.display());
        }
    }
}
