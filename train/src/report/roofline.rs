//! A roofline: what was reached, beside what memory and arithmetic allow.

use engine::{Error, Result};
use plotters::coord::ranged1d::Ranged;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::plots::{Chart, FINE, INK, SERIES, Scale, css, extent, frame, render, stroke, text};

/// Shown pixels of the picture.
const WIDTH: i32 = 960;
const HEIGHT: i32 = 600;

/// Shown pixels from one line of labels to the next, and about as many as a label is long.
const LINE: i32 = 10;
const LONG: i32 = 190;

/// Lines that a label may stand below or above its point; farther away nobody knows whose it is.
const FAR: i32 = 3;

/// Where labels lie, so that none hides another.
#[derive(Default)]
struct Labels(Vec<(i32, i32, bool)>);

impl Labels {
    /// How far below its point a label finds room: beside it, else a little below or above; `None` where there is none.
    fn place(&mut self, x: i32, y: i32, left: bool) -> Option<i32> {
        let is_free = |y: i32| {
            let near = |&&(other_x, other_y, side): &&(i32, i32, bool)| {
                side == left && (other_y - y).abs() < LINE && (other_x - x).abs() < LONG
            };
            !self.0.iter().any(|other| near(&other))
        };
        let down = (0..=FAR).flat_map(|k| [k * LINE, -k * LINE]).find(|&down| is_free(y + down))?;
        self.0.push((x, y + down, left));
        Some(down)
    }
}

/// A measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Written beside it.
    pub label: String,
    /// Its colour, and its line in the legend.
    pub group: String,
    /// FLOP per byte.
    pub intensity: f64,
    /// 1e9 FLOP per second.
    pub gflops: f64,
}

/// Points under the ceilings of a device: `gbs` 1e9 bytes per second, `gflops` 1e9 FLOP per second. Both axes are logarithmic;
/// points without arithmetic, or without bytes, are left out.
///
/// # Errors
/// No point can be drawn.
pub fn roofline(title: &str, gbs: f64, gflops: f64, points: &[Point]) -> Result<Chart> {
    let drawable = |value: f64| value.is_finite() && value > 0.0;
    let points: Vec<&Point> = points.iter().filter(|p| drawable(p.intensity) && drawable(p.gflops)).collect();
    let ridge = gflops / gbs;
    let x = extent(points.iter().map(|point| point.intensity).chain([ridge]).filter(|&x| drawable(x)));
    let y = extent(points.iter().map(|point| point.gflops).chain([gflops]).filter(|&y| drawable(y)));
    let (Some(x), Some(y), true) = (x, y, drawable(ridge) && !points.is_empty()) else {
        return Err(Error::new("chart", "no point can be drawn").with("title", title).with("points", points.len()));
    };
    let scale = |(low, high): (f64, f64)| Scale::decades((low.log10(), high.log10() + 0.02));
    let (x, y) = (scale(x), scale(y));
    let mut groups: Vec<&str> = Vec::new();
    for point in &points {
        if !groups.contains(&point.group.as_str()) {
            groups.push(&point.group);
        }
    }
    let color = |group: &str| {
        let at = groups.iter().position(|other| *other == group).unwrap_or(0);
        SERIES[at % SERIES.len()]
    };
    let roof = |intensity: f64| (intensity.log10(), gflops.min(intensity * gbs).log10());
    let (left, right) = (10_f64.powf(x.range.start), 10_f64.powf(x.range.end));
    // Below the plot's floor nothing is drawn.
    let first = left.max(10_f64.powf(y.range.start) / gbs).min(ridge);
    let grey = INK.mix(0.75);
    let font = ("sans-serif", 9.0 * 1.24 * f64::from(FINE)).into_font();
    let small = |side| TextStyle::from(font.clone()).color(&grey).pos(Pos::new(side, VPos::Center));
    let mut labels = Labels::default();
    let place = |point: &&Point| {
        let (across, up) = (x.map(&point.intensity.log10(), (0, WIDTH)), y.map(&point.gflops.log10(), (0, HEIGHT)));
        let left = across > WIDTH / 2;
        (left, labels.place(across, -up, left))
    };
    let places: Vec<(bool, Option<i32>)> = points.iter().map(place).collect();
    let axis = match places.iter().filter(|(_, down)| down.is_none()).count() {
        0 => "FLOP per byte".to_owned(),
        unnamed => format!("FLOP per byte ({unnamed} points have no room for their names)"),
    };
    let svg = render((WIDTH.unsigned_abs(), HEIGHT.unsigned_abs()), title, |area| {
        let mut plot = frame(area, &x, &y, &axis, "GFLOP/s")?;
        plot.draw_series(LineSeries::new([first, ridge, right.max(ridge)].map(roof), stroke(INK, 2)))?;
        let ceilings = format!("{gflops:.0} GFLOP/s, {gbs:.0} GB/s");
        plot.draw_series([Text::new(ceilings, roof(ridge), text(HPos::Right, VPos::Bottom))])?;
        for (point, &(left, down)) in points.iter().zip(&places) {
            let at = (point.intensity.log10(), point.gflops.log10());
            plot.draw_series([Circle::new(at, 3 * FINE, color(&point.group).filled())])?;
            let Some(down) = down else { continue };
            let (shift, side) = if left { (-5, HPos::Right) } else { (5, HPos::Left) };
            let text = Text::new(point.label.clone(), (shift * FINE, down * FINE), small(side));
            plot.draw_series([EmptyElement::at(at) + text])?;
        }
        for (row, group) in (0..).zip(&groups) {
            let (left, top) = (70 * FINE, (40 + 16 * row) * FINE);
            area.draw(&Circle::new((left, top), 4 * FINE, color(group).filled()))?;
            area.draw(&Text::new((*group).to_owned(), (left + 8 * FINE, top), text(HPos::Left, VPos::Center)))?;
        }
        Ok(())
    })?;
    let legend = groups.iter().map(|group| ((*group).to_owned(), css(color(group)))).collect();
    Ok(Chart { title: title.to_owned(), caption: String::new(), legend, svg })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(label: &str, intensity: f64, gflops: f64) -> Point {
        Point { label: label.to_owned(), group: "gemm".to_owned(), intensity, gflops }
    }

    #[test]
    fn points_stand_under_the_roof_with_their_names() {
        let points = [point("big", 2000.0, 700e3), point("small", 5.0, 9e3), point("a < copy", 0.0, 0.0)];
        let chart = roofline("one run", 4300.0, 780e3, &points).unwrap();
        assert!(chart.svg.contains("big") && chart.svg.contains("780000 GFLOP/s, 4300 GB/s"));
        assert!(!chart.svg.contains("copy") && chart.legend.len() == 1);
    }

    #[test]
    fn labels_of_one_place_stand_below_and_above_one_another() {
        let mut labels = Labels::default();
        let downs: Vec<Option<i32>> = (0..8).map(|_| labels.place(100, 50, false)).collect();
        assert_eq!(downs, [0, 10, -10, 20, -20, 30, -30].map(Some).into_iter().chain([None]).collect::<Vec<_>>());
        assert_eq!((labels.place(500, 50, false), labels.place(100, 50, true)), (Some(0), Some(0)));
    }

    #[test]
    fn a_chart_needs_points_and_ceilings() {
        assert!(roofline("none", 4300.0, 780e3, &[]).is_err());
        assert!(roofline("no roof", 0.0, 780e3, &[point("a", 1.0, 1.0)]).is_err());
    }
}
