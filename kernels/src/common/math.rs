//! Elementary functions and reductions that vectorise.
//!
//! Everything here is `#[inline(always)]` scalar code without branches or calls, so that loops inside
//! [`simd!`](super::simd) functions become vector loops. f64 takes the standard library's functions: it is the reference,
//! not the work. All use fused multiply-add, so results agree between instruction sets; on a CPU that has none, it is
//! emulated: right, but slow.

use engine::Real;

/// The floats that kernels compute in: [`Real`] with fast elementary functions and GEMM tiles.
pub trait Float: Real + super::gemm::Tiles {
    /// e^x. f32: within 2 ulp; 0 below -87.33, where the result would be subnormal.
    fn fast_exp(self) -> Self;

    /// tanh(x). f32: within 3 ulp.
    fn fast_tanh(self) -> Self;

    /// The standard normal distribution function and density, (Phi(x), phi(x)).
    /// f32: absolute errors below 1.2e-7 and 6e-8.
    fn normal(self) -> (Self, Self);
}

/// 1 / sqrt(2 pi).
const INV_SQRT_2PI: f64 = 0.398_942_280_401_432_7;

impl Float for f32 {
    #[inline(always)]
    fn fast_exp(self) -> Self {
        // x = n ln 2 + r, |r| <= ln(2)/2; e^x = 2^n e^r, e^r by a polynomial (coefficients: Cephes expf, S. Moshier).
        const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it leaves the nearest integer in the low mantissa bits
        const LN2_HI: f32 = 0.693_359_4;
        const LN2_LO: f32 = -2.121_944_4e-4;
        let x = if self > 89.0 { 89.0 } else { self }; // written so that NaN stays NaN
        let x = if x < -88.0 { -88.0 } else { x };
        let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
        let n = shifted - ROUND;
        let r = n.mul_add(-LN2_LO, n.mul_add(-LN2_HI, x));
        let p = 1.987_569_1e-4_f32;
        let p = p.mul_add(r, 1.398_2e-3);
        let p = p.mul_add(r, 8.333_452e-3);
        let p = p.mul_add(r, 4.166_579_6e-2);
        let p = p.mul_add(r, 1.666_666_5e-1);
        let p = p.mul_add(r, 0.5);
        let y = p.mul_add(r * r, r) + 1.0;
        // Two factors, since 2^128 is no float while e^88.5 is.
        let n = shifted.to_bits().cast_signed().wrapping_sub(ROUND.to_bits().cast_signed());
        let half = n >> 1;
        let y = y * exponent(half) * exponent(n.wrapping_sub(half));
        if self < -87.33 { 0.0 } else { y }
    }

    #[inline(always)]
    fn fast_tanh(self) -> Self {
        // Near 0 an odd polynomial (Cephes tanhf), since 1 - 2/(e^2x + 1) cancels there.
        let a = self.abs();
        let s = self * self;
        let p = -5.704_988_7e-3_f32;
        let p = p.mul_add(s, 2.063_909e-2);
        let p = p.mul_add(s, -5.373_971_6e-2);
        let p = p.mul_add(s, 1.333_144_2e-1);
        let p = p.mul_add(s, -3.333_328e-1);
        let near = (p * s).mul_add(self, self);
        let far = 1.0 - 2.0 / ((a + a).fast_exp() + 1.0);
        if a < 0.625 { near } else { far.copysign(self) }
    }

    #[inline(always)]
    fn normal(self) -> (Self, Self) {
        // The tail Q(z) = 1 - Phi(z) = e^(-z^2/2) t P(t), t = 1/(1 + z/4), z >= 0. P is a Chebyshev fit of degree 8 on
        // z in [0, 6] by mpmath; max(1, z) |error of Q| < 3e-10. The exponential serves the density as well.
        let z = self.abs();
        let e = (-0.5 * z * z).fast_exp();
        let t = 1.0 / z.mul_add(0.25, 1.0);
        let p = 0.037_980_046_f32;
        let p = p.mul_add(t, -0.217_069_95);
        let p = p.mul_add(t, 0.440_952_85);
        let p = p.mul_add(t, -0.388_957_07);
        let p = p.mul_add(t, 0.343_895_72);
        let p = p.mul_add(t, -0.036_357_376);
        let p = p.mul_add(t, 0.124_468_81);
        let p = p.mul_add(t, 0.095_038_36);
        let p = p.mul_add(t, 0.100_048_61);
        let q = e * (t * p);
        let cdf = if self < 0.0 { q } else { 1.0 - q };
        #[expect(clippy::cast_possible_truncation, reason = "a constant, rounded to f32")]
        (cdf, e * INV_SQRT_2PI as Self)
    }
}

