//! Aligned columns.

/// On which side of its column a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Figures.
    Right,
}

/// A table as text: headings, then rows, every line ended by a line feed. Cells that a row lacks are empty.
pub(crate) fn table(columns: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let width = |column: usize, heading: &str| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(heading.chars().count())
    };
    let widths: Vec<usize> =
        columns.iter().enumerate().map(|(column, (heading, _))| width(column, heading)).collect();
    let headings: Vec<String> = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&headings).chain(rows) {
        let mut line = String::new();
        for (column, ((_, align), width)) in columns.iter().zip(&widths).enumerate() {
            let cell = row.get(column).map_or("", String::as_str);
            let padding = " ".repeat(width - cell.chars().count());
            match align {
                Align::Left => line.extend([cell, &padding, "  "]),
                Align::Right => line.extend([&padding, cell, "  "]),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_and_figures_right() {
        let columns = [("name", Align::Left), ("ms", Align::Right), ("note", Align::Left)];
        let rows = [
            vec!["a".to_owned(), "12.5".to_owned(), "×".to_owned()],
            vec!["longer".to_owned(), "3".to_owned()],
        ];
        assert_eq!(table(&columns, &rows), "name      ms  note\na       12.5  ×\nlonger     3\n");
        assert_eq!(table(&columns, &[]), "name  ms  note\n");
    }
}
