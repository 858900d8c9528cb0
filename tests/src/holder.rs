//! A process of its own that has a device open, and can die at any time.

use std::fs::File;
use std::process::{Child, Command, Stdio};

/// A process that has a device open; it is killed when this is dropped.
#[derive(Debug)]
pub struct Holder(Child);

impl Holder {
    /// Starts a process with `file` as its standard input.
    #[must_use]
    pub fn of(file: File) -> Self {
        let child = Command::new("sleep")
            .arg("infinity")
            .stdin(Stdio::from(file))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("sleep can be started"))
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Kills it (SIGKILL) and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.kill();
    }
}
