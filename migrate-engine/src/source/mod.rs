//! Where disks come from: image files, OVA and OVF packages, NBD exports.
