//! RandAugment (Cubuk et al., arXiv 1909.13719), as timm draws it.

use std::fmt;
use std::str::FromStr;

use engine::{Error, Result};
use serde::{Deserialize, Serialize};

use super::super::pixels::Interpolation;
use super::Draws;
use super::levels::Levels;
use super::operation::{OPERATIONS, Operation, STRONGEST};

/// So many operations one after the other, each drawn from timm's increasing set with replacement and applied with
/// probability 1/2 at a normally distributed magnitude. Reads and prints as timm's configuration: `rand-m9-mstd0.5-inc1`.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RandAugment {
    magnitude: f64,
    deviation: f64,
    layers: usize,
}

/// Elements of the stream that a layer may draw.
const LAYER: usize = 8;
const MOST_LAYERS: usize = 16;
const DEFAULT_LAYERS: usize = 2;
const FORM: &str = "rand-m9-mstd0.5-inc1: magnitude m (0 to 10), n layers (2 unless given), standard deviation mstd of the \
                    magnitude (0 unless given), and inc1 for the operations that grow with it";

impl RandAugment {
    /// What is done to a sample, in order.
    pub(super) fn operations(self, draws: Draws) -> impl Iterator<Item = (Operation, Interpolation)> {
        (0..self.layers).map(|layer| layer * LAYER).filter(move |&first| draws.uniform(first) < 0.5).map(move |first| {
            let magnitude = self.magnitude + self.deviation * draws.normal(first + 1);
            let (negative, bicubic) = (draws.uniform(first + 2) < 0.5, draws.uniform(first + 3) < 0.5);
            let number = draws.below(first + 4, OPERATIONS);
            let operation = Operation::at(number, magnitude.clamp(0.0, STRONGEST), negative);
            (operation, if bicubic { Interpolation::Bicubic } else { Interpolation::Bilinear })
        })
    }

    pub(super) fn apply(self, levels: &mut Levels, draws: Draws, fill: &[u8]) {
        for (operation, filter) in self.operations(draws) {
            operation.apply(levels, filter, fill);
        }
    }
}

impl FromStr for RandAugment {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |problem: String| Error::new("rand_augment", problem).with("given", text).help(FORM);
        let mut parts = text.split('-');
        if parts.next() != Some("rand") {
            return Err(refuse("a configuration begins with `rand`".into()));
        }
        let (mut magnitude, mut deviation, mut layers, mut increasing) = (None, None, None, None);
        for part in parts {
            let (key, value) = part.split_at(part.find(|c: char| c.is_ascii_digit()).unwrap_or(part.len()));
            let slot = match key {
                "m" => &mut magnitude,
                "mstd" => &mut deviation,
                "n" => &mut layers,
                "inc" => &mut increasing,
                _ => return Err(refuse(format!("`{part}` is not offered"))),
            };
            let number = value.parse::<f64>().map_err(|_| refuse(format!("`{part}` has no number")))?;
            if slot.replace(number).is_some() {
                return Err(refuse(format!("`{key}` is given twice")));
            }
        }
        if increasing != Some(1.0) {
            return Err(refuse("only timm's increasing set of operations is offered: inc1".into()));
        }
        let (magnitude, deviation) = (magnitude.unwrap_or(STRONGEST), deviation.unwrap_or(0.0));
        if magnitude.fract() != 0.0 || magnitude > STRONGEST {
            return Err(refuse("m must be a whole number of 0 to 10".into()));
        }
        if deviation > 100.0 {
            return Err(refuse("mstd above 100, timm's uniform magnitudes, is not offered".into()));
        }
        let layers = match layers {
            None => DEFAULT_LAYERS,
            Some(given) => (1..=MOST_LAYERS)
                .find(|&count| super::levels::real(count) == given)
                .ok_or_else(|| refuse(format!("n must be a whole number of 1 to {MOST_LAYERS}")))?,
        };
        Ok(Self { magnitude, deviation, layers })
    }
}

impl fmt::Display for RandAugment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rand-m{}", self.magnitude)?;
        if self.layers != DEFAULT_LAYERS {
            write!(f, "-n{}", self.layers)?;
        }
        if self.deviation != 0.0 {
            write!(f, "-mstd{}", self.deviation)?;
        }
        f.write_str("-inc1")
    }
}

