//! Charts as SVG fragments for a report: curves, reliability diagrams, singular spectra.
//!
//! A chart is drawn in pixels four times finer than it is shown, because the drawing backend knows whole pixels only.
//! What must follow the page's colours (text, axes, grid) is drawn in a placeholder colour that becomes `currentColor`;
//! series have mid-tones that can be told apart by most colour-blind readers, on light and on dark pages.

use std::io;
use std::ops::Range;

use engine::{Error, Result};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::html::escape;
use crate::eval::calibration::Bin;
use crate::nullspace::exact::Block;

/// Drawn pixels per shown pixel.
pub(super) const FINE: i32 = 4;
pub(super) const INK: RGBColor = RGBColor(1, 2, 3);
pub(super) const SERIES: [RGBColor; 7] = [
    RGBColor(0x3b, 0x82, 0xd6),
    RGBColor(0xe0, 0x66, 0x2b),
    RGBColor(0x16, 0xa3, 0x7f),
    RGBColor(0xc0, 0x5f, 0xa8),
    RGBColor(0xd1, 0x98, 0x12),
    RGBColor(0x35, 0xa7, 0xcc),
    RGBColor(0x8a, 0x8f, 0x98),
];

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Failure = DrawingAreaErrorKind<io::Error>;
pub(super) type Plot<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Scale, Scale>>;

/// A drawn chart: goes into a report's section.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// Heading.
    pub title: String,
    /// What it shows and how it was measured, below it.
    pub caption: String,
    /// Names of the series and their CSS colours, above it.
    pub legend: Vec<(String, String)>,
    /// The `<svg>` element.
    pub svg: String,
}

impl Chart {
    /// With a caption.
    #[must_use]
    pub fn caption(mut self, caption: impl Into<String>) -> Self {
        self.caption = caption.into();
        self
    }
}

/// A named curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// (x, y) in drawing order. Points that aren't finite break the curve, and so do y <= 0 on a log axis.
    pub points: Vec<(f64, f64)>,
}

impl Line {
    /// A curve through `points`.
    pub fn new(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { name: name.into(), points: points.into_iter().collect() }
    }
}

/// Title, axis labels (with units) and scales of a line chart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axes {
    /// Heading.
    pub title: String,
    /// Label of the x axis.
    pub x: String,
    /// Label of the y axis.
    pub y: String,
    /// Logarithmic y axis.
    pub log_y: bool,
    /// Fixed ends of the y axis; from the data where `None`.
    pub y_range: Option<(f64, f64)>,
}

/// Curves over a common x axis: training curves, accuracy against eps.
///
/// # Errors
/// No point can be drawn.
pub fn lines(axes: &Axes, lines: &[Line]) -> Result<Chart> {
    let place = |y: f64| if axes.log_y { y.log10() } else { y };
    let curves: Vec<Vec<Vec<(f64, f64)>>> = lines
        .iter()
        .map(|line| {
            let points: Vec<_> = line.points.iter().map(|&(x, y)| (x, place(y))).collect();
            let drawable = |a: &(f64, f64)| a.0.is_finite() && a.1.is_finite();
            points.split(|point| !drawable(point)).filter(|run| !run.is_empty()).map(<[_]>::to_vec).collect()
        })
        .collect();
    let all = || curves.iter().flatten().flatten();
    let (Some(x), Some(y)) = (extent(all().map(|p| p.0)), extent(all().map(|p| p.1))) else {
        return Err(Error::new("chart", "no point can be drawn")
            .with("title", &axes.title)
            .with("curves", lines.len()));
    };
    let x = Scale::linear(x, false);
    let y = match axes.y_range {
        Some((low, high)) => Scale::linear((place(low), place(high)), false),
        None if axes.log_y => Scale::decades(y),
        None => Scale::linear(y, true),
    };
    let svg = render((480, 300), &axes.title, |area| {
        let mut plot = frame(area, &x, &y, &axes.x, &axes.y)?;
        for (color, runs) in SERIES.iter().cycle().zip(&curves) {
            for run in runs {
                plot.draw_series(LineSeries::new(run.iter().copied(), stroke(*color, 2)))?;
                if run.len() <= 24 {
                    plot.draw_series(run.iter().map(|&at| Circle::new(at, 3 * FINE, color.filled())))?;
                }
            }
        }
        Ok(())
    })?;
    let legend =
        lines.iter().zip(SERIES.iter().cycle()).map(|(line, color)| (line.name.clone(), css(*color))).collect();
    Ok(Chart { title: axes.title.clone(), caption: String::new(), legend, svg })
}

