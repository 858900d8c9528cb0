//! How many descriptors the process may have open: each connection and each device in use takes one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More than this nobody needs, and programs that we start may go through all numbers up to the limit.
const ENOUGH: u64 = 1 << 20;

/// Lets this process, and programs that it starts from here on, open as many descriptors as the system lets it: shells and some
/// service managers begin with 1,024 and allow more. Repeating it changes nothing; where the kernel refuses, the limit stays as it
/// is, which `process_max_fds` of the metrics shows.
pub fn raise_limit() {
    let found = getrlimit(Resource::Nofile);
    let wanted = found.maximum.map_or(ENOUGH, |maximum| maximum.min(ENOUGH));
    if found.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let raised = Rlimit {
        current: Some(wanted),
        maximum: found.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, wanted, "the limit of open descriptors stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_becomes_what_the_system_allows() {
        let found = getrlimit(Resource::Nofile);
        let wanted = found.maximum.map_or(ENOUGH, |maximum| maximum.min(ENOUGH));
        // Enough for the tests beside this one.
        let lowered = Rlimit {
            current: Some(wanted / 2),
            maximum: found.maximum,
        };
        setrlimit(Resource::Nofile, lowered).unwrap();
        for _ in 0..2 {
            raise_limit();
            assert_eq!(getrlimit(Resource::Nofile).current, Some(wanted));
        }
    }
}