impl TryFrom<String> for RandAugment {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<RandAugment> for String {
    fn from(settings: RandAugment) -> Self {
        settings.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Key;
    use super::*;

    fn draws(id: u32) -> Draws {
        Key { seed: 11, epoch: 2, id }.draws("test")
    }

    #[test]
    fn configurations_are_read_and_printed_as_timms() {
        for text in ["rand-m9-mstd0.5-inc1", "rand-m7-n3-inc1", "rand-m0-mstd2-inc1"] {
            assert_eq!(text.parse::<RandAugment>().unwrap().to_string(), text);
        }
        let given = "rand-inc1-mstd0.5-n2-m9".parse::<RandAugment>().unwrap();
        assert_eq!(given, RandAugment { magnitude: 9.0, deviation: 0.5, layers: 2 });
        assert_eq!("rand-inc1".parse::<RandAugment>().unwrap().to_string(), "rand-m10-inc1");
        #[derive(Deserialize, Serialize)]
        struct File {
            rand_augment: RandAugment,
        }
        let file: File = toml::from_str("rand_augment = \"rand-m9-mstd0.5-inc1\"").unwrap();
        assert_eq!(toml::to_string(&file).unwrap(), "rand_augment = \"rand-m9-mstd0.5-inc1\"\n");
    }

    #[test]
    fn what_is_not_offered_is_named() {
        for (text, named) in [
            ("augmix-m3", "`rand`"),
            ("rand-m9-mstd0.5", "inc1"),
            ("rand-m9-inc0", "inc1"),
            ("rand-m9-mmax20-inc1", "`mmax20`"),
            ("rand-m9-p0.7-inc1", "`p0.7`"),
            ("rand-m9-t3a-inc1", "`t3a`"),
            ("rand-m9-w0-inc1", "`w0`"),
            ("rand-m11-inc1", "m must"),
            ("rand-m9.5-inc1", "m must"),
            ("rand-m-inc1", "no number"),
            ("rand-m9-m8-inc1", "twice"),
            ("rand-m9-n0-inc1", "n must"),
            ("rand-m9-n2.5-inc1", "n must"),
            ("rand-m9-mstd101-inc1", "mstd above 100"),
        ] {
            let error = text.parse::<RandAugment>().unwrap_err().to_string();
            assert!(error.contains(named) && error.contains(text), "{text}: {error}");
        }
    }

    /// How far a count of so many trials may stray: five deviations.
    fn likely(count: usize, trials: usize, probability: f64) -> bool {
        let (trials, count) = (trials as f64, count as f64);
        (count - trials * probability).abs() < 5.0 * (trials * probability * (1.0 - probability)).sqrt()
    }

    #[test]
    fn operations_are_drawn_evenly_with_replacement_and_half_of_the_time() {
        let settings: RandAugment = "rand-m9-mstd0.5-inc1".parse().unwrap();
        let samples = 20_000;
        let drawn: Vec<Vec<_>> = (0..samples).map(|id| settings.operations(draws(id)).collect()).collect();
        let samples = drawn.len();
        for (length, share) in [(0, 0.25), (1, 0.5), (2, 0.25)] {
            assert!(likely(drawn.iter().filter(|of| of.len() == length).count(), samples, share), "{length}");
        }
        let all: Vec<_> = drawn.iter().flatten().copied().collect();
        for number in 0..OPERATIONS {
            let kind = std::mem::discriminant(&Operation::at(number, 5.0, false));
            let count = all.iter().filter(|(operation, _)| std::mem::discriminant(operation) == kind).count();
            assert!(likely(count, all.len(), 1.0 / f64::from(OPERATIONS)), "{number}: {count} of {}", all.len());
        }
        assert!(likely(all.iter().filter(|(_, filter)| *filter == Interpolation::Bicubic).count(), all.len(), 0.5));
        let pairs: Vec<_> = drawn.iter().filter(|of| of.len() == 2).collect();
        let equal = |of: &&&Vec<(Operation, _)>| std::mem::discriminant(&of[0].0) == std::mem::discriminant(&of[1].0);
        assert!(likely(pairs.iter().filter(equal).count(), pairs.len(), 1.0 / f64::from(OPERATIONS)));
    }

    /// Magnitudes seen in rotations, which are three degrees for each.
    #[test]
    fn magnitudes_are_normal_up_to_the_strongest_and_signs_even() {
        let settings: RandAugment = "rand-m9-mstd0.5-inc1".parse().unwrap();
        let degrees: Vec<f64> = (0..60_000)
            .flat_map(|id| settings.operations(draws(id)))
            .filter_map(|(operation, _)| if let Operation::Rotate(degrees) = operation { Some(degrees) } else { None })
            .collect();
        assert!(likely(degrees.iter().filter(|&&degrees| degrees < 0.0).count(), degrees.len(), 0.5));
        let below = |magnitude: f64| degrees.iter().filter(|degrees| degrees.abs() < 3.0 * magnitude).count();
        // Normal probabilities of less than -2, -1, 0, 1 and 2 deviations.
        for (magnitude, probability) in [(8.0, 0.02275), (8.5, 0.15866), (9.0, 0.5), (9.5, 0.84134), (9.9999, 0.97725)]
        {
            assert!(likely(below(magnitude), degrees.len(), probability), "{magnitude}: {}", below(magnitude));
        }
        assert_eq!(degrees.iter().copied().fold(0.0, |most: f64, of| most.max(of.abs())), 30.0);
    }
}
