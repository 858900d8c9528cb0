//! What the kernel has: the inventory of disks, its watcher, the correlator and the pin.
