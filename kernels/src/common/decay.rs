//! Weight decay by position in a flat vector of parameters.

use std::ops::Range;

use engine::{Error, Real, Result};

use super::gpu::word;

/// Weight decay of each element of a flat vector: one factor for all, or one per range, so that biases and
/// normalisations may be exempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Decay {
    /// (end, factor): each piece begins where the one before it ends; the last one never does.
    pieces: Vec<(usize, f64)>,
}

impl Decay {
    /// The same factor everywhere.
    pub fn uniform(factor: f64) -> Self {
        Self { pieces: vec![(usize::MAX, factor)] }
    }

    /// A factor per range of elements; 0 outside all ranges. `engine::Store::window` gives a variable's range.
    ///
    /// # Errors
    /// Two ranges overlap, or a factor is negative or not finite.
    pub fn ranges(ranges: impl IntoIterator<Item = (Range<usize>, f64)>) -> Result<Self> {
        let mut sorted: Vec<(Range<usize>, f64)> =
            ranges.into_iter().filter(|(range, _)| range.start < range.end).collect();
        sorted.sort_by_key(|(range, _)| range.start);
        let mut pieces = Vec::new();
        let mut end = 0;
        for (range, factor) in sorted {
            if range.start < end {
                return Err(Error::new("weight decay", "two ranges overlap").with("range", format!("{range:?}")));
            }
            if range.start > end {
                pieces.push((range.start, 0.0));
            }
            end = range.end;
            pieces.push((end, factor));
        }
        pieces.push((usize::MAX, 0.0));
        let decay = Self { pieces };
        decay.check()?;
        Ok(decay)
    }

    /// (end, bits of the factor) of each piece, as `decay.wgsl` takes them.
    pub(crate) fn table(&self) -> Vec<[u32; 2]> {
        self.pieces.iter().map(|&(end, factor)| [word(end), f32::from_f64(factor).to_bits()]).collect()
    }

    /// # Errors
    /// A factor is negative or not finite.
    pub(crate) fn check(&self) -> Result<()> {
        match self.pieces.iter().find(|(_, factor)| !(factor.is_finite() && *factor >= 0.0)) {
            Some((_, factor)) => {
                Err(Error::new("weight decay", "the factor must be 0 or positive").with("factor", factor))
            }
            None => Ok(()),
        }
    }

    /// The pieces of elements `start .. start + len`, as ranges that count from `start`, each with its factor.
    pub(crate) fn within(&self, start: usize, len: usize) -> impl Iterator<Item = (Range<usize>, f64)> {
        let first = self.pieces.partition_point(|&(end, _)| end <= start);
        let mut at = 0;
        self.pieces[first..].iter().map_while(move |&(end, factor)| {
            let range = at..(end - start).min(len);
            at = range.end;
            (!range.is_empty()).then_some((range, factor))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_cover_any_window_once(lengths in prop::collection::vec((0_usize..4, 0_usize..5), 0..6),
                                        start in 0_usize..40, len in 0_usize..40) {
            // Gaps and lengths; factor i + 1 for range i.
            let (mut ranges, mut at, mut expected) = (Vec::new(), 0, vec![0.0; 200]);
            for (index, (gap, length)) in lengths.into_iter().enumerate() {
                let (from, factor) = (at + gap, f64::from(u8::try_from(index).unwrap()) + 1.0);
                at = from + length;
                expected[from..at].fill(factor);
                ranges.push((from..at, factor));
            }
            let decay = Decay::ranges(ranges).unwrap();
            let mut seen = Vec::new();
            for (range, factor) in decay.within(start, len) {
                prop_assert_eq!(range.start, seen.len());
                seen.resize(range.end, factor);
            }
            prop_assert_eq!(&seen, &expected[start..start + len]);
        }
    }

    #[test]
    fn refuses_overlaps_and_bad_factors() {
        assert!(Decay::ranges([(0..4, 0.1), (3..5, 0.1)]).is_err());
        assert!(Decay::ranges([(0..4, f64::NAN)]).is_err());
        assert!(Decay::uniform(-0.1).check().is_err());
    }
}
