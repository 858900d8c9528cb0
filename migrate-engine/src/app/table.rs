//! A table for people: columns as wide as they must be, and remarks below the rows that they are about.

use std::fmt;

use super::plain::plain;

/// A table. What is put into it need not be [`plain`].
pub(super) struct Table {
    rows: Vec<Row>,
}

struct Row {
    cells: Vec<String>,
    remarks: Vec<String>,
}

impl Table {
    pub(super) fn new<const N: usize>(head: [&str; N]) -> Self {
        let mut table = Self { rows: Vec::new() };
        table.row(head.map(str::to_owned));
        table
    }

    /// Another row; with as many cells as the head has.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(Row {
            cells: cells.into_iter().map(|cell| plain(&cell)).collect(),
            remarks: Vec::new(),
        });
    }

    /// Something to be said of the last row.
    pub(super) fn remark(&mut self, text: &str) {
        if let Some(row) = self.rows.last_mut() {
            row.remarks.push(plain(text));
        }
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.cells.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.first().map_or(0, |row| row.cells.len());
        let widths: Vec<_> = (0..columns).map(|column| self.width(column)).collect();
        for row in &self.rows {
            let cells = row.cells.iter().zip(&widths);
            let cells: Vec<_> = cells.map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
            for remark in &row.remarks {
                writeln!(f, "    ! {remark}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_remarks_below_their_rows() {
        let mut table = Table::new(["ID", "NAME", "WHY"]);
        table.row(["1", "wéb", "-"].map(str::to_owned));
        table.remark("it is\x1b[31m red");
        table.row(["22", "database", ""].map(str::to_owned));
        let expected = "ID  NAME      WHY\n1   wéb       -\n    ! it is?[31m red\n22  database\n";
        assert_eq!(table.to_string(), expected);
    }
}