/// A reliability diagram: accuracy per bin of confidence against the diagonal of perfect calibration, and below it the share
/// of samples in each bin. The gap between accuracy and mean confidence is shaded: above the accuracy where the model is
/// overconfident, as the upper part of the accuracy where it is underconfident.
///
/// # Errors
/// No bin holds a sample.
pub fn reliability(title: &str, bins: &[Bin]) -> Result<Chart> {
    let total: usize = bins.iter().map(|bin| bin.count).sum();
    if total == 0 {
        return Err(Error::new("chart", "no bin holds a sample").with("title", title));
    }
    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    let share = |count: usize, of: usize| count as f64 / of as f64;
    let span = |bin: usize| (share(bin, bins.len()), share(bin + 1, bins.len()));
    let (accuracy, over, under) = (SERIES[0], SERIES[1], SERIES[2]);
    let unit = Scale::fixed(0.0..1.0, &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0], |v| format!("{v:.1}"));
    let most = bins.iter().map(|bin| share(bin.count, total)).fold(0.0, f64::max);
    let shares = Scale::fixed(0.0..most * 1.05, &[0.0, most], |v| format!("{:.0}%", v * 100.0));
    let bare = Scale::fixed(0.0..1.0, &[], |_| String::new());
    let svg = render((300, 380), title, |area| {
        let (above, below) = area.split_vertically(262 * FINE);
        let mut plot = frame(&above, &bare, &unit, "", "accuracy")?;
        for (at, bin) in bins.iter().enumerate().filter(|(_, bin)| bin.count > 0) {
            let (left, right) = span(at);
            let ends = |low, high, style: ShapeStyle| Rectangle::new([(left, low), (right, high)], style);
            let (low, high) = (bin.accuracy.min(bin.confidence), bin.accuracy.max(bin.confidence));
            let gap = if bin.confidence > bin.accuracy { over } else { under };
            plot.draw_series([ends(0.0, low, accuracy.mix(0.8).filled()), ends(low, high, gap.mix(0.5).filled())])?;
        }
        plot.draw_series(DashedLineSeries::new([(0.0, 0.0), (1.0, 1.0)], 5 * FINE, 4 * FINE, stroke(INK, 1)))?;
        let mut plot = frame(&below, &unit, &shares, "confidence", "share of samples")?;
        plot.draw_series(bins.iter().enumerate().map(|(at, bin)| {
            let (left, right) = span(at);
            Rectangle::new([(left, 0.0), (right, share(bin.count, total))], SERIES[6].mix(0.7).filled())
        }))?;
        Ok(())
    })?;
    let legend = [("accuracy", accuracy), ("overconfident by", over), ("underconfident by", under)];
    let legend = legend.map(|(name, color)| (name.to_owned(), css(color))).to_vec();
    Ok(Chart { title: title.to_owned(), caption: String::new(), legend, svg })
}

