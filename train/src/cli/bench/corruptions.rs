//! Times of the corruptions.

use std::time::{Duration, Instant};

use engine::{Error, Result};
use rayon::prelude::*;
use train::data::{self, Dataset, Split};
use train::eval::corruption::{Corruption, Corruptor, Options};

use super::super::common::Common;
use super::super::corrupt::pool;
use super::samples::Samples;

const COUNT: usize = 1000;
const SEVERITY: u8 = 3;

/// Medians of each corruption at severity 3, beside the sum over the 15 standard ones.
pub fn run(common: &Common, filter: Option<&str>, time: Duration) -> Result<()> {
    let wanted = |corruption: &Corruption| filter.is_none_or(|filter| corruption.name().contains(filter));
    let chosen: Vec<Corruption> = Corruption::all().filter(wanted).collect();
    if chosen.is_empty() {
        return Err(Error::new("--filter", "no corruption has such a name"));
    }
    let pool = pool(common.threads)?;
    let open = |size: usize, limit: usize| {
        let options = data::Options { size: Some(size), limit: Some(limit), ..data::Options::default() };
        data::open("synthetic", Split::Test, &options)
    };
    let (small, large) = (open(32, COUNT)?, open(224, 1)?);
    let screen = common.screen();
    let mut rows = vec![["corruption", "1000 of 32 px, ms", "1 of 224 px, ms"].map(str::to_owned).to_vec()];
    let (mut results, mut total) = (Vec::new(), 0.0);
    for corruption in chosen {
        let many = Samples::collect(time, || pool.install(|| measure(corruption, &small)))?;
        let one = Samples::collect(time, || measure(corruption, &large))?;
        let (many_ms, one_ms) = (1e3 * many.quantile(0.5), 1e3 * one.quantile(0.5));
        if Corruption::STANDARD.contains(&corruption) {
            total += many_ms;
        }
        rows.push(vec![corruption.name().to_owned(), format!("{many_ms:.1}"), format!("{one_ms:.2}")]);
        results.push(serde_json::json!({
            "corruption": corruption.name(),
            "severity": SEVERITY,
            "images": COUNT,
            "median_ms": many_ms,
            "p20_ms": 1e3 * many.quantile(0.2),
            "p80_ms": 1e3 * many.quantile(0.8),
            "reps": many.reps(),
            "large_median_ms": one_ms,
            "large_p20_ms": 1e3 * one.quantile(0.2),
            "large_p80_ms": 1e3 * one.quantile(0.8),
            "large_reps": one.reps(),
        }));
    }
    screen.table(&rows)?;
    screen
        .line(format_args!("standard corruptions together: {total:.1} ms on {} threads", pool.current_num_threads()))?;
    screen.json(&serde_json::json!({
        "threads": pool.current_num_threads(),
        "corruptions": results,
        "standard_total_ms": total,
    }))
}

/// Prepares a corruption, corrupts every image, and gives the time of both.
fn measure(corruption: Corruption, data: &Dataset) -> Result<Duration> {
    let start = Instant::now();
    let corruptor = Corruptor::new(corruption, SEVERITY, data.dims(), &Options::default())?;
    let corrupt = |index: usize| {
        let mut image = data.image_u8(index)?.to_vec();
        corruptor.levels(&mut image, data.id(index)?)?;
        Ok(std::hint::black_box(image).len())
    };
    if data.len() == 1 {
        corrupt(0)?;
    } else {
        (0..data.len()).into_par_iter().try_for_each(|index| corrupt(index).map(|_| ()))?;
    }
    Ok(start.elapsed())
}
