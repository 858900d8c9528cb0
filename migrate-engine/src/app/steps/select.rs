//! Step 3: machines, by their serial numbers in a list that is fetched for it.

use super::super::book::Access;
use super::super::{Ending, human, machines};
use super::list::list;
use crate::config::steps::{Change, StepsFile};
use crate::model::Selection;

/// Reads the selection against the list as it is now, tells what it means, and writes it.
///
/// # Errors
/// A selection that selects nothing of the list, or a file that cannot be changed; it is as it was then.
pub async fn select(file: &StepsFile, access: &Access, text: &str) -> anyhow::Result<Ending> {
    let found = match list(access).await {
        Ok(found) => found,
        Err(error) => {
            let hint = "nothing was written; `migrate-engine steps source` verifies and writes the source";
            human::print_error(&error, Some(hint));
            return Ok(Ending::Failed);
        }
    };
    let parsed = Selection::parse(text, found.len())?;
    let picked = parsed.selection.pick(&found)?;
    human::tell(&machines::numbered(
        parsed.selection.serials().zip(picked.iter().copied()),
    ))?;
    file.apply(&Change::SelectedVms(parsed.selection.clone()))?;
    human::say(&format!(
        "selected {}: {}",
        parsed.selection,
        machines::totals(picked.iter().copied())
    ));
    for number in &parsed.repeated {
        human::say(&format!(
            "note: {number} is written more than once: it is taken once"
        ));
    }
    if picked.iter().any(|machine| machine.problem.is_some()) {
        human::say("note: what stands behind `!` has to be put right before those machines can be migrated");
    }
    Ok(Ending::Completed)
}
