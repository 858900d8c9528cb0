//! The one bounded wait: polls a condition until it holds or the time is up.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const INTERVAL: Duration = Duration::from_millis(50);

/// Polls `condition` until it yields a value; an error after `limit`, or at once when `condition` fails.
pub(crate) fn wait_until<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if start.elapsed() >= limit {
            bail!("gave up waiting for {what} after {} s", limit.as_secs());
        }
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the pause between two looks of a bounded wait"
)]
fn pause() {
    std::thread::sleep(INTERVAL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_the_value_as_soon_as_it_is_there() {
        let mut looks = 0;
        let value = wait_until("a value", Duration::from_secs(10), || {
            looks += 1;
            Ok((looks == 2).then_some(7))
        });
        assert_eq!(value.unwrap(), 7);
    }

    #[test]
    fn gives_up_and_says_on_what() {
        let error = wait_until::<()>("godot", Duration::ZERO, || Ok(None)).unwrap_err();
        assert!(error.to_string().contains("godot"), "{error}");
    }
}
