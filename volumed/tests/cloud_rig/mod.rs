//! The embedded provider in a directory of its own, a kernel asked through `losetup`, and their removal whatever happens.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "test support")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;
use volumed::cloud::conformance::{Guest, Rig};
use volumed::cloud::{Call, Cloud, LocalCloud, LocalConfig, NewVolume, ProviderVolume};
use volumed::model::{Bytes, Identity};

pub const VM: &str = "this-machine";

/// Whether the machine can run the test; in CI it must.
pub fn can(what: &str, possible: bool) -> bool {
    if !possible {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "CI must be able to: {what}"
        );
        eprintln!("SKIPPED: this machine cannot {what}");
    }
    possible
}

/// Root, loop devices and `losetup`.
pub fn can_loop() -> bool {
    let control = File::options()
        .read(true)
        .write(true)
        .open("/dev/loop-control")
        .is_ok();
    can(
        "use loop devices (as root, with losetup)",
        control && installed("losetup"),
    )
}

pub fn installed(tool: &str) -> bool {
    Command::new(tool).arg("--version").output().is_ok()
}

pub fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A root and the provider that owns it. Dropping it unbinds every loop device over a file in the directory.
pub struct Bench {
    pub root: PathBuf,
    cloud: Option<LocalCloud>,
    above: Option<TempDir>,
}

impl Bench {
    /// Below the default temporary directory.
    pub fn new() -> Bench {
        Bench::below(TempDir::with_prefix("volumed-cloud-").unwrap())
    }

    pub fn below(above: TempDir) -> Bench {
        let root = above.path().join("root");
        Bench {
            cloud: Some(open(&root)),
            root,
            above: Some(above),
        }
    }

    /// In a directory that somebody else removes.
    pub fn at(root: PathBuf) -> Bench {
        Bench {
            cloud: Some(open(&root)),
            root,
            above: None,
        }
    }

    /// The provider ends and a new one takes over, after `meanwhile`.
    pub fn restart(mut self, meanwhile: impl FnOnce(&Path)) -> Bench {
        drop(self.cloud.take());
        meanwhile(&self.root);
        self.cloud = Some(open(&self.root));
        self
    }

    pub fn cloud(&self) -> &LocalCloud {
        self.cloud.as_ref().unwrap()
    }

    pub fn rig(&self, cloud: Arc<dyn Cloud>) -> Rig {
        Rig {
            cloud,
            guest: Arc::new(Losetup),
            prefix: "conformance".to_owned(),
        }
    }

    pub fn volume_dir(&self, volume: &ProviderVolume) -> PathBuf {
        self.root.join("volumes").join(&volume.provider_ref)
    }

    pub fn disk(&self, volume: &ProviderVolume) -> PathBuf {
        self.volume_dir(volume).join("disk.raw")
    }

    pub async fn created(&self, name: &str) -> ProviderVolume {
        self.cloud().create_volume(&call(), &spec(name)).await.unwrap()
    }

    pub async fn now(&self, volume: &ProviderVolume) -> ProviderVolume {
        self.cloud().volume(&volume.provider_ref).await.unwrap().unwrap()
    }

    pub async fn attached(&self, name: &str) -> (ProviderVolume, PathBuf) {
        let volume = self.created(name).await;
        self.cloud()
            .attach(&call(), &volume.provider_ref, VM)
            .await
            .unwrap();
        let devices = Losetup.devices(volume.identity.as_ref().unwrap());
        assert_eq!(devices.len(), 1, "{devices:?}");
        (volume, devices[0].clone())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        unbind_below(&self.root);
    }
}

pub fn open(root: &Path) -> LocalCloud {
    LocalCloud::open(LocalConfig {
        root: root.to_owned(),
        vm_id: VM.to_owned(),
    })
    .unwrap()
}

pub fn call() -> Call {
    Call {
        id: uuid::Uuid::new_v4().to_string(),
    }
}

pub fn spec(name: &str) -> NewVolume {
    NewVolume {
        name: name.to_owned(),
        size: Bytes::MIB,
    }
}

