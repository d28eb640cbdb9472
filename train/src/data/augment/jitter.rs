//! Colour jitter: brightness, contrast and saturation in any order, as torchvision's `ColorJitter` without hue.

use super::super::pixels::Interpolation;
use super::Draws;
use super::levels::Levels;
use super::operation::Operation;

/// The three operations, in the order in which they are applied; factors are uniform in [1 - strength, 1 + strength].
pub(super) fn operations(strength: f32, draws: Draws) -> [Operation; 3] {
    let strength = f64::from(strength);
    let factor = |element| 1.0 - strength + 2.0 * strength * draws.uniform(element);
    let mut operations =
        [Operation::Brightness(factor(0)), Operation::Contrast(factor(1)), Operation::Color(factor(2))];
    operations.swap(2, draws.below(3, 3) as usize);
    operations.swap(1, draws.below(4, 2) as usize);
    operations
}

pub(super) fn apply(strength: f32, levels: &mut Levels, draws: Draws) {
    for operation in operations(strength, draws) {
        operation.apply(levels, Interpolation::Bilinear, &[]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Key;
    use super::*;

    #[test]
    fn factors_are_uniform_and_orders_even() {
        let mut orders = std::collections::BTreeMap::new();
        let mut factors = [Vec::new(), Vec::new(), Vec::new()];
        for id in 0..6000 {
            let drawn = operations(0.4, Key { seed: 1, epoch: 0, id }.draws("test"));
            let numbered = drawn.map(|operation| match operation {
                Operation::Brightness(factor) => (0_usize, factor),
                Operation::Contrast(factor) => (1, factor),
                Operation::Color(factor) => (2, factor),
                other => panic!("{other:?}"),
            });
            numbered.iter().for_each(|&(which, factor)| factors[which].push(factor));
            *orders.entry(numbered.map(|(which, _)| which)).or_insert(0_i32) += 1;
        }
        // Expected 1000 of each of six orders, deviation 29.
        assert!(orders.len() == 6 && orders.values().all(|count| (count - 1000).abs() < 145), "{orders:?}");
        for factors in factors {
            let mean = factors.iter().sum::<f64>() / 6000.0;
            assert!(factors.len() == 6000 && factors.iter().all(|factor| (0.6..1.4).contains(factor)));
            assert!((mean - 1.0).abs() < 5.0 * 0.8 / (12.0_f64 * 6000.0).sqrt(), "{mean}");
            let (low, high) = factors.iter().fold((2.0_f64, 0.0_f64), |(low, high), &f| (low.min(f), high.max(f)));
            assert!(low < 0.605 && high > 1.395, "{low} {high}");
        }
    }
}
