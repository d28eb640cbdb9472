//! The slices' own tests; [`cases`](super::cases) drive the op's.

use engine::Real;
use proptest::prelude::*;

use super::cpu::{Dims, backward, backward_scratch, forward, forward_scratch};
use super::reference;
use crate::common::math::Float;
use crate::common::parallel;

fn fill<T: Real>(len: usize, scale: f64) -> Vec<T> {
    (0..len).map(|i| T::from_f64(scale * f64::sin(i as f64 * 12.9898 + 0.5))).collect()
}

/// (out, lse, d_qkv), d_qkv added to ones.
fn run<T: Float>(dims: Dims, scale: f64, threads: usize) -> (Vec<T>, Vec<T>, Vec<T>) {
    let Dims { b, n, h, d } = dims;
    let (qkv, d_out) = (fill::<T>(3 * b * n * h * d, scale), fill::<T>(b * n * h * d, 0.7));
    let (mut out, mut lse) = (vec![T::from_f64(f64::NAN); d_out.len()], vec![T::from_f64(f64::NAN); b * h * n]);
    let mut d_qkv = vec![T::ONE; qkv.len()];
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let mut scratch = vec![T::from_f64(f64::NAN); forward_scratch::<T>(dims, threads)];
        forward(dims, &qkv, &mut out, &mut lse, &mut scratch).unwrap();
        let mut scratch = vec![T::from_f64(f64::NAN); backward_scratch::<T>(dims, threads)];
        backward(dims, &d_out, &qkv, &out, &lse, &mut d_qkv, true, &mut scratch).unwrap();
    });
    (out, lse, d_qkv)
}

/// Largest difference from the reference in f64 of out and of d_qkv - 1, and of the naive loops in T.
fn errors<T: Float>(dims: Dims, scale: f64) -> [(f64, f64); 2] {
    let Dims { b, n, h, d } = dims;
    let (qkv, d_out) = (fill::<f64>(3 * b * n * h * d, scale), fill::<f64>(b * n * h * d, 0.7));
    let (want, want_d) = (reference::forward(dims, &qkv), reference::backward(dims, &qkv, &d_out));
    let (qkv, d_out) = (fill::<T>(qkv.len(), scale), fill::<T>(d_out.len(), 0.7));
    let (naive, naive_d) = (reference::forward(dims, &qkv), reference::backward(dims, &qkv, &d_out));
    let (got, _, got_d) = run::<T>(dims, scale, 1);
    let worst = |got: &[T], want: &[f64], add: f64| {
        got.iter().zip(want).fold(0.0, |worst, (got, want)| {
            let error = (got.to_f64() - add - want).abs();
            if error <= worst { worst } else { error }
        })
    };
    [(worst(&got, &want, 0.0), worst(&naive, &want, 0.0)), (worst(&got_d, &want_d, 1.0), worst(&naive_d, &want_d, 0.0))]
}

fn check<T: Float>(dims: Dims, scale: f64) {
    for (got, naive) in errors::<T>(dims, scale) {
        // The reference in f64 is the naive version itself: there only the order of sums differs.
        let bound = if size_of::<T>() == 8 { 1e-13 } else { 2.0 * naive + 8.0 * T::EPSILON.to_f64() };
        assert!(got <= bound, "{dims:?} scale {scale}: off by {got:e}, naive {naive:e}");
    }
    let one = run::<T>(dims, scale, 1);
    let two = run::<T>(dims, scale, 2);
    assert_eq!(one, two, "{dims:?}");
}

#[test]
fn vit_shapes() {
    for (b, n, h, d) in [(1, 1, 1, 1), (2, 65, 3, 64), (1, 197, 2, 64), (1, 131, 1, 7)] {
        check::<f32>(Dims { b, n, h, d }, 1.0);
        check::<f64>(Dims { b, n, h, d }, 1.0);
    }
}

#[test]
fn far_scores_neither_overflow_nor_vanish() {
    check::<f32>(Dims { b: 1, n: 40, h: 1, d: 16 }, 30.0);
}

#[test]
fn log_sum_exp_is_the_logarithm_of_the_sum() {
    let dims = Dims { b: 1, n: 37, h: 2, d: 5 };
    let (qkv, lse) = (fill::<f64>(3 * 37 * 10, 1.0), run::<f64>(dims, 1.0, 1).1);
    for head in 0..2 {
        for i in 0..37 {
            let score = |j: usize| -> f64 {
                (0..5).map(|e| qkv[i * 30 + head * 5 + e] * qkv[j * 30 + 10 + head * 5 + e]).sum::<f64>() / 5_f64.sqrt()
            };
            let want = (0..37).map(|j| score(j).exp()).sum::<f64>().ln();
            assert!((lse[head * 37 + i] - want).abs() < 1e-13);
        }
    }
}

#[test]
fn a_nan_stays_in_its_image_and_head() {
    let dims = Dims { b: 2, n: 20, h: 2, d: 4 };
    let mut qkv = fill::<f32>(3 * 2 * 20 * 8, 1.0);
    qkv[(20 + 3) * 24 + 8 + 4] = f32::NAN; // image 1, token 3, key of head 1
    let (mut out, mut lse) = (vec![0.0; 2 * 20 * 8], vec![0.0; 80]);
    let mut scratch = vec![0.0; forward_scratch::<f32>(dims, parallel::threads())];
    forward(dims, &qkv, &mut out, &mut lse, &mut scratch).unwrap();
    for (i, out) in out.iter().enumerate() {
        assert_eq!(out.is_nan(), i / 160 == 1 && i / 4 % 2 == 1, "element {i}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn matches_the_reference(b in 1_usize..3, n in 1_usize..120, h in 1_usize..4, d in 1_usize..40) {
        check::<f32>(Dims { b, n, h, d }, 1.0);
        check::<f64>(Dims { b, n, h, d }, 1.0);
    }
}
