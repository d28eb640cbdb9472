use proptest::prelude::*;

use super::drive::run;
use super::*;
use crate::common::simd::{Level, detected};

fn levels() -> Vec<Level> {
    [Level::Portable, Level::Avx2, Level::Avx512].into_iter().filter(|&level| level <= detected()).collect()
}

/// Deterministic values in [-1, 1), different for each seed.
fn fill<T: Float>(len: usize, seed: u64) -> Vec<T> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            T::from_f64((state >> 40) as f64 / (1_u64 << 23) as f64 - 1.0)
        })
        .collect()
}

/// What a test multiplies; strides include padding that must not be read as data.
#[derive(Clone, Copy, Debug)]
struct Case {
    m: usize,
    n: usize,
    k: usize,
    a_transposed: bool,
    b_transposed: bool,
    accumulate: bool,
    sums: bool,
    epilogue: u8,
    padding: usize,
}

struct Outcome<T> {
    c: Vec<T>,
    derivative: Vec<T>,
    sums: Vec<T>,
}

impl Case {
    fn row_len(self, transposed: bool, rows: usize, cols: usize) -> (usize, usize) {
        if transposed { (cols, rows + self.padding) } else { (rows, cols + self.padding) }
    }

    fn operand<'a, T>(self, data: &'a [T], transposed: bool, cols: usize, rows: usize) -> Mat<'a, T> {
        let mat = Mat::rows(data, self.row_len(transposed, rows, cols).1);
        if transposed { mat.transposed() } else { mat }
    }

    fn run<T: Float>(self, multiply: impl FnOnce(Gemm<'_, T>)) -> Outcome<T> {
        let Self { m, n, k, padding, .. } = self;
        let (rows, len) = self.row_len(self.a_transposed, m, k);
        let a = fill::<T>(rows * len, 1);
        let (rows, len) = self.row_len(self.b_transposed, k, n);
        let b = fill::<T>(rows * len, 3);
        let width = n + padding;
        let (mut c, mut derivative, mut sums) = (fill::<T>(m * width, 4), fill::<T>(m * width, 5), fill::<T>(m, 6));
        let (bias, gamma, other, residual) = (fill(n, 7), fill(n, 8), fill(m * width, 9), fill(m * width, 10));
        let mut product = Gemm::new(
            m,
            n,
            k,
            self.operand(&a, self.a_transposed, k, m),
            self.operand(&b, self.b_transposed, n, k),
            MatMut::rows(&mut c, width),
        );
        product.alpha = T::from_f64(0.75);
        product.accumulate = self.accumulate;
        product.accumulate_sums = self.accumulate;
        product.a_row_sums = self.sums.then_some(&mut sums[..]);
        if !self.accumulate {
            let on = |bit: u8| self.epilogue & (1 << bit) != 0;
            product.epilogue = Epilogue {
                bias: on(0).then_some(&bias[..]),
                activation: match self.epilogue >> 5 & 3 {
                    0 | 1 => None,
                    2 => Some(Activation::Relu),
                    _ => Some(Activation::Gelu),
                },
                derivative: (on(1) && self.epilogue >> 6 & 1 == 1).then_some(MatMut::rows(&mut derivative, width)),
                col_factor: on(2).then_some(&gamma[..]),
                factor: on(3).then_some(Mat::rows(&other, width)),
                residual: on(4).then_some(Mat::rows(&residual, width)),
            };
        }
        product.check().unwrap();
        multiply(product);
        Outcome { c, derivative, sums }
    }

    fn fast<T: Float>(self, level: Level, threads: usize) -> Outcome<T> {
        let kernel = T::kernel_at(level);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut scratch = vec![T::from_f64(f64::NAN); scratch_at(&kernel, self, threads)];
        self.run(|product| pool.install(|| run(&kernel, product, &mut scratch)).unwrap())
    }
}

fn scratch_at<T: Float>(kernel: &Kernel<T>, case: Case, threads: usize) -> usize {
    super::drive::scratch(kernel, case.m, case.n, case.k, threads)
}

/// Plain loops.
fn naive<T: Float>(mut product: Gemm<'_, T>) {
    let Gemm { m, n, k, a, b, alpha, accumulate, accumulate_sums, .. } = product;
    let at = |i: usize, p: usize| a.data[i * a.row_stride + p * a.col_stride];
    for i in 0..m {
        for j in 0..n {
            let mut acc = T::ZERO;
            for p in 0..k {
                acc += at(i, p) * b.data[p * b.row_stride + j * b.col_stride];
            }
            let z = naive_finish(&mut product.epilogue, alpha * acc, i, j);
            let c = &mut product.c.data[i * product.c.row_stride + j];
            *c = if accumulate { *c + z } else { z };
        }
        if let Some(sums) = &mut product.a_row_sums {
            let sum: T = (0..k).map(|p| at(i, p)).sum();
            sums[i] = if accumulate_sums { sums[i] + sum } else { sum };
        }
    }
}