/// 2^n for -126 <= n <= 127.
#[inline(always)]
fn exponent(n: i32) -> f32 {
    f32::from_bits(n.wrapping_add(127).wrapping_shl(23).cast_unsigned())
}

impl Float for f64 {
    #[inline(always)]
    fn fast_exp(self) -> Self {
        Self::exp(self)
    }

    #[inline(always)]
    fn fast_tanh(self) -> Self {
        Self::tanh(self)
    }

    #[inline(always)]
    fn normal(self) -> (Self, Self) {
        let cdf = 0.5 * (1.0 + Real::erf(self * std::f64::consts::FRAC_1_SQRT_2));
        (cdf, (-0.5 * self * self).exp() * INV_SQRT_2PI)
    }
}

/// e^x; see [`Float::fast_exp`].
#[inline(always)]
pub fn exp<T: Float>(x: T) -> T {
    x.fast_exp()
}

/// tanh(x); see [`Float::fast_tanh`].
#[inline(always)]
pub fn tanh<T: Float>(x: T) -> T {
    x.fast_tanh()
}

/// GELU(x) = x Phi(x), the exact one with erf (Hendrycks and Gimpel 2016, arXiv:1606.08415).
#[inline(always)]
pub fn gelu<T: Float>(x: T) -> T {
    x * x.normal().0
}

/// GELU'(x) = Phi(x) + x phi(x).
#[inline(always)]
pub fn gelu_derivative<T: Float>(x: T) -> T {
    let (cdf, pdf) = x.normal();
    x.mul_add(pdf, cdf)
}

/// (GELU(x), GELU'(x)): the derivative is nearly free beside the value.
#[inline(always)]
pub fn gelu_both<T: Float>(x: T) -> (T, T) {
    let (cdf, pdf) = x.normal();
    (x * cdf, x.mul_add(pdf, cdf))
}

/// Accumulators of a reduction: enough to hide the latency of the adds of two 512-bit ports.
const LANES: usize = 64;