/// Waits for a condition, panics when it never comes.
pub async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Unbinds every loop device over a file below `dir`.
fn unbind_below(dir: &Path) {
    if let Ok(list) = Command::new("losetup")
        .args(["--list", "--raw", "--noheadings", "-O", "NAME"])
        .output()
    {
        for device in String::from_utf8_lossy(&list.stdout).lines() {
            unbind(Path::new(device.trim()), |file| file.starts_with(dir));
        }
    }
}

/// Unbinds the device if what is behind it is meant. Held open meanwhile: so it cannot become somebody else's between
/// the look and the unbinding.
fn unbind(device: &Path, is_meant: impl FnOnce(&Path) -> bool) {
    let Ok(_pin) = File::open(device) else {
        return;
    };
    if backing_of(device).is_some_and(|file| is_meant(&file)) {
        let _ = Command::new("losetup").arg("-d").arg(device).output();
    }
}

fn backing_of(device: &Path) -> Option<PathBuf> {
    let name = device.file_name()?.to_str()?;
    let file = fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()?;
    let file = file.trim_end_matches('\n');
    Some(file.strip_suffix(" (deleted)").unwrap_or(file).into())
}

/// A loop device of somebody else over a file, until dropped.
pub struct ForeignLoop {
    pub device: PathBuf,
    file: PathBuf,
}

impl ForeignLoop {
    pub fn over(file: &Path) -> ForeignLoop {
        let device = run("losetup", &["--find", "--show", file.to_str().unwrap()]).into();
        ForeignLoop {
            device,
            file: file.to_owned(),
        }
    }

    pub fn backing(&self) -> Option<PathBuf> {
        backing_of(&self.device)
    }
}

impl Drop for ForeignLoop {
    fn drop(&mut self) {
        unbind(&self.device, |file| file == self.file);
    }
}

/// A file system of its own in an image or in memory, unmounted when dropped.
pub struct Mounted(TempDir);

impl Mounted {
    pub fn tmpfs(options: &str) -> Mounted {
        let dir = TempDir::with_prefix("volumed-cloud-").unwrap();
        run(
            "mount",
            &[
                "-t",
                "tmpfs",
                "-o",
                options,
                "volumed-test",
                dir.path().to_str().unwrap(),
            ],
        );
        Mounted(dir)
    }

    /// One whose files can be cloned.
    pub fn btrfs() -> Mounted {
        let dir = TempDir::with_prefix("volumed-cloud-").unwrap();
        let image = dir.path().with_extension("btrfs");
        File::create_new(&image).unwrap().set_len(512 << 20).unwrap();
        let (image_name, dir_name) = (image.to_str().unwrap(), dir.path().to_str().unwrap());
        run("mkfs.btrfs", &["-q", image_name]);
        run("mount", &["-o", "loop", image_name, dir_name]);
        // The mount keeps the content.
        fs::remove_file(&image).unwrap();
        Mounted(dir)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unbind_below(self.0.path());
        // Lazily: somebody who looks through all loop devices may hold one over a file in it for another instant.
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).output();
    }
}

/// The kernel as util-linux reads it.
pub struct Losetup;

impl Guest for Losetup {
    fn devices(&self, identity: &Identity) -> Vec<PathBuf> {
        let Identity::LoopBacking { device, inode } = identity else {
            return Vec::new();
        };
        let wanted = format!("{}:{} {inode}", libc::major(*device), libc::minor(*device));
        let list = run(
            "losetup",
            &[
                "--list",
                "--raw",
                "--noheadings",
                "-O",
                "NAME,BACK-MAJ:MIN,BACK-INO",
            ],
        );
        // Padded columns come with their blanks escaped.
        let list = list.replace("\\x20", " ");
        let lines = list
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let wanted: Vec<_> = wanted.split(' ').collect();
        lines
            .filter(|columns| columns[1..] == wanted)
            .map(|columns| columns[0].into())
            .collect()
    }
}