/// Singular values on a log axis, largest first, one curve per block; the tolerance that decided the first block's rank is
/// dashed, and the columns beyond the smallest rank, which are null, are shaded.
///
/// # Errors
/// There are no blocks, or all singular values are 0.
pub fn spectrum(title: &str, blocks: &[(String, Block)]) -> Result<Chart> {
    let width = blocks.iter().map(|(_, block)| block.columns.len()).max();
    let largest = blocks.iter().flat_map(|(_, block)| &block.singular).copied().fold(0.0, f64::max);
    let (Some(width), Some((_, first))) = (width.filter(|_| largest > 0.0), blocks.first()) else {
        return Err(Error::new("chart", "there are no positive singular values").with("title", title));
    };
    // What rounding left of a zero has no meaning: the axis ends a little below the tolerance.
    let floor = (first.tolerance.max(largest * 1e-16) / 10.0).log10();
    let place = |value: f64| value.log10().max(floor);
    #[expect(clippy::cast_precision_loss, reason = "dimensions stay below 2^53")]
    let index = |at: usize| at as f64;
    let x = Scale::linear((0.0, index(width)), false);
    let y = Scale::decades((floor, largest.log10()));
    let rank = blocks.iter().map(|(_, block)| block.rank).min().unwrap_or(width);
    let svg = render((480, 300), title, |area| {
        let mut plot = frame(area, &x, &y, "index", "singular value")?;
        let (bottom, top) = (y.range.start, y.range.end);
        if rank < width {
            let shade = Rectangle::new([(index(rank), bottom), (index(width), top)], SERIES[2].mix(0.16).filled());
            plot.draw_series([shade])?;
            let middle = (index(rank) + index(width)) / 2.0;
            let count = width - rank;
            let label = if blocks.len() == 1 { format!("{count} null dimensions") } else { "null".to_owned() };
            plot.draw_series([Text::new(label, (middle, (bottom + top) / 2.0), text(HPos::Center, VPos::Center))])?;
        }
        let tolerance = [(0.0, first.tolerance), (index(width), first.tolerance)].map(|(x, y)| (x, place(y)));
        plot.draw_series(DashedLineSeries::new(tolerance, 5 * FINE, 4 * FINE, stroke(INK, 1)))?;
        let label = format!("tolerance {:.1e}", first.tolerance);
        plot.draw_series([Text::new(
            label,
            (index(width) * 0.01, place(first.tolerance)),
            text(HPos::Left, VPos::Bottom),
        )])?;
        for (color, (_, block)) in SERIES.iter().cycle().zip(blocks) {
            let points = block.singular.iter().enumerate().map(|(at, &value)| (index(at) + 0.5, place(value)));
            plot.draw_series(LineSeries::new(points.clone(), stroke(*color, 2)))?;
            if width <= 100 {
                plot.draw_series(points.map(|at| Circle::new(at, 2 * FINE, color.filled())))?;
            }
        }
        Ok(())
    })?;
    let legend = blocks.iter().zip(SERIES.iter().cycle()).map(|((name, _), color)| (name.clone(), css(*color)));
    Ok(Chart { title: title.to_owned(), caption: String::new(), legend: legend.collect(), svg })
}

/// The ends of an axis, and its ticks with their labels.
#[derive(Clone)]
pub(super) struct Scale {
    pub(super) range: Range<f64>,
    ticks: Vec<(f64, String)>,
}

impl Scale {
    /// About six round ticks; the ends move out to ticks where `rounded`.
    fn linear((low, high): (f64, f64), rounded: bool) -> Self {
        let (low, high) = if high > low { (low, high) } else { (low - 0.5, low + 0.5) };
        let rough = (high - low) / 6.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step =
            [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|&step| step >= rough * 0.999).unwrap_or(rough);
        let range = if rounded { (low / step).floor() * step..(high / step).ceil() * step } else { low..high };
        let (first, last) = ((range.start / step - 1e-9).ceil(), (range.end / step + 1e-9).floor());
        let decimals = (0..12).find(|&d| step * 10_f64.powi(d) >= 0.999).unwrap_or(12);
        let decimals = usize::try_from(decimals).unwrap_or(0);
        let ticks = successive(first, last).map(|k| (k * step, format!("{:.decimals$}", k * step + 0.0)));
        Self { ticks: ticks.collect(), range }
    }

    /// Of log10 of the data: whole decades, labelled with the data's values.
    pub(super) fn decades((low, high): (f64, f64)) -> Self {
        let (low, high) = (low.floor(), high.ceil().max(low.floor() + 1.0));
        let stride = ((high - low) / 7.0).ceil();
        let mantissas: &[f64] = if high - low <= 2.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let ticks = successive(0.0, ((high - low) / stride).floor()).flat_map(|k| {
            let exponent = low + k * stride;
            mantissas.iter().map(move |&mantissa| (exponent + mantissa.log10(), mantissa, exponent))
        });
        let label = |mantissa: f64, exponent: f64| {
            if low >= -3.0 && high <= 4.0 {
                format!("{}", mantissa * 10_f64.powf(exponent))
            } else if mantissa > 1.0 {
                format!("{mantissa}·10{}", superscript(exponent))
            } else {
                format!("10{}", superscript(exponent))
            }
        };
        let ticks =
            ticks.filter(|&(at, ..)| at <= high).map(|(at, mantissa, exponent)| (at, label(mantissa, exponent)));
        Self { ticks: ticks.collect(), range: low..high }
    }

