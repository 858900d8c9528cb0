//! Kernel modules by name, with those that they need before them, as the modules themselves say.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What the guest's devices need beyond what is built into Debian's cloud kernel.
const WANTED: [&str; 7] = [
    "virtio_pci",
    "virtio_rng",
    "virtio_blk",
    "virtio_scsi",
    "sd_mod",
    "virtio_net",
    "loop",
];

/// The modules that the guest loads, in an order in which they can be loaded.
pub(super) fn wanted(below: &Path) -> Result<Vec<PathBuf>> {
    let mut all = HashMap::new();
    collect(below, &mut all)?;
    let mut order = Vec::new();
    for name in WANTED {
        place(name, &all, &mut order)?;
    }
    Ok(order)
}

fn collect(below: &Path, all: &mut HashMap<String, PathBuf>) -> Result<()> {
    let entries = fs::read_dir(below).with_context(|| format!("cannot list {}", below.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, all)?;
        } else if path.extension().is_some_and(|extension| extension == "ko") {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            all.insert(stem.replace('-', "_"), path);
        }
    }
    Ok(())
}

fn place(name: &str, all: &HashMap<String, PathBuf>, order: &mut Vec<PathBuf>) -> Result<()> {
    let path = all
        .get(&name.replace('-', "_"))
        .with_context(|| format!("the kernel has no module {name}"))?;
    if order.contains(path) {
        return Ok(());
    }
    let module = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    for needed in needs(&module) {
        place(&needed, all, order)?;
    }
    order.push(path.clone());
    Ok(())
}

/// The section `.modinfo` holds `key=value` strings that end in a nought.
fn needs(module: &[u8]) -> Vec<String> {
    let value = module
        .split(|byte| *byte == 0)
        .find_map(|text| text.strip_prefix(b"depends="));
    let text = String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
    text.split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_needs_is_read_from_it() {
        let module = b"\x7fELF\0license=GPL\0depends=virtio,virtio-ring\0retpoline=Y\0";
        assert_eq!(needs(module), ["virtio", "virtio-ring"]);
        assert_eq!(needs(b"\0depends=\0"), [""; 0]);
        assert_eq!(needs(b"nothing"), [""; 0]);
    }

    #[test]
    fn a_module_comes_after_what_it_needs() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, depends: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("\0depends={depends}\0")).unwrap();
        };
        write("net/a-top.ko", "b_middle,c-low");
        write("net/b-middle.ko", "c_low");
        write("lib/c_low.ko", "");
        let mut all = HashMap::new();
        collect(dir.path(), &mut all).unwrap();
        let mut order = Vec::new();
        place("a_top", &all, &mut order).unwrap();
        let names: Vec<_> = order.iter().map(|path| path.file_stem().unwrap()).collect();
        assert_eq!(names, ["c_low", "b-middle", "a-top"]);
        assert!(place("d", &all, &mut order).is_err());
    }
}
