//! Charts of rows: horizontal bars, and heat maps with a number in every cell.

use engine::{Error, Result};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::plots::{Area, Chart, FINE, Failure, INK, SERIES, css, render, text};

/// Shown pixels of a row of bars, and of a cell.
const ROW: i32 = 26;
const CELL: (i32, i32) = (54, 24);
/// Shown pixels of a character, about.
const LETTER: i32 = 7;

/// A horizontal bar in two parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Left of it.
    pub label: String,
    /// Length of its first part, a share of the whole.
    pub kept: f64,
    /// Length of its second part, likewise.
    pub lost: f64,
    /// Right of it.
    pub figure: String,
}

/// Bars below one another, on a scale from 0 to 1. `names` are those of the two parts.
///
/// # Errors
/// There are no bars, or a length is not a share.
pub fn bars(title: &str, names: [&str; 2], bars: &[Bar]) -> Result<Chart> {
    let is_share = |share: f64| (0.0..=1.0 + 1e-9).contains(&share);
    let fits = |bar: &Bar| is_share(bar.kept) && is_share(bar.lost) && is_share(bar.kept + bar.lost);
    if bars.is_empty() || !bars.iter().all(fits) {
        return Err(Error::new("chart", "bars need lengths between 0 and 1")
            .with("title", title)
            .with("bars", bars.len()));
    }
    let left = LETTER * longest(bars.iter().map(|bar| bar.label.as_str())) + 12;
    let right = LETTER * longest(bars.iter().map(|bar| bar.figure.as_str())) + 12;
    let width = 260;
    let height = ROW * count(bars.len()) + 4;
    let (kept, lost) = (SERIES[0], SERIES[1]);
    let svg = render(size(left + width + right, height), title, |area| {
        for (row, bar) in bars.iter().enumerate() {
            let top = ROW * count(row) + 4;
            let middle = top + (ROW - 6) / 2;
            let end = |share: f64| left + pixels(share * f64::from(width));
            label(area, &bar.label, (left - 8, middle), HPos::Right)?;
            block(area, [(left, top), (left + width, top + ROW - 6)], INK.mix(0.06))?;
            block(area, [(left, top), (end(bar.kept), top + ROW - 6)], kept.mix(0.8))?;
            block(area, [(end(bar.kept), top), (end(bar.kept + bar.lost), top + ROW - 6)], lost.mix(0.5))?;
            label(area, &bar.figure, (left + width + 8, middle), HPos::Left)?;
        }
        Ok(())
    })?;
    let legend = names.into_iter().zip([kept, lost]).map(|(name, color)| (name.to_owned(), css(color))).collect();
    Ok(Chart { title: title.to_owned(), caption: String::new(), legend, svg })
}

/// Percentages of `rows` x `columns`, darker where they are larger; `None` leaves a cell empty. `values` go row by row.
///
/// # Errors
/// The number of values is not that of the cells, or there are none.
pub fn heat_map(title: &str, rows: &[String], columns: &[String], values: &[Option<f64>]) -> Result<Chart> {
    if values.is_empty() || rows.len().checked_mul(columns.len()) != Some(values.len()) {
        return Err(Error::new("chart", "a heat map needs one value per cell")
            .with("title", title)
            .with("cells", format!("{} x {}", rows.len(), columns.len()))
            .with("values", values.len()));
    }
    let left = LETTER * longest(rows.iter().map(String::as_str)) + 12;
    let (wide, high) = CELL;
    let top = high;
    let svg =
        render(size(left + wide * count(columns.len()) + 4, top + high * count(rows.len()) + 4), title, |area| {
            for (at, name) in columns.iter().enumerate() {
                label(area, name, (left + wide * count(at) + wide / 2, top / 2), HPos::Center)?;
            }
            for (row, (name, values)) in rows.iter().zip(values.chunks(columns.len())).enumerate() {
                let y = top + high * count(row);
                label(area, name, (left - 8, y + high / 2), HPos::Right)?;
                for (column, value) in values.iter().enumerate() {
                    let Some(value) = value else { continue };
                    let x = left + wide * count(column);
                    // Never so dark that the number is hard to read.
                    let shade = SERIES[1].mix(0.04 + 0.66 * value.clamp(0.0, 1.0));
                    block(area, [(x, y), (x + wide - 2, y + high - 2)], shade)?;
                    label(area, &format!("{:.1}", 100.0 * value), (x + wide / 2 - 1, y + high / 2 - 1), HPos::Center)?;
                }
            }
            Ok(())
        })?;
    Ok(Chart { title: title.to_owned(), caption: String::new(), legend: Vec::new(), svg })
}

