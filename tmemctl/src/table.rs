// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tables of figures, and figures in units for people.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, Table};

/// A table without lines.
pub struct Columns(Table);

impl Columns {
    /// An empty one; each column has a name and an alignment.
    pub fn new(columns: &[(&str, CellAlignment)]) -> Self {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(
            columns
                .iter()
                .map(|(name, alignment)| Cell::new(name).set_alignment(*alignment)),
        );
        for (column, (_, alignment)) in table.column_iter_mut().zip(columns) {
            column.set_cell_alignment(*alignment);
        }
        Self(table)
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(cells);
    }

    pub fn text(&self) -> String {
        self.0.trim_fmt() + "\n"
    }
}

/// Pages or frames as MiB with one decimal.
pub fn mib(pages: u64) -> String {
    let tenths = (pages * 10 + 128) / 256;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// A part of a whole in per cent; a dash if the whole is zero.
pub fn percent(part: u64, whole: u64) -> String {
    match (part * 100 + whole / 2).checked_div(whole) {
        Some(percent) => format!("{percent} %"),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_rounded() {
        assert_eq!(mib(0), "0.0 MiB");
        assert_eq!(mib(130), "0.5 MiB");
        assert_eq!(mib(256 * 1000), "1000.0 MiB");
        assert_eq!(percent(1, 3), "33 %");
        assert_eq!(percent(2, 3), "67 %");
        assert_eq!(percent(1, 0), "-");
    }
}