    fn fixed(range: Range<f64>, ticks: &[f64], label: impl Fn(f64) -> String) -> Self {
        Self { range, ticks: ticks.iter().map(|&tick| (tick, label(tick))).collect() }
    }
}

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "casts of floats saturate; a canvas has thousands of pixels"
        )]
        let along = (share * f64::from(last - first)).round() as i32;
        first.saturating_add(along)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.iter().map(|tick| tick.0).collect()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Scale {
    fn format_ext(&self, value: &f64) -> String {
        self.ticks.iter().find(|tick| tick.0 == *value).map_or_else(String::new, |tick| tick.1.clone())
    }
}

fn successive(first: f64, last: f64) -> impl Iterator<Item = f64> {
    std::iter::successors(Some(first), |k| Some(k + 1.0)).take_while(move |&k| k <= last)
}

fn superscript(exponent: f64) -> String {
    let digits = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let raise = |c: char| c.to_digit(10).and_then(|d| digits.get(d as usize).copied()).unwrap_or('⁻');
    format!("{exponent:.0}").chars().map(raise).collect()
}

pub(super) fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |ends, v| Some(ends.map_or((v, v), |(low, high): (f64, f64)| (low.min(v), high.max(v)))))
}

pub(super) fn css(color: RGBColor) -> String {
    format!("#{:02X}{:02X}{:02X}", color.0, color.1, color.2)
}

pub(super) fn stroke(color: RGBColor, width: u32) -> ShapeStyle {
    color.stroke_width(width * FINE.unsigned_abs())
}

pub(super) fn text(horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    // The backend divides by 1.24: this gives 12.5 px.
    let font = ("sans-serif", 12.5 * 1.24 * f64::from(FINE)).into_font();
    TextStyle::from(font).color(&INK).pos(Pos::new(horizontal, vertical))
}

/// Grid, axes, ticks; the y label stands upright above its axis, where it can be read.
pub(super) fn frame<'a, 'b>(
    area: &'a Area<'b>,
    x: &Scale,
    y: &Scale,
    x_label: &str,
    y_label: &str,
) -> Result<Plot<'a, 'b>, Failure> {
    area.draw(&Text::new(y_label.to_owned(), (2 * FINE, 2 * FINE), text(HPos::Left, VPos::Top)))?;
    let below = if x.ticks.is_empty() {
        8
    } else if x_label.is_empty() {
        24
    } else {
        42
    };
    let mut plot = ChartBuilder::on(area)
        .margin_top(26 * FINE)
        .margin_right(14 * FINE)
        .x_label_area_size(below * FINE)
        .y_label_area_size(46 * FINE)
        .build_cartesian_2d(x.clone(), y.clone())?;
    plot.configure_mesh()
        .bold_line_style(INK.mix(0.14).stroke_width(FINE.unsigned_abs()))
        .light_line_style(TRANSPARENT)
        .disable_x_mesh()
        .axis_style(INK.mix(0.6).stroke_width(FINE.unsigned_abs()))
        .set_all_tick_mark_size(4 * FINE)
        .x_labels(x.ticks.len())
        .y_labels(y.ticks.len())
        .label_style(text(HPos::Center, VPos::Center))
        .axis_desc_style(text(HPos::Center, VPos::Center))
        .x_desc(x_label)
        .draw()?;
    Ok(plot)
}

/// Draws on a canvas of `size` shown pixels and makes the result fit to stand in a page: no XML namespace, a description for
/// screen readers, and the page's text colour for ink.
pub(super) fn render(
    size: (u32, u32),
    title: &str,
    draw: impl FnOnce(&Area<'_>) -> Result<(), Failure>,
) -> Result<String> {
    let mut svg = String::new();
    let fine = FINE.unsigned_abs();
    {
        let area = SVGBackend::with_string(&mut svg, (size.0 * fine, size.1 * fine)).into_drawing_area();
        let drawn = draw(&area).and_then(|()| area.present());
        drawn.map_err(|error| Error::new("chart", format!("can't be drawn: {error}")).with("title", title))?;
    }
    let body = svg.split_once('>').map_or("", |(_, body)| body);
    let body = body.replace(&format!("\"{}\"", css(INK)), "\"currentColor\"");
    let view = format!("0 0 {} {}", size.0 * fine, size.1 * fine);
    Ok(format!("<svg viewBox=\"{view}\" width=\"{}\" role=\"img\" aria-label=\"{}\">{body}", size.0, escape(title)))
}
