//! Tables whose columns know their unit, their precision, and whether more is better.

/// A table: typed columns, one row per thing compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// What it shows and how it was measured.
    pub caption: String,
    /// Columns.
    pub columns: Vec<Column>,
    /// Rows; a short row ends in empty cells.
    pub rows: Vec<Vec<Cell>>,
}

/// Heading and format of a column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Column {
    /// Heading.
    pub title: String,
    /// Unit, below the heading; empty where there is none.
    pub unit: String,
    /// Digits after the point.
    pub decimals: usize,
    /// Factor from the cell's number to the shown one: 100 for percentages.
    pub scale: f64,
    /// Which number is highlighted as the best of its column.
    pub best: Best,
}

/// Which of a column's numbers is the best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Best {
    /// None: it is a description or a cost without a winner.
    #[default]
    None,
    /// The largest, such as accuracy.
    Highest,
    /// The smallest, such as calibration error.
    Lowest,
}

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A number in the column's format.
    Number(f64),
    /// A number with its standard error, both in the column's format.
    Measured(f64, f64),
    /// Not measured: a dash.
    Missing,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<Option<f64>> for Cell {
    fn from(value: Option<f64>) -> Self {
        value.map_or(Self::Missing, Self::Number)
    }
}

impl Cell {
    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(value) | Self::Measured(value, _) => Some(*value).filter(|value| value.is_finite()),
            Self::Text(_) | Self::Missing => None,
        }
    }
}

impl Column {
    /// A column of words.
    pub fn text(title: impl Into<String>) -> Self {
        Self { title: title.into(), scale: 1.0, ..Self::default() }
    }

    /// A column of numbers with a unit (possibly empty) and `decimals` digits after the point.
    pub fn number(title: impl Into<String>, unit: impl Into<String>, decimals: usize) -> Self {
        Self { title: title.into(), unit: unit.into(), decimals, scale: 1.0, best: Best::None }
    }

    /// A column of fractions, shown as percentages with one digit after the point.
    pub fn percent(title: impl Into<String>) -> Self {
        Self { scale: 100.0, ..Self::number(title, "%", 1) }
    }

    /// Highlights the largest number.
    #[must_use]
    pub fn highest(self) -> Self {
        Self { best: Best::Highest, ..self }
    }

    /// Highlights the smallest number.
    #[must_use]
    pub fn lowest(self) -> Self {
        Self { best: Best::Lowest, ..self }
    }

    /// A cell as it is shown.
    pub fn show(&self, cell: &Cell) -> String {
        let digits = |value: f64| format!("{:.*}", self.decimals, value * self.scale);
        match cell {
            Cell::Text(text) => text.clone(),
            Cell::Number(value) => digits(*value),
            Cell::Measured(value, error) => format!("{} ± {}", digits(*value), digits(*error)),
            Cell::Missing => "–".to_owned(),
        }
    }
}

impl Table {
    /// A table without rows.
    pub fn new(caption: impl Into<String>, columns: Vec<Column>) -> Self {
        Self { caption: caption.into(), columns, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn push(&mut self, row: impl IntoIterator<Item = Cell>) {
        self.rows.push(row.into_iter().collect());
    }

    /// Whether the cell of `row` and `column` shows its column's best number. Numbers that are shown alike are equally good; a
    /// column in which all are alike has no best.
    pub fn is_best(&self, row: usize, column: usize) -> bool {
        let Some(format) = self.columns.get(column) else { return false };
        let Some(cell) = self.rows.get(row).and_then(|row| row.get(column)) else { return false };
        let numbers = || self.rows.iter().filter_map(|row| row.get(column).and_then(Cell::number));
        let best = match format.best {
            Best::None => return false,
            Best::Highest => numbers().reduce(f64::max),
            Best::Lowest => numbers().reduce(f64::min),
        };
        let shown = |value: f64| format.show(&Cell::Number(value));
        match (best.map(shown), cell.number().map(shown)) {
            (Some(best), Some(this)) => best == this && numbers().any(|other| shown(other) != best),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_is_judged_as_shown_and_per_column() {
        let columns =
            vec![Column::text("model"), Column::percent("clean").highest(), Column::number("ECE", "", 3).lowest()];
        let mut table = Table::new("", columns);
        table.push(["a".into(), Cell::Number(0.9121), Cell::Number(0.5)]);
        table.push(["b".into(), Cell::Measured(0.9124, 0.01), Cell::Number(0.5001)]);
        table.push(["c".into(), Cell::Number(0.5), Cell::Missing]);
        table.push(["d".into(), Cell::Number(f64::NAN)]);
        let best = |column| (0..5).map(|row| table.is_best(row, column)).collect::<Vec<_>>();
        assert_eq!(best(1), [true, true, false, false, false]);
        assert_eq!(best(2), [false; 5], "0.500 and 0.500 are shown alike: nobody wins");
        assert_eq!(best(0), [false; 5]);
        assert_eq!(table.columns[1].show(&table.rows[1][1]), "91.2 ± 1.0");
        assert_eq!(table.columns[2].show(&table.rows[2][2]), "–");
    }
}
