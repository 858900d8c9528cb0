//! What the guest's kernel writes to its serial console, and whether it says that it is broken.

/// What a kernel of Debian's or our first process writes when it is broken.
const TROUBLE: [&str; 6] = [
    "Kernel panic",
    "Oops:",
    "kernel BUG at",
    "BUG: ",
    "general protection fault",
    "appliance-init: failed",
];

/// A busy host lets the guest's clock jump; that says nothing about the guest.
const HARMLESS: &str = "soft lockup";

/// The first line that says that the guest is broken.
pub(super) fn trouble(console: &str) -> Option<&str> {
    console
        .lines()
        .find(|line| TROUBLE.iter().any(|sign| line.contains(sign)) && !line.contains(HARMLESS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_guest_is_told_from_a_slow_one() {
        let fine =
            "[ 1.0] Run /init as init process\n[ 9.0] watchdog: BUG: soft lockup - CPU#0 stuck for 26s!\n";
        assert_eq!(trouble(fine), None);
        let oops = "[ 1.0] x\n[ 2.0] BUG: kernel NULL pointer dereference, address: 8\n[ 2.1] Oops: 0000\n";
        assert_eq!(
            trouble(oops),
            Some("[ 2.0] BUG: kernel NULL pointer dereference, address: 8")
        );
        assert!(trouble("appliance-init: failed: cannot load /lib/modules/x.ko").is_some());
    }
}
