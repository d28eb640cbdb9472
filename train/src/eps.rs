//! Sizes of perturbations as people write them: `8/255`, `0.03`.

use std::fmt;
use std::str::FromStr;

use engine::{Error, Result};
use serde::{Deserialize, Serialize};

/// A radius or step length in units of [0, 1]. It prints, and lies in files, as `k/255` where it is that, else as written.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Eps {
    text: String,
    value: f64,
}

/// Steps of an 8-bit channel: what eps is usually counted in.
const LEVELS: u32 = 255;

impl Eps {
    /// `numerator / denominator`; a denominator of 0 counts as 1.
    pub fn fraction(numerator: u32, denominator: u32) -> Self {
        let denominator = denominator.max(1);
        Self::canonical(format!("{numerator}/{denominator}"), f64::from(numerator) / f64::from(denominator))
    }

    /// The value.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// Reads a length that may exceed 1, as an L2 radius does.
    ///
    /// # Errors
    /// Not a number or a fraction of numbers, negative, or not finite.
    pub fn length(text: &str) -> Result<Self> {
        let text = text.trim();
        let (above, below) = text.split_once('/').unwrap_or((text, "1"));
        let number = |part: &str| part.trim().parse::<f64>().map_err(|_| refuse(text, "is not a number or a fraction"));
        let value = number(above)? / number(below)?;
        if !value.is_finite() || value.is_sign_negative() && value != 0.0 {
            return Err(refuse(text, "must be finite and not negative"));
        }
        Ok(Self::canonical(text.to_owned(), value))
    }

    fn canonical(text: String, value: f64) -> Self {
        let levels = value * f64::from(LEVELS);
        let whole = (1..LEVELS).find(|&k| (levels - f64::from(k)).abs() < 1e-12 * levels);
        match whole {
            // The value of its own text, so that a file gives back the same bits.
            Some(k) => Self { text: format!("{k}/{LEVELS}"), value: f64::from(k) / f64::from(LEVELS) },
            None => Self { text, value: value.abs() },
        }
    }
}

fn refuse(text: &str, problem: &str) -> Error {
    Error::new("eps", problem).with("given", text).help("images lie in [0, 1]: write 8/255 or 0.03")
}

impl FromStr for Eps {
    type Err = Error;

    /// Reads a size per pixel: 0 to 1.
    fn from_str(text: &str) -> Result<Self> {
        let eps = Self::length(text)?;
        if eps.value <= 1.0 {
            return Ok(eps);
        }
        let error = Error::new("eps", "is larger than the whole range of a pixel, [0, 1]").with("given", text);
        Err(if eps.value <= f64::from(LEVELS) && !text.contains('/') {
            error.help(format!("did you mean {}/{LEVELS}?", text.trim()))
        } else {
            error.help("write 8/255 or 0.03")
        })
    }
}

impl fmt::Display for Eps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// From a file: any length. What it bounds says whether it may exceed 1.
impl TryFrom<String> for Eps {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::length(&text)
    }
}

impl From<Eps> for String {
    fn from(eps: Eps) -> Self {
        eps.text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write_and_prints_levels_where_exact() {
        let cases = [
            ("8/255", 8.0 / 255.0, "8/255"),
            ("0.03", 0.03, "0.03"),
            (" 16 / 510", 8.0 / 255.0, "8/255"),
            ("0.03137254901960784", 8.0 / 255.0, "8/255"),
            ("0.031", 0.031, "0.031"),
            ("0.5/255", 0.5 / 255.0, "0.5/255"),
            ("0", 0.0, "0"),
            ("1", 1.0, "1"),
            ("1e-3", 1e-3, "1e-3"),
        ];
        for (text, value, shown) in cases {
            let eps: Eps = text.parse().unwrap();
            assert_eq!((eps.value(), eps.to_string().as_str()), (value, shown), "{text}");
        }
        assert_eq!(Eps::fraction(8, 255), "8/255".parse().unwrap());
    }

    #[test]
    fn levels_without_their_denominator_are_refused_with_what_was_meant() {
        let refused = |text: &str| text.parse::<Eps>().unwrap_err().to_string();
        assert!(refused("8").contains("did you mean 8/255?"), "{}", refused("8"));
        assert!(refused("4.5").contains("did you mean 4.5/255?"));
        assert!(!refused("300").contains("did you mean") && !refused("3/2").contains("did you mean"));
        for text in ["-1/255", "-0.1", "NaN", "inf", "1/0", "0/0", "", "8/", "eight", "1/2/3"] {
            assert!(refused(text).contains("eps"), "{text}");
        }
        assert_eq!(Eps::length("3").unwrap().value(), 3.0);
    }

    #[test]
    fn lies_in_files_as_text() {
        #[derive(Serialize, Deserialize)]
        struct File {
            eps: Eps,
        }
        let text = toml::to_string(&File { eps: Eps::fraction(2, 255) }).unwrap();
        assert_eq!(text.trim(), "eps = \"2/255\"");
        assert_eq!(toml::from_str::<File>(&text).unwrap().eps, Eps::fraction(2, 255));
        assert!(toml::from_str::<File>("eps = \"-1\"").is_err());
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_as_the_same_bits(value in 0.0_f64..1.0, levels in 0_u32..=255, halves in any::<bool>()) {
            let written = [value.to_string(), format!("{levels}/255"), format!("{levels}{}/255", if halves { ".5" } else { "" })];
            for text in written {
                let Ok(eps) = text.parse::<Eps>() else { continue };
                let again: Eps = eps.to_string().parse().unwrap();
                prop_assert_eq!(eps.value().to_bits(), again.value().to_bits());
                prop_assert_eq!(eps.to_string(), again.to_string());
            }
        }
    }
}