fn label(area: &Area<'_>, words: &str, (x, y): (i32, i32), side: HPos) -> Result<(), Failure> {
    area.draw(&Text::new(words.to_owned(), (x * FINE, y * FINE), text(side, VPos::Center)))
}

fn block(area: &Area<'_>, corners: [(i32, i32); 2], color: RGBAColor) -> Result<(), Failure> {
    let [from, to] = corners.map(|(x, y)| (x * FINE, y * FINE));
    if to.0 <= from.0 {
        return Ok(());
    }
    area.draw(&Rectangle::new([from, to], color.filled()))
}

fn longest<'a>(words: impl Iterator<Item = &'a str>) -> i32 {
    count(words.map(|word| word.chars().count()).max().unwrap_or(0))
}

/// Counts of rows, columns and letters are small; one beyond i32 makes a chart that nobody could draw anyhow.
fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX / 1000)
}

fn size(width: i32, height: i32) -> (u32, u32) {
    (width.unsigned_abs(), height.unsigned_abs())
}

#[expect(clippy::cast_possible_truncation, reason = "casts of floats saturate; a canvas has thousands of pixels")]
fn pixels(length: f64) -> i32 {
    length.round() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Widths of the rectangles of a colour, in shown pixels.
    fn widths(chart: &Chart, color: &str) -> Vec<u32> {
        let rectangles = chart.svg.split("<rect").skip(1).filter(|tag| tag.contains(color));
        let width = |tag: &str| tag.split_once("width=\"")?.1.split_once('"')?.0.parse::<u32>().ok();
        rectangles.map(|tag| width(tag).unwrap() / FINE.unsigned_abs()).collect()
    }

    #[test]
    fn bars_have_the_lengths_of_their_shares() {
        let bar = |label: &str, kept, lost| Bar { label: label.into(), kept, lost, figure: "<3".into() };
        let chart = bars("stages", ["left", "lost"], &[bar("a&b", 0.5, 0.25), bar("b", 0.0, 1.0)]).unwrap();
        assert_eq!(widths(&chart, &chart.legend[0].1), [130], "half of 260; no bar of length 0");
        assert_eq!(widths(&chart, &chart.legend[1].1), [65, 260]);
        assert!(chart.svg.contains("a&amp;b") && chart.svg.contains("&lt;3"), "{}", chart.svg);
        for (kept, lost) in [(1.2, 0.0), (0.7, 0.7), (f64::NAN, 0.0), (-0.1, 0.2), (0.5, -0.2)] {
            assert!(bars("", ["", ""], &[bar("a", kept, lost)]).is_err(), "{kept} {lost}");
        }
        assert!(bars("", ["", ""], &[]).is_err());
    }

    #[test]
    fn cells_are_darker_where_values_are_larger_and_empty_where_there_are_none() {
        let names = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        let values = [Some(0.0), Some(0.5), None, Some(1.0)];
        let chart = heat_map("map", &names("fog,snow"), &names("1,2"), &values).unwrap();
        let opacity = |tag: &str| tag.split_once("opacity=\"")?.1.split_once('"')?.0.parse::<f64>().ok();
        let shades: Vec<f64> = chart.svg.split("<rect").skip(1).filter_map(opacity).collect();
        assert_eq!(shades.len(), 3);
        assert!(shades.is_sorted_by(|a, b| a < b), "{shades:?}");
        let texts: Vec<&str> =
            chart.svg.split("</text>").filter_map(|part| part.rsplit_once('>')).map(|(_, t)| t.trim()).collect();
        assert_eq!(texts[..texts.len() - 1], ["1", "2", "fog", "0.0", "50.0", "snow", "100.0"]);
        assert!(heat_map("", &names("a"), &names("1,2"), &[None]).is_err());
        assert!(heat_map("", &[], &[], &[]).is_err());
    }
}
