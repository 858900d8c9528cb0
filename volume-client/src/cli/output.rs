//! Standard output: tables and sentences for people, or the API's objects for programs.

use std::io::{self, Write};

use serde::Serialize;

use super::failure::Failure;
use super::table::Table;

/// For whom the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// People.
    Table,
    /// Programs.
    Json,
}

/// Where results go.
pub(super) struct Output {
    format: Format,
}

impl Output {
    pub(super) fn new(format: Format) -> Self {
        Self { format }
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// A result: the object as the API gave it, or what `people` makes of it.
    pub(super) fn show<T: Serialize>(
        &self,
        object: &T,
        people: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let text = match self.format {
            Format::Table => people(object),
            Format::Json => serde_json::to_string_pretty(object).map_err(io::Error::from)?,
        };
        line(&text)
    }

    /// A list: a JSON array, or a table.
    pub(super) fn list<T: Serialize>(
        &self,
        items: &Vec<T>,
        table: impl FnOnce(&[T]) -> Table,
    ) -> Result<(), Failure> {
        self.show(items, |items| table(items).to_string())
    }

    /// One of many that come over time: one line each, in both forms.
    pub(super) fn tell<T: Serialize>(
        &self,
        object: &T,
        people: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let text = match self.format {
            Format::Table => people(object),
            Format::Json => serde_json::to_string(object).map_err(io::Error::from)?,
        };
        line(&text)
    }
}

fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}
