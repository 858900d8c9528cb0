//! A folder with an image: raw, which is written in place, and qcow2.

use crate::files::{Files, Pack};
use crate::folders::Bench;

const SIZE: usize = 8 << 20;

pub(crate) fn raw() -> Option<Files> {
    start("web.raw", |_, disks| disks[0].clone())
}

pub(crate) fn qcow2() -> Option<Files> {
    start("web.qcow2", |bench, disks| bench.image(&disks[0], &["qcow2"]))
}

fn start(file: &str, pack: Pack) -> Option<Files> {
    let bench = Bench::new()?;
    bench.write("twin.raw", vec![1; 1 << 20]);
    bench.write("twin.qcow2", bench.image(&[2; 1 << 20], &["qcow2"]));
    bench.write("broken.qcow2", b"QFI\xfbno more than that");
    bench.write("empty.img", b"");
    bench.write("foreign.vmdk", b"COWD and so on");
    bench.write("readme.txt", b"no machine");
    let refused = &["broken", "empty", "foreign"];
    Some(Files::new(bench, (file, "web"), &[SIZE], pack, refused))
}
