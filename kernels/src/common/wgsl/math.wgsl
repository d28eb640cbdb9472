// Elementary functions with known errors: those of drivers err by up to 50 units in the last place, and tanh of a large
// argument may be NaN. The same polynomials as on the CPU (kernels/src/common/math.rs).
//
// NaN stays NaN: min, max and clamp drop it on some drivers, and x != x is folded to false, so comparisons select and
// bits decide.

// The float of some bits. A function, because browsers refuse a constant that is infinite or NaN.
fn of_bits(bits: u32) -> f32 {
    return bitcast<f32>(bits);
}

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

fn nan() -> f32 {
    return of_bits(0x7fc00000u);
}

// 2^n for -126 <= n <= 127.
fn power_of_two(n: i32) -> f32 {
    return bitcast<f32>((n + 127) << 23u);
}

// Where e^x is taken from its series without scaling by a power of two.
const EXP_NEAR: f32 = 0.35;

// P of e^x = 1 + x + x^2 P(x), |x| < EXP_NEAR (coefficients: Cephes expf, S. Moshier).
fn exp_series(x: f32) -> f32 {
    var p = 1.9875691500e-4;
    p = fma(p, x, 1.3981999507e-3);
    p = fma(p, x, 8.3334519073e-3);
    p = fma(p, x, 4.1665795894e-2);
    p = fma(p, x, 1.6666665459e-1);
    return fma(p, x, 0.5);
}

// e^x within 2 ulp; 0 below -87.33, where the result would be subnormal.
fn exp_(v: f32) -> f32 {
    var x = select(v, 89.0, v > 89.0);
    x = select(x, -88.0, x < -88.0);
    let n = round(x * 1.442695041);
    // The mask changes nothing (the product has 16 bits), but keeps drivers from adding up the two parts of log 2.
    let high = bitcast<f32>(bitcast<u32>(n * 0.693359375) & 0xfffffff0u);
    let r = fma(n, 2.12194440e-4, x - high);
    let y = fma(exp_series(r), r * r, r) + 1.0;
    // Two factors, since 2^128 is no float while e^88.5 is.
    let whole = i32(n);
    let half = whole >> 1u;
    let result = y * power_of_two(half) * power_of_two(whole - half);
    return select(result, 0.0, v < -87.33);
}

fn exp4(x: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(exp_(x.x), exp_(x.y), exp_(x.z), exp_(x.w));
}

// log(1 + x) for x in [sqrt(1/2) - 1, sqrt(2) - 1] (coefficients: Cephes logf, S. Moshier).
fn log_near_one(x: f32) -> f32 {
    let z = x * x;
    var p = 7.0376836292e-2;
    p = fma(p, x, -1.1514610310e-1);
    p = fma(p, x, 1.1676998740e-1);
    p = fma(p, x, -1.2420140846e-1);
    p = fma(p, x, 1.4249322787e-1);
    p = fma(p, x, -1.6668057665e-1);
    p = fma(p, x, 2.0000714765e-1);
    p = fma(p, x, -2.4999993993e-1);
    p = fma(p, x, 3.3333331174e-1);
    return fma(p * z, x, fma(-0.5, z, x));
}

// log(x) within 2 ulp for positive normal x; -inf at 0 and for subnormals, NaN below and for NaN, +inf at +inf.
fn log_(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    if x < 1.17549435e-38 || bits >= 0x7f800000u {
        let negative = x < 0.0;
        let special = select(x, of_bits(0xff800000u), x < 1.17549435e-38);
        return select(special, of_bits(0x7fc00000u), negative);
    }
    var n = i32(bits >> 23u) - 126;
    var m = bitcast<f32>((bits & 0x007fffffu) | 0x3f000000u); // [1/2, 1)
    if m < 0.70710678 {
        n = n - 1;
        m = m + m;
    }
    let e = f32(n);
    let y = log_near_one(m - 1.0);
    return fma(e, 0.693359375, fma(e, -2.12194440e-4, y));
}

// log(1 + x) within 3 ulp for x >= 0, and above -1 as far as 1 + x is exact.
fn log1p_(x: f32) -> f32 {
    if x > -0.29289322 && x < 0.41421356 {
        return log_near_one(x);
    }
    return log_(1.0 + x);
}

// e^x - 1 within 2.5 ulp for x <= 0 and 7 ulp above: the series where the difference would cancel.
fn expm1_(x: f32) -> f32 {
    if abs(x) < EXP_NEAR {
        return fma(exp_series(x), x * x, x);
    }
    return exp_(x) - 1.0;
}

// The standard normal distribution function and density at x: errors below 2e-7 and 1e-7.
//
// The tail 1 - Phi(z) = e^(-z^2/2) t P(t), t = 1/(1 + z/4), z >= 0; the exponential serves the density as well.
fn normal_both(x: f32) -> vec2<f32> {
    let z = abs(x);
    let e = exp_(-0.5 * z * z);
    let t = 1.0 / fma(z, 0.25, 1.0);
    var p = 0.037980046;
    p = fma(p, t, -0.21706995);
    p = fma(p, t, 0.44095285);
    p = fma(p, t, -0.38895707);
    p = fma(p, t, 0.34389572);
    p = fma(p, t, -0.036357376);
    p = fma(p, t, 0.12446881);
    p = fma(p, t, 0.095038360);
    p = fma(p, t, 0.10004861);
    let q = e * (t * p);
    return vec2<f32>(select(1.0 - q, q, x < 0.0), e * 0.3989422804);
}

// GELU(x) = x Phi(x) and its derivative Phi(x) + x phi(x).
fn gelu_both(x: f32) -> vec2<f32> {
    let n = normal_both(x);
    return vec2<f32>(x * n.x, fma(x, n.y, n.x));
}

// ReLU and its derivative, 0 at 0. NaN stays NaN.
fn relu_both(x: f32) -> vec2<f32> {
    return vec2<f32>(select(x, 0.0, x < 0.0), select(0.0, 1.0, x > 0.0));
}
