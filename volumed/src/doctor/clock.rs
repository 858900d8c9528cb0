//! Whether something keeps the machine's clock right: calls to clouds are signed with an expiry.
#![allow(unsafe_code, reason = "adjtimex has no safe wrapper")]

use std::io;
use std::path::Path;

use crate::model::Check;

const NAME: &str = "clock";
/// `TIME_ERROR` of adjtimex(2): the clock is not synchronised.
const NOT_SYNCHRONISED: i32 = 5;
/// systemd-timesyncd touches it once it has set the clock.
const TIMESYNCD: &str = "/run/systemd/timesync/synchronized";

pub(super) fn clock() -> Check {
    judge(state(), Path::new(TIMESYNCD))
}

/// What the kernel says of its clock. Asking needs no right, but the daemon's unit forbids the call, as it could also set.
fn state() -> io::Result<i32> {
    let mut question = std::mem::MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: all zeroes is a valid `timex`, and with `modes` zero the kernel only fills it in.
    let state = unsafe { libc::adjtimex(question.as_mut_ptr()) };
    match state {
        -1 => Err(io::Error::last_os_error()),
        state => Ok(state),
    }
}

fn judge(state: io::Result<i32>, timesyncd: &Path) -> Check {
    const ADVICE: &str = "run chrony or systemd-timesyncd; `timedatectl` tells how the clock stands";
    match state {
        Ok(NOT_SYNCHRONISED) => {
            Check::warning(NAME, "the kernel says that its clock is not synchronised", ADVICE)
        }
        Ok(_) => Check::passed(NAME, "the kernel says that its clock is synchronised"),
        Err(_) if timesyncd.exists() => Check::passed(NAME, "systemd-timesyncd has set it"),
        Err(error) => Check::warning(
            NAME,
            format!("the kernel does not tell how it stands: {error}"),
            ADVICE,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CheckStatus::{Passed, Warning};

    #[test]
    fn the_kernel_is_believed_and_timesyncd_where_it_may_not_be_asked() {
        let (here, nowhere) = (Path::new("/proc/self"), Path::new("/proc/self/none"));
        let denied = || Err(io::ErrorKind::PermissionDenied.into());
        for (state, timesyncd, expected) in [
            (Ok(0), nowhere, Passed),
            (Ok(1), nowhere, Passed),
            (Ok(NOT_SYNCHRONISED), here, Warning),
            (denied(), here, Passed),
            (denied(), nowhere, Warning),
        ] {
            assert_eq!(judge(state, timesyncd).status, expected);
        }
    }

    #[test]
    fn the_kernel_answers_or_forbids() {
        match state() {
            Ok(state) => assert!((0..=NOT_SYNCHRONISED).contains(&state), "{state}"),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
    }
}
