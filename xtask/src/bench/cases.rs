//! The pieces of work that are measured, and how much faster than the best peer we mean to be.

use super::tools::{Peer, Tuning};

/// One piece of work: an image behind a server, copied to a block device.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    /// By what it is chosen, and its raw runs are found.
    pub(super) key: &'static str,
    pub(super) name: &'static str,
    pub(super) goal: f64,
    /// One MiB in this many holds data, the others are holes.
    pub(super) stride: u64,
    pub(super) server: Serving,
    pub(super) tuning: Tuning,
    pub(super) peers: &'static [Peer],
}

/// What serves the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Serving {
    /// nbdkit's file plugin with these options before and after it.
    Nbdkit(&'static [&'static str], &'static [&'static str]),
    QemuNbd,
    NbdServer,
}

const PLAIN: Tuning = Tuning {
    target_is_zero: false,
    verified: false,
    unhashed: false,
    slow_source: false,
};
const TOOLS: &[Peer] = &[Peer::QemuImg, Peer::NbdCopy];
const NBDKIT: Serving = Serving::Nbdkit(&[], &[]);

const RANDOM: Case = Case {
    key: "random",
    name: "random, nbdkit to loop",
    goal: 1.20,
    stride: 1,
    server: NBDKIT,
    tuning: PLAIN,
    peers: TOOLS,
};

pub(super) const CASES: &[Case] = &[
    RANDOM,
    Case {
        key: "sparse",
        name: "sparse, 25 % data, extents known, nbdkit to loop",
        goal: 1.30,
        stride: 4,
        ..RANDOM
    },
    Case {
        key: "hidden",
        name: "sparse, 25 % data, extents hidden, target known to be zero",
        goal: 1.20,
        stride: 4,
        server: Serving::Nbdkit(&["--filter=noextents"], &[]),
        tuning: Tuning {
            target_is_zero: true,
            ..PLAIN
        },
        ..RANDOM
    },
    Case {
        key: "random-qemu-nbd",
        name: "random, qemu-nbd to loop",
        server: Serving::QemuNbd,
        ..RANDOM
    },
    Case {
        key: "sparse-qemu-nbd",
        name: "sparse, 25 % data, qemu-nbd to loop",
        stride: 4,
        server: Serving::QemuNbd,
        ..RANDOM
    },
    Case {
        key: "random-nbd-server",
        name: "random, nbd-server to loop",
        server: Serving::NbdServer,
        ..RANDOM
    },
    Case {
        key: "sparse-nbd-server",
        name: "sparse, 25 % data, nbd-server (which hides extents) to loop, target known to be zero",
        stride: 4,
        server: Serving::NbdServer,
        tuning: Tuning {
            target_is_zero: true,
            ..PLAIN
        },
        ..RANDOM
    },
    Case {
        key: "verified",
        name: "random, with digest and full read-back, against the tool and a separate compare",
        goal: 2.0,
        tuning: Tuning {
            verified: true,
            ..PLAIN
        },
        peers: &[
            Peer::QemuImgThenCmp,
            Peer::QemuImgThenCompare,
            Peer::NbdCopyThenCmp,
            Peer::NbdCopyThenCompare,
        ],
        ..RANDOM
    },
    Case {
        key: "digest",
        name: "random, against ourselves without a digest",
        goal: 0.95,
        peers: &[Peer::OursUnhashed],
        ..RANDOM
    },
    Case {
        key: "slow",
        name: "random, source with 10 ms of latency",
        server: Serving::Nbdkit(&["--filter=delay"], &["delay-read=10ms"]),
        tuning: Tuning {
            slow_source: true,
            ..PLAIN
        },
        ..RANDOM
    },
    Case {
        key: "slow-unhashed",
        name: "random, source with 10 ms of latency, without a digest, which no peer computes",
        server: Serving::Nbdkit(&["--filter=delay"], &["delay-read=10ms"]),
        tuning: Tuning {
            slow_source: true,
            unhashed: true,
            ..PLAIN
        },
        ..RANDOM
    },
    Case {
        key: "limit",
        name: "random, against direct writes of the same bytes without NBD",
        goal: 0.65,
        peers: &[Peer::Dd],
        ..RANDOM
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::CASES;

    #[test]
    fn each_case_is_chosen_by_a_key_of_its_own() {
        let keys: BTreeSet<_> = CASES.iter().map(|case| case.key).collect();
        assert_eq!(keys.len(), CASES.len());
    }
}
