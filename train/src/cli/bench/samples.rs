//! Repeated measurements of one thing.

use std::time::{Duration, Instant};

use engine::{Error, Result};

/// Measured times in seconds, ascending.
pub struct Samples(Vec<f64>);

/// Most repetitions of something short.
const MOST_REPS: usize = 2000;

impl Samples {
    /// Calls `measure`, which gives its own time, once to warm up and then until `time` has passed, at least five times.
    pub fn collect(time: Duration, measure: impl FnMut() -> Result<Duration>) -> Result<Self> {
        Self::collect_after(Duration::ZERO, time, measure)
    }

    /// As [`Samples::collect`], warming up for `warm_up`.
    pub fn collect_after(
        warm_up: Duration,
        time: Duration,
        mut measure: impl FnMut() -> Result<Duration>,
    ) -> Result<Self> {
        let start = Instant::now();
        measure()?;
        while start.elapsed() < warm_up {
            measure()?;
        }
        let start = Instant::now();
        let mut seconds = Vec::new();
        while seconds.len() < 5 || (start.elapsed() < time && seconds.len() < MOST_REPS) {
            seconds.push(measure()?.as_secs_f64());
        }
        Self::of(seconds)
    }

    /// Statistics of given times in seconds.
    pub fn of(mut seconds: Vec<f64>) -> Result<Self> {
        seconds.sort_by(f64::total_cmp);
        if seconds.is_empty() { Err(Error::new("bench", "nothing was measured")) } else { Ok(Self(seconds)) }
    }

    /// Seconds below which the share `q` of the times lies, interpolated.
    pub fn quantile(&self, q: f64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a small count")]
        let at = q * (self.0.len() - 1) as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "floor of a value in range")]
        let below = at.floor() as usize;
        let get = |index: usize| self.0.get(index).or(self.0.last()).copied().unwrap_or(f64::NAN);
        get(below) + (at - at.floor()) * (get(below + 1) - get(below))
    }

    /// Number of repetitions.
    pub fn reps(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_between_sorted_times() {
        let samples = Samples::of(vec![4.0, 1.0, 2.0, 3.0, 5.0]).unwrap();
        assert_eq!(
            [0.0, 0.2, 0.5, 0.8, 1.0].map(|q| (samples.quantile(q) * 10.0).round()),
            [10.0, 18.0, 30.0, 42.0, 50.0]
        );
        assert_eq!(Samples::of(vec![7.0]).unwrap().quantile(0.8), 7.0);
        assert!(Samples::of(Vec::new()).is_err());
    }

    #[test]
    fn the_first_measurement_only_warms_up() {
        let mut calls = 0_u32;
        let samples = Samples::collect(Duration::ZERO, || {
            calls += 1;
            Ok(Duration::from_secs(if calls == 1 { 99 } else { 1 }))
        });
        assert_eq!((samples.unwrap().quantile(1.0), calls), (1.0, 6));
    }
}
