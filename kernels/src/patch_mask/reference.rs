//! Plain loops.

use engine::Real;
use engine::rng::Philox;

pub(super) fn mask<T: Real>(delta: &mut [T], [b, c, h, w]: [usize; 4], patch: usize, philox: Philox, masked: usize) {
    let columns = w / patch;
    let words: Vec<u32> = (0..h / patch * columns).map(|p| philox.bits(0, p)).collect();
    let rank = |p: usize| words.iter().enumerate().filter(|&(i, &word)| (word, i) < (words[p], p)).count();
    for plane in 0..b * c {
        for y in 0..h {
            for x in 0..w {
                if rank(y / patch * columns + x / patch) < masked {
                    delta[(plane * h + y) * w + x] = T::ZERO;
                }
            }
        }
    }
}
