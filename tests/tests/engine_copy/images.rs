//! Sources: disks with a file system, other formats of them, packages, and an NBD server of somebody else.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use whole_system_tests::{run, wait_until};

use super::support::{Bench, PATIENCE};

/// The socket of somebody else's server.
pub(crate) const FOREIGN: &str = "foreign.sock";
/// A size that is no whole number of MiB, nor of volumes' granules.
pub(crate) const SIZE: u64 = (16 << 20) + (512 << 10);

impl Bench {
    /// A raw disk with an ext4 file system in which there are files, and noise after it.
    pub(crate) fn disk(&self, name: &str) -> PathBuf {
        let (path, tree) = (self.path(name), self.path(&format!("{name}.tree")));
        fs::create_dir_all(tree.join("folder")).unwrap();
        fs::write(tree.join("folder/hello"), "hello".repeat(10_000)).unwrap();
        fs::write(tree.join("noise"), noise(1 << 20, name.len() as u64)).unwrap();
        let file = File::create_new(&path).unwrap();
        file.set_len(SIZE).unwrap();
        let (tree, shown) = (tree.to_str().unwrap(), path.to_str().unwrap());
        run(
            "mkfs.ext4",
            ["-q", "-F", "-b", "4096", "-d", tree, shown, "12288k"],
        );
        file.write_all_at(&noise(1 << 20, 7), SIZE - (2 << 20) - 512)
            .unwrap();
        path
    }

    /// A raw disk without any zero, so that its whole size must be moved.
    pub(crate) fn full_disk(&self, name: &str, size: u64) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, noise(usize::try_from(size).unwrap(), 3)).unwrap();
        path
    }

    /// The disk in another format; `options` as for `qemu-img convert`.
    pub(crate) fn converted(&self, raw: &Path, name: &str, options: &[&str]) -> PathBuf {
        let path = self.path(name);
        let mut arguments = vec!["convert", "-f", "raw", "-O"];
        arguments.extend(options);
        arguments.extend([raw.to_str().unwrap(), path.to_str().unwrap()]);
        run("qemu-img", arguments);
        path
    }

    /// An OVA of these members, with the document first. `sizes` are the capacities that it states, and `None` makes a
    /// disk without a file.
    pub(crate) fn ova(&self, name: &str, members: &[Member]) -> PathBuf {
        let path = self.path(name);
        let mut archive = tar::Builder::new(File::create(&path).unwrap());
        let document = ovf(members);
        append(&mut archive, "web.ovf", document.as_bytes());
        for Member { file, content, .. } in members.iter().filter(|member| member.content.is_some()) {
            append(&mut archive, file, content.as_deref().unwrap());
        }
        archive.finish().unwrap();
        path
    }

    /// Serves `raw` as `there`, as somebody else's NBD server does: on TCP, or on the socket `foreign.sock`.
    pub(crate) async fn foreign_server(&self, raw: &Path, port: Option<u16>) -> ForeignServer {
        let socket = self.path(FOREIGN);
        let arguments = match port {
            Some(port) => vec!["--bind=127.0.0.1".to_owned(), format!("--port={port}")],
            None => vec![format!("--socket={}", socket.display())],
        };
        let child = Command::new("qemu-nbd")
            .args([
                "--persistent",
                "--read-only",
                "--shared=0",
                "-f",
                "raw",
                "-x",
                "there",
            ])
            .args(arguments)
            .arg(raw)
            .stdin(Stdio::null())
            .spawn()
            .expect("qemu-nbd can be started");
        let server = ForeignServer(child);
        wait_until("the NBD server", PATIENCE, async || match port {
            Some(port) => std::net::TcpStream::connect(("127.0.0.1", port)).map(drop).ok(),
            None => std::os::unix::net::UnixStream::connect(&socket).map(drop).ok(),
        })
        .await;
        server
    }
}

/// A disk of a package.
pub(crate) struct Member {
    pub(crate) file: &'static str,
    pub(crate) capacity: u64,
    /// Further attributes of the file.
    pub(crate) attributes: &'static str,
    /// The file; without one, the disk is blank.
    pub(crate) content: Option<Vec<u8>>,
}

impl Member {
    pub(crate) fn new(file: &'static str, content: Vec<u8>) -> Self {
        Self {
            file,
            capacity: SIZE,
            attributes: "",
            content: Some(content),
        }
    }
}

fn append(archive: &mut tar::Builder<File>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_ustar();
    // As it is, also where a tidy archiver would not write it.
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    archive.append(&header, content).unwrap();
}

fn ovf(members: &[Member]) -> String {
    let (mut files, mut disks, mut items) = (String::new(), String::new(), String::new());
    for (n, member) in members.iter().enumerate() {
        let Member {
            file,
            capacity,
            attributes,
            content,
        } = member;
        let mut reference = String::new();
        if content.is_some() {
            files += &format!(r#"<File ovf:href="{file}" ovf:id="file{n}" {attributes}/>"#);
            reference = format!(r#"ovf:fileRef="file{n}""#);
        }
        disks += &format!(
            r#"<Disk ovf:capacity="{capacity}" ovf:capacityAllocationUnits="byte" ovf:diskId="vmdisk{n}" {reference}/>"#
        );
        items += &format!(
            "<Item><rasd:AddressOnParent>{n}</rasd:AddressOnParent><rasd:ElementName>Hard disk {n}</rasd:ElementName>\
             <rasd:HostResource>ovf:/disk/vmdisk{n}</rasd:HostResource><rasd:InstanceID>1{n}</rasd:InstanceID>\
             <rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>"
        );
    }
    format!(
        r#"<?xml version="1.0"?><Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="r">
<References>{files}</References><DiskSection>{disks}</DiskSection><VirtualSystem ovf:id="web"><VirtualHardwareSection>
<Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
<Item><rasd:Address>0</rasd:Address><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceType>6</rasd:ResourceType></Item>{items}
</VirtualHardwareSection></VirtualSystem></Envelope>"#
    )
}

/// Bytes without a pattern (xorshift), and without zeroes.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).max(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state | 0x0101_0101_0101_0101
    };
    let words = (0..length.div_ceil(8)).flat_map(|_| next().to_le_bytes());
    words.take(length).collect()
}

/// An NBD server of somebody else; killed when this is dropped.
pub(crate) struct ForeignServer(Child);

impl ForeignServer {
    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for ForeignServer {
    fn drop(&mut self) {
        self.kill();
    }
}