/// Folds a power of two of lanes pairwise: 0 with N/2, 1 with N/2 + 1, ..., then 0 with N/4, ...
#[inline(always)]
pub(crate) fn fold<T: Copy, const N: usize>(mut lanes: [T; N], combine: impl Fn(T, T) -> T) -> T {
    let mut half = N / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = combine(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// Sum in a fixed order: element i goes to lane i mod 64, lanes are added pairwise. The error grows with n/64, not n.
#[inline(always)]
pub fn sum<T: Float>(x: &[T]) -> T {
    let mut lanes = [T::ZERO; LANES];
    let mut blocks = x.chunks_exact(LANES);
    for block in &mut blocks {
        for (lane, &x) in lanes.iter_mut().zip(block) {
            *lane += x;
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(blocks.remainder()) {
        *lane += x;
    }
    fold(lanes, |a, b| a + b)
}

/// Inner product in the order of [`sum`], over the shorter length.
#[inline(always)]
pub fn dot<T: Float>(x: &[T], y: &[T]) -> T {
    let n = x.len().min(y.len());
    let mut lanes = [T::ZERO; LANES];
    let (mut xs, mut ys) = (x[..n].chunks_exact(LANES), y[..n].chunks_exact(LANES));
    for (x, y) in (&mut xs).zip(&mut ys) {
        for (lane, (&x, &y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            *lane = x.mul_add(y, *lane);
        }
    }
    for (lane, (&x, &y)) in lanes.iter_mut().zip(xs.remainder().iter().zip(ys.remainder())) {
        *lane = x.mul_add(y, *lane);
    }
    fold(lanes, |a, b| a + b)
}

/// Largest element; negative infinity for none. NaNs are passed over (`exp(NaN - max)` brings them back in a softmax).
#[inline(always)]
pub fn max<T: Float>(x: &[T]) -> T {
    let larger = |a: T, b: T| if b > a { b } else { a };
    let mut lanes = [T::NEG_INFINITY; LANES];
    let mut blocks = x.chunks_exact(LANES);
    for block in &mut blocks {
        for (lane, &x) in lanes.iter_mut().zip(block) {
            *lane = larger(*lane, x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(blocks.remainder()) {
        *lane = larger(*lane, x);
    }
    fold(lanes, larger)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Distance in units of the last place of the f32 nearest to `want`.
    fn ulps(got: f32, want: f64) -> f64 {
        let exponent = want.abs().max(f64::from(f32::MIN_POSITIVE)).log2().floor();
        (f64::from(got) - want).abs() / (exponent - 23.0).exp2()
    }

    /// Every 997th float of a range, both ends included.
    fn floats(from: f32, to: f32) -> impl Iterator<Item = f32> {
        let ordered = |x: f32| {
            let bits = i64::from(x.to_bits() & 0x7fff_ffff);
            if x.is_sign_negative() { -bits } else { bits }
        };
        let back = |i: i64| {
            let magnitude = f32::from_bits(u32::try_from(i.abs()).unwrap());
            if i < 0 { -magnitude } else { magnitude }
        };
        (ordered(from)..ordered(to)).step_by(997).map(back).chain([to])
    }

    #[test]
    fn exp_is_within_two_ulps() {
        let worst = floats(-87.3, 88.72).map(|x| ulps(exp(x), f64::from(x).exp())).fold(0.0, f64::max);
        assert!(worst <= 2.0, "{worst} ulp");
    }

    #[test]
    fn exp_at_the_edges() {
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-88.0_f32), 0.0);
        assert_eq!(exp(0.0_f32), 1.0);
        assert_eq!(exp(-0.0_f32), 1.0);
        assert_eq!(exp(88.8_f32), f32::INFINITY);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn tanh_is_within_three_ulps() {
        let worst = floats(-20.0, 20.0).map(|x| ulps(tanh(x), f64::from(x).tanh())).fold(0.0, f64::max);
        assert!(worst <= 3.0, "{worst} ulp");
        assert_eq!((tanh(f32::INFINITY), tanh(f32::NEG_INFINITY)), (1.0, -1.0));
        assert!(tanh(f32::NAN).is_nan());
    }

    /// Largest absolute error of a function of f32 against one of f64.
    fn worst(got: impl Fn(f32) -> f32, want: impl Fn(f64) -> f64) -> f64 {
        floats(-12.0, 12.0).map(|x| (f64::from(got(x)) - want(f64::from(x))).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn gelu_is_no_worse_than_twice_the_naive_one() {
        use crate::activation::Activation::Gelu;
        let naive = worst(|x| Gelu.value(x), |x| Gelu.value(x));
        let ours = worst(gelu, |x| Gelu.value(x));
        assert!(ours <= 2.0 * naive, "{ours:e}, naive {naive:e}");
        let naive = worst(|x| Gelu.slope(x), |x| Gelu.slope(x));
        let ours = worst(gelu_derivative, |x| Gelu.slope(x));
        assert!(ours <= 2.0 * naive, "derivative {ours:e}, naive {naive:e}");
        assert!(gelu(f32::NAN).is_nan() && gelu_derivative(f32::NAN).is_nan());
        assert_eq!(gelu_both(0.3_f32), (gelu(0.3), gelu_derivative(0.3)));
    }

    #[test]
    fn tails_of_gelu_keep_their_relative_accuracy() {
        // The naive formula cancels to 0 below -5.6; Phi(-6) = 9.8659e-10 (tables).
        assert!((gelu(-6.0_f32) / -5.919_526e-9 - 1.0).abs() < 1e-5, "{}", gelu(-6.0_f32));
    }

    proptest! {
        #[test]
        fn reductions_match_plain_ones(x in prop::collection::vec(-1.0_f64..1.0, 0..300)) {
            let y: Vec<f64> = x.iter().map(|x| 0.5 - x * x).collect();
            prop_assert!((sum(&x) - x.iter().sum::<f64>()).abs() < 1e-12);
            prop_assert!((dot(&x, &y) - x.iter().zip(&y).map(|(x, y)| x * y).sum::<f64>()).abs() < 1e-12);
            prop_assert_eq!(max(&x), x.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        }
    }

    #[test]
    fn reductions_carry_or_skip_nan() {
        let x = [1.0_f32, f32::NAN, 3.0];
        assert!(sum(&x).is_nan() && dot(&x, &x).is_nan());
        assert_eq!(max(&x), 3.0);
    }
}
