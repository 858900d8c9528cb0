//! An error with what caused it, on one line.

use std::error::Error;

/// The error and its causes, each after a colon.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let first = error.source();
    let causes = std::iter::successors(first, |cause| (**cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
