//! Offsets for buffers of known lifetime: an allocator on plain integers.

use crate::error::{Error, Result};

/// A buffer to be placed: its size, and the first and last launch that touch it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lifetime {
    /// Size in bytes.
    pub bytes: usize,
    /// First launch.
    pub first: usize,
    /// Last launch, inclusive.
    pub last: usize,
}

/// Offsets for a set of lifetimes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Layout {
    /// One offset per lifetime.
    pub offsets: Vec<usize>,
    /// Size of the arena.
    pub bytes: usize,
    /// Live bytes at the fullest launch: no layout can be smaller.
    pub live_peak: usize,
    /// The launch at which that peak occurs.
    pub peak_launch: usize,
}

/// Places buffers so that two that live at the same launch never overlap. Largest first, each at the lowest free offset:
/// within a few percent of the live peak on the lifetimes of a network.
///
/// # Errors
/// A size overflows.
pub fn place(lifetimes: &[Lifetime], alignment: usize) -> Result<Layout> {
    let overflow = || Error::new("arena", "the buffers of a plan overflow the address space");
    let sizes: Vec<usize> = lifetimes
        .iter()
        .map(|life| life.bytes.max(1).checked_next_multiple_of(alignment).ok_or_else(overflow))
        .collect::<Result<_>>()?;
    let mut order: Vec<usize> = (0..lifetimes.len()).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(sizes[index]), lifetimes[index].first, index));

    let mut offsets = vec![0; lifetimes.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(lifetimes.len()); // sorted by offset
    let mut bytes = 0;
    for index in order {
        let life = lifetimes[index];
        let mut offset = 0_usize;
        for &other in &placed {
            let apart = lifetimes[other].last < life.first || life.last < lifetimes[other].first;
            if apart {
                continue;
            }
            if offset + sizes[index] <= offsets[other] {
                break;
            }
            offset = offset.max(offsets[other] + sizes[other]);
        }
        offsets[index] = offset;
        bytes = bytes.max(offset.checked_add(sizes[index]).ok_or_else(overflow)?);
        let at = placed.partition_point(|&other| offsets[other] <= offset);
        placed.insert(at, index);
    }
    let (live_peak, peak_launch) = live_peak(lifetimes, &sizes);
    Ok(Layout { offsets, bytes, live_peak, peak_launch })
}

fn live_peak(lifetimes: &[Lifetime], sizes: &[usize]) -> (usize, usize) {
    let launches = lifetimes.iter().map(|life| life.last + 1).max().unwrap_or(0);
    let mut born = vec![0_usize; launches];
    let mut dead = vec![0_usize; launches + 1];
    for (life, size) in lifetimes.iter().zip(sizes) {
        born[life.first] += size;
        dead[life.last + 1] += size;
    }
    let (mut live, mut peak) = (0, (0, 0));
    for launch in 0..launches {
        live = live + born[launch] - dead[launch];
        if live > peak.0 {
            peak = (live, launch);
        }
    }
    peak
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lifetimes() -> impl Strategy<Value = Vec<Lifetime>> {
        let one = (0_usize..5000, 0_usize..40, 0_usize..12).prop_map(|(bytes, first, length)| Lifetime {
            bytes,
            first,
            last: first + length,
        });
        prop::collection::vec(one, 0..60)
    }

    proptest! {
        #[test]
        fn buffers_that_live_together_never_overlap(lifetimes in lifetimes()) {
            let layout = place(&lifetimes, 64).unwrap();
            for (i, a) in lifetimes.iter().enumerate() {
                prop_assert_eq!(layout.offsets[i] % 64, 0);
                prop_assert!(layout.offsets[i] + a.bytes <= layout.bytes);
                for (j, b) in lifetimes.iter().enumerate().skip(i + 1) {
                    let apart_in_time = a.last < b.first || b.last < a.first;
                    let apart_in_space = layout.offsets[i] + a.bytes <= layout.offsets[j]
                        || layout.offsets[j] + b.bytes <= layout.offsets[i];
                    prop_assert!(apart_in_time || apart_in_space, "{i} and {j}");
                }
            }
            prop_assert!(layout.live_peak <= layout.bytes);
        }
    }

    #[test]
    fn memory_is_reused_after_a_lifetime_ends() {
        let lives = [(64, 0, 1), (64, 2, 3), (64, 1, 2)].map(|(bytes, first, last)| Lifetime { bytes, first, last });
        let layout = place(&lives, 64).unwrap();
        assert_eq!((layout.bytes, layout.live_peak), (128, 128));
    }
}
