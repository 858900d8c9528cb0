//! Which nbd-server this is, as far as its reload is concerned.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

const ANSWER: Duration = Duration::from_secs(10);

/// Asks the program. One that does not say is taken for broken.
pub(super) async fn has_sound_reload(program: &Path) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
    let text = match timeout(ANSWER, command.output()).await {
        Ok(Ok(output)) => [output.stdout, output.stderr].concat(),
        _ => return false,
    };
    let text = String::from_utf8_lossy(&text);
    let sound = is_sound(&text);
    tracing::debug!(version = text.trim(), sound, "nbd-server's reload");
    sound
}

/// Whether a version's reload is free of the heap corruption of 3.20 to 3.24; what cannot be read is not.
fn is_sound(text: &str) -> bool {
    let version = || {
        let version = text.split_once("version ")?.1.split_whitespace().next()?;
        let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
        Some((parts.next()??, parts.next()??))
    };
    version().is_some_and(|version| !((3, 20)..=(3, 24)).contains(&version))
}

#[cfg(test)]
mod tests {
    use super::is_sound;

    #[test]
    fn reloads_known_to_corrupt_memory_are_not_tried() {
        for (text, sound) in [
            ("This is nbd-server version 3.24\n", false),
            ("This is nbd-server version 3.20", false),
            ("This is nbd-server version 3.25", true),
            ("This is nbd-server version 3.26.1", true),
            ("This is nbd-server version 3.19", true),
            ("segmentation fault", false),
            ("", false),
        ] {
            assert_eq!(is_sound(text), sound, "{text}");
        }
    }
}
