//! A folder with an OVA: one disk in place, one compressed.

use crate::files::Files;
use crate::folders::Bench;
use crate::package::{Packing, ova, ovf};

const SIZES: [usize; 2] = [8 << 20, 2 << 20];

pub(crate) fn start() -> Option<Files> {
    let bench = Bench::new()?;
    let twin = pack("twin", &bench, &[vec![1; 1 << 20]]);
    bench.write("one.ova", &twin);
    bench.write("two.ova", &twin);
    bench.write("diskless.ovf", ovf("diskless", &[]));
    bench.write("cut.ova", &twin[..twin.len() / 2]);
    let pack = |bench: &Bench, disks: &[Vec<u8>]| pack("web", bench, disks);
    let refused = &["diskless", "cut"];
    Some(Files::new(bench, ("machine.ova", "web"), &SIZES, pack, refused))
}

fn pack(name: &str, bench: &Bench, disks: &[Vec<u8>]) -> Vec<u8> {
    let packing = [Packing::Plain, Packing::Gzip];
    let disks: Vec<_> = disks.iter().zip(packing).collect();
    ova(name, bench, &disks)
}