fn naive_finish<T: Float>(epilogue: &mut Epilogue<'_, T>, mut z: T, i: usize, j: usize) -> T {
    z += epilogue.bias.map_or(T::ZERO, |bias| bias[j]);
    if let Some(activation) = epilogue.activation {
        if let Some(derivative) = &mut epilogue.derivative {
            derivative.data[i * derivative.row_stride + j] = activation.slope(z);
        }
        z = activation.value(z);
    }
    z = epilogue.col_factor.map_or(z, |f| z * f[j]);
    z = epilogue.factor.map_or(z, |f| z * f.data[i * f.row_stride + j]);
    epilogue.residual.map_or(z, |r| z + r.data[i * r.row_stride + j])
}

fn close<T: Float>(name: &str, got: &[T], want: &[T], bound: f64) {
    assert_eq!(got.len(), want.len());
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let error = (got.to_f64() - want.to_f64()).abs();
        assert!(error <= bound, "{name}[{i}]: {got} instead of {want}, off by {error:e}, bound {bound:e}");
    }
}

fn bits<T: Float>(values: &[T]) -> Vec<u64> {
    values.iter().map(|v| v.to_f64().to_bits()).collect()
}

fn check<T: Float>(case: Case) {
    let want = case.run::<T>(naive);
    // Standard bound for a sum of k products of values below 1, with room for the epilogue.
    let bound = 4.0 * (case.k as f64 + 8.0) * T::EPSILON.to_f64();
    for level in levels() {
        let got = case.fast::<T>(level, 1);
        close("c", &got.c, &want.c, bound);
        // The kink of ReLU turns a rounding error into a whole step.
        if case.epilogue >> 5 & 3 != 2 {
            close("derivative", &got.derivative, &want.derivative, bound);
        }
        close("sums", &got.sums, &want.sums, bound);
        for threads in [2, 3] {
            let other = case.fast::<T>(level, threads);
            assert_eq!(bits(&other.c), bits(&got.c), "{level:?}, {threads} threads");
            assert_eq!(bits(&other.derivative), bits(&got.derivative), "{level:?}, {threads} threads");
            assert_eq!(bits(&other.sums), bits(&got.sums), "{level:?}, {threads} threads");
        }
    }
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![Just(1), Just(65), Just(197), 1_usize..20, 20_usize..130]
}

prop_compose! {
    fn case()(
        m in size(), n in size(), k in prop_oneof![size(), Just(0), 190_usize..600],
        a_transposed: bool, b_transposed: bool, accumulate: bool, sums: bool, epilogue: u8,
        padding in 0_usize..3,
    ) -> Case {
        Case { m, n, k, a_transposed, b_transposed, accumulate, sums, epilogue, padding }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn matches_plain_loops_f32(case in case()) {
        check::<f32>(case);
    }

    #[test]
    fn matches_plain_loops_f64(case in case()) {
        check::<f64>(case);
    }
}

const PLAIN: Case = Case {
    m: 70,
    n: 53,
    k: 200,
    a_transposed: false,
    b_transposed: false,
    accumulate: false,
    sums: false,
    epilogue: 0,
    padding: 0,
};

#[test]
fn packs_b_in_several_rounds() {
    check::<f32>(Case { m: 33, n: 600, k: 2100, a_transposed: true, sums: true, ..PLAIN });
}

#[test]
fn a_nan_reaches_its_row_and_no_other() {
    for level in levels() {
        let kernel = f32::kernel_at(level);
        let (mut a, b, mut c) = (fill::<f32>(70 * 200, 1), fill::<f32>(200 * 53, 2), vec![0.0; 70 * 53]);
        a[7 * 200 + 199] = f32::NAN;
        let mut scratch = vec![0.0; scratch_at(&kernel, PLAIN, 1)];
        let mut product = Gemm::new(70, 53, 200, Mat::rows(&a, 200), Mat::rows(&b, 53), MatMut::rows(&mut c, 53));
        product.epilogue.activation = Some(Activation::Relu);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        pool.install(|| run(&kernel, product, &mut scratch)).unwrap();
        for (i, row) in c.chunks(53).enumerate() {
            assert!(row.iter().all(|c| c.is_nan() == (i == 7)), "{level:?}, row {i}: {row:?}");
        }
    }
}

#[test]
fn short_slices_are_errors() {
    let (a, b) = (vec![0.0_f32; 12], vec![0.0_f32; 12]);
    let mut c = vec![0.0_f32; 9];
    let mut scratch = vec![0.0; gemm_scratch::<f32>(3, 3, 4, 1)];
    let short = Gemm::new(4, 3, 4, Mat::rows(&a, 4), Mat::rows(&b, 3), MatMut::rows(&mut c, 3));
    assert!(gemm(short, &mut scratch).unwrap_err().to_string().contains("a is shorter than its shape"));
    let overlap = Gemm::new(3, 3, 4, Mat::rows(&a, 4), Mat::rows(&b, 3), MatMut::rows(&mut c, 2));
    assert!(gemm(overlap, &mut scratch).unwrap_err().to_string().contains("rows of c overlap"));
    let product = Gemm::new(3, 3, 4, Mat::rows(&a, 4), Mat::rows(&b, 3), MatMut::rows(&mut c, 3));
    assert!(gemm(product, &mut scratch[..5]).unwrap_err().to_string().contains("scratch too small"));
}
