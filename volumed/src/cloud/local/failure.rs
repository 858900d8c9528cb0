//! What an error of the kernel means to the caller of the provider.

use std::io;

use crate::cloud::CloudError;

/// Gives an I/O error its meaning by when it happened.
pub(super) trait OrCloudError<T> {
    /// It happened before anything had changed, or what had changed has no effect until the call is repeated.
    fn untouched(self, doing: impl FnOnce() -> String) -> Result<T, CloudError>;
    /// It happened when the effect may have been there already.
    fn in_doubt(self, doing: impl FnOnce() -> String) -> Result<T, CloudError>;
}

impl<T, E: Into<io::Error>> OrCloudError<T> for Result<T, E> {
    fn untouched(self, doing: impl FnOnce() -> String) -> Result<T, CloudError> {
        self.map_err(|error| match settled(error.into(), doing) {
            Ok(error) => error,
            Err((doing, source)) => CloudError::Transient {
                doing,
                retry_after: None,
                source: Some(source.into()),
            },
        })
    }

    fn in_doubt(self, doing: impl FnOnce() -> String) -> Result<T, CloudError> {
        self.map_err(|error| match settled(error.into(), doing) {
            Ok(error) => error,
            Err((doing, source)) => CloudError::Unknown {
                doing,
                source: Some(source.into()),
            },
        })
    }
}

/// The errors that mean the same whenever they happen.
fn settled(error: io::Error, doing: impl FnOnce() -> String) -> Result<CloudError, (String, io::Error)> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Ok(CloudError::NoSpace {
            doing: doing(),
            source: Some(error.into()),
        }),
        io::ErrorKind::FileTooLarge => Ok(CloudError::Refused {
            doing: doing(),
            reason: "larger than a file can be on the file system of the volumes".to_owned(),
        }),
        _ => Err((doing(), error)),
    }
}
