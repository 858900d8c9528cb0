//! The shared libraries that a program needs, as the dynamic linker finds them on this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The libraries of a program, its loader among them; none where it is static.
pub(super) fn needed_by(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd")
        .arg(program)
        .env("LC_ALL", "C")
        .output()
        .context("cannot start ldd")?;
    let (said, complained) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    if complained.contains("not a dynamic executable") || said.contains("statically linked") {
        return Ok(Vec::new());
    }
    if !output.status.success() || said.contains("not found") {
        bail!(
            "the libraries of {} are not there: {said}{complained}",
            program.display()
        );
    }
    Ok(paths(&said))
}

fn paths(listing: &str) -> Vec<PathBuf> {
    let words = listing.lines().filter_map(|line| {
        let place = line.split("=>").last()?;
        place.split_whitespace().next()
    });
    words
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_from_the_listing() {
        let listing = "\tlinux-vdso.so.1 (0x00007fff)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x1)\n\
                       \t/lib64/ld-linux-x86-64.so.2 (0x2)\n";
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(paths(listing), expected);
    }

    #[test]
    fn this_very_test_has_libraries_and_they_are_there() {
        let found = needed_by(&std::env::current_exe().unwrap()).unwrap();
        assert!(!found.is_empty());
        assert!(found.iter().all(|path| path.is_file()), "{found:?}");
    }
}
