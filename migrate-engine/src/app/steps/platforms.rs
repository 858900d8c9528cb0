//! Step 1: from where to where.

use super::super::plain::plain;
use super::super::{Ending, human};
use crate::config::steps::{Change, Platforms, StepsFile};

/// Writes the platforms.
///
/// # Errors
/// Where the file cannot be changed; it is as it was then.
pub fn platforms(file: &StepsFile, platforms: Platforms) -> anyhow::Result<Ending> {
    file.apply(&Change::Platforms(platforms))?;
    human::tell(&format!(
        "{}: from {} to {}",
        plain(&file.path().display().to_string()),
        platforms.source.name(),
        platforms.target.name()
    ))?;
    Ok(Ending::Completed)
}
