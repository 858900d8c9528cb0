//! What sizes and names a volume may have.

use super::Inner;
use super::error::refused;
use crate::cloud::CloudError;
use crate::model::Bytes;

/// Sizes are whole gibibytes.
pub(super) const SIZE_UNIT: Bytes = Bytes::GIB;
/// What the database of the server holds.
const LONGEST_NAME: usize = 255;

impl Inner {
    pub(super) fn judge_size(&self, size: Bytes, doing: &str) -> Result<(), CloudError> {
        if size == Bytes(0) || !size.is_multiple_of(SIZE_UNIT) {
            return Err(refused(doing, "sizes are whole gibibytes"));
        }
        if size > self.place.max_size {
            let most = gibibytes(self.place.max_size);
            return Err(refused(
                doing,
                format!("the cloud makes volumes of at most {most} GiB"),
            ));
        }
        Ok(())
    }
}

/// Names are for people, and the server refuses control characters.
pub(super) fn judge_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > LONGEST_NAME {
        return Err("names have 1 to 255 bytes");
    }
    if name.chars().any(char::is_control) {
        return Err("names have no control characters");
    }
    Ok(())
}

pub(super) fn gibibytes(size: Bytes) -> u64 {
    size.0 / SIZE_UNIT.0
}
