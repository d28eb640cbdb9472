//! Flags of corruptions, which several subcommands share.

use std::path::PathBuf;

use engine::{Error, Result};
use train::eval::corruption::{Corruption, Frost, Options, SEVERITIES};

use super::screen;

/// Which corruptions, how strong.
#[derive(clap::Args)]
#[command(next_help_heading = "Corruptions")]
pub struct CorruptionArgs {
    /// Corruptions, by name or group, with commas between: all, standard (the 15 of ImageNet-C and CIFAR-C), extra (4 more)
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    corruptions: Vec<String>,
    /// Severities: 1-5, 3, or 1,3,5
    #[arg(long, value_name = "LEVELS", default_value = "1-5")]
    severities: String,
    /// Folder with frost1 to frost5 of the published generator, png or jpg; without it `frost` pastes a drawn texture, and is not
    /// comparable
    #[arg(long, value_name = "DIR")]
    frost: Option<PathBuf>,
    /// Leave out the compression to JPEG of quality 85 that ends every corruption of images above 64 pixels, as in ImageNet-C
    #[arg(long)]
    no_final_jpeg: bool,
}

impl CorruptionArgs {
    /// Whether any was named.
    pub fn is_empty(&self) -> bool {
        self.corruptions.is_empty()
    }

    /// Those that were named, each once; else those of `default`.
    pub fn named(&self, default: &str) -> Result<Vec<Corruption>> {
        let default = [default.to_owned()];
        let names = if self.is_empty() { &default[..] } else { &self.corruptions };
        let mut chosen = Vec::new();
        for name in names {
            let group: Vec<Corruption> = match name.trim() {
                "all" => Corruption::all().collect(),
                "standard" => Corruption::STANDARD.to_vec(),
                "extra" => Corruption::EXTRA.to_vec(),
                name if name.bytes().all(|byte| byte.is_ascii_digit()) => {
                    return Err(Error::new("--corruptions", "takes names")
                        .with("given", name)
                        .help("severities are given by --severities: --corruptions standard --severities 1,3,5"));
                }
                name => vec![name.parse().map_err(|error: Error| error.within("--corruptions"))?],
            };
            chosen.extend(group.into_iter().filter(|corruption| !chosen.contains(corruption)).collect::<Vec<_>>());
        }
        Ok(chosen)
    }

    /// The severities, ascending, each once.
    pub fn levels(&self) -> Result<Vec<u8>> {
        let bad = || {
            Error::new("--severities", "severities are whole numbers from 1 to 5")
                .with("given", &self.severities)
                .help("1-5, 3, or 1,3,5")
        };
        let level =
            |text: &str| text.trim().parse::<u8>().ok().filter(|level| SEVERITIES.contains(level)).ok_or_else(bad);
        let mut levels = Vec::new();
        for part in self.severities.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (level(first)?, level(last)?);
            if first > last {
                return Err(bad());
            }
            levels.extend(first..=last);
        }
        levels.sort_unstable();
        levels.dedup();
        Ok(levels)
    }

    /// How they are made. Says so where `frost` is among the `chosen` and there are no photographs.
    pub fn options(&self, chosen: &[Corruption], seed: u64) -> Result<Options> {
        let frost = self.frost.as_deref().map_or(Ok(Frost::Procedural), Frost::open)?;
        if chosen.contains(&Corruption::Frost) && !frost.is_published() {
            screen::note(format_args!(
                "warning: frost is procedural: its figures, and means with it, are NOT comparable with published ones; \
                 --frost DIR takes the photographs of the published generator"
            ));
        }
        Ok(Options { seed, frost, final_jpeg: !self.no_final_jpeg })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(corruptions: &[&str], severities: &str) -> CorruptionArgs {
        let corruptions = corruptions.iter().map(|&name| name.to_owned()).collect();
        CorruptionArgs { corruptions, severities: severities.to_owned(), frost: None, no_final_jpeg: false }
    }

    #[test]
    fn groups_and_names_are_joined_without_repetition() {
        assert_eq!(args(&[], "3").named("extra").unwrap(), Corruption::EXTRA);
        let named = args(&["fog", "standard", "saturate"], "3").named("all").unwrap();
        assert_eq!((named[0], named.len(), named[15]), (Corruption::Fog, 16, Corruption::Saturate));
        assert_eq!(args(&["all"], "3").named("all").unwrap().len(), 19);
        let message = |names: &[&str]| args(names, "3").named("all").unwrap_err().to_string();
        assert!(message(&["3"]).contains("--severities") && message(&["fogg"]).contains("gaussian_noise"));
    }

    #[test]
    fn severities_are_ranges_and_lists() {
        let levels = |text: &str| args(&[], text).levels();
        assert_eq!(levels("1-5").unwrap(), [1, 2, 3, 4, 5]);
        assert_eq!(levels("5,1-2,2").unwrap(), [1, 2, 5]);
        for bad in ["", "0", "6", "4-2", "1-6", "a", "1,,2"] {
            assert!(levels(bad).unwrap_err().to_string().contains("1 to 5"), "{bad}");
        }
    }
}
