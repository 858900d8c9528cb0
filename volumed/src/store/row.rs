//! Reading typed columns: a text that is no value of its type is an error of the row, never a default.

use std::error::Error;
use std::str::FromStr;

use rusqlite::Row;
use rusqlite::types::Type;

/// The text in column `name`, as a `T`.
pub(super) fn parsed<T>(row: &Row<'_>, name: &str) -> rusqlite::Result<T>
where
    T: FromStr,
    T::Err: Error + Send + Sync + 'static,
{
    let text: String = row.get(name)?;
    text.parse().map_err(|e| bad_column(row, name, e))
}

/// The text in column `name`, as a `T`, where there is one.
pub(super) fn parsed_opt<T>(row: &Row<'_>, name: &str) -> rusqlite::Result<Option<T>>
where
    T: FromStr,
    T::Err: Error + Send + Sync + 'static,
{
    let text: Option<String> = row.get(name)?;
    text.map(|text| text.parse().map_err(|e| bad_column(row, name, e)))
        .transpose()
}

/// The JSON in column `name`, as a `T`.
pub(super) fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, name: &str) -> rusqlite::Result<T> {
    let text: String = row.get(name)?;
    serde_json::from_str(&text).map_err(|e| bad_column(row, name, e))
}

/// The JSON in column `name`, where there is one.
pub(super) fn json_opt<T: serde::de::DeserializeOwned>(
    row: &Row<'_>,
    name: &str,
) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(name)?;
    text.map(|text| serde_json::from_str(&text).map_err(|e| bad_column(row, name, e)))
        .transpose()
}

fn bad_column(row: &Row<'_>, name: &str, error: impl Error + Send + Sync + 'static) -> rusqlite::Error {
    let index = row.as_ref().column_index(name).unwrap_or(0);
    rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error))
}
