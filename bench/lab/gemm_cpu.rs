//! The matrix product of Vitrum beside the crates `gemm` (x86-v4) and `faer`, on the products of a ViT-Ti training step.
//!
//! `cargo run --release -p vitrum-bench --example gemm_cpu [-- THREADS [SECONDS [FILTER]]]` prints GFLOP/s (best of
//! interleaved rounds: the machine may be shared) and the ratio of ours to the better of the two. `peak` is a loop of
//! register-only multiply-adds on as many threads.

use std::time::{Duration, Instant};

use kernels::common::gemm::{Gemm, Mat, MatMut, gemm as ours, gemm_scratch};

/// y = x W^T, dx = dy W, dW = dy^T x.
#[derive(Clone, Copy, Debug)]
enum Pass {
    Nt,
    Nn,
    Tn,
}

/// A product in row-major operands: sizes and strides of A and B.
struct Product {
    m: usize,
    n: usize,
    k: usize,
    a: (usize, usize),
    b: (usize, usize),
}

impl Product {
    /// The pass of a linear layer of `rows` tokens, `out` and `inner` features.
    fn new(pass: Pass, rows: usize, out: usize, inner: usize) -> Self {
        match pass {
            Pass::Nt => Self { m: rows, n: out, k: inner, a: (inner, 1), b: (1, inner) },
            Pass::Nn => Self { m: rows, n: inner, k: out, a: (out, 1), b: (inner, 1) },
            Pass::Tn => Self { m: out, n: inner, k: rows, a: (1, out), b: (inner, 1) },
        }
    }

    fn flops(&self) -> f64 {
        2.0 * self.m as f64 * self.n as f64 * self.k as f64
    }
}

struct Operands {
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
    scratch: Vec<f32>,
}

fn run_ours(p: &Product, o: &mut Operands) {
    let a = Mat { data: &o.a, row_stride: p.a.0, col_stride: p.a.1 };
    let b = Mat { data: &o.b, row_stride: p.b.0, col_stride: p.b.1 };
    let product = Gemm::new(p.m, p.n, p.k, a, b, MatMut::rows(&mut o.c, p.n));
    if let Err(error) = ours(product, &mut o.scratch) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn run_gemm(p: &Product, o: &mut Operands, threads: usize) {
    let parallelism = if threads == 1 { gemm::Parallelism::None } else { gemm::Parallelism::Rayon(threads) };
    let stride = |s: usize| isize::try_from(s).unwrap_or(isize::MAX);
    // SAFETY: the operands have the sizes and strides of the product.
    unsafe {
        gemm::gemm(
            p.m,
            p.n,
            p.k,
            o.c.as_mut_ptr(),
            1,
            stride(p.n),
            false,
            o.a.as_ptr(),
            stride(p.a.1),
            stride(p.a.0),
            o.b.as_ptr(),
            stride(p.b.1),
            stride(p.b.0),
            0.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

fn run_faer(p: &Product, o: &mut Operands, threads: usize) {
    let par = if threads == 1 { faer::Par::Seq } else { faer::Par::rayon(threads) };
    let stride = |s: usize| isize::try_from(s).unwrap_or(isize::MAX);
    // SAFETY: the operands have the sizes and strides of the product.
    unsafe {
        let c = faer::MatMut::from_raw_parts_mut(o.c.as_mut_ptr(), p.m, p.n, stride(p.n), 1);
        let a = faer::MatRef::from_raw_parts(o.a.as_ptr(), p.m, p.k, stride(p.a.0), stride(p.a.1));
        let b = faer::MatRef::from_raw_parts(o.b.as_ptr(), p.k, p.n, stride(p.b.0), stride(p.b.1));
        faer::linalg::matmul::matmul(c, faer::Accum::Replace, a, b, 1.0, par);
    }
}

/// Best seconds of each contestant over interleaved rounds.
fn race(seconds: f64, contestants: &mut [&mut dyn FnMut()]) -> Vec<f64> {
    let mut best = vec![f64::INFINITY; contestants.len()];
    contestants.iter_mut().for_each(|run| run());
    let end = Instant::now() + Duration::from_secs_f64(seconds * contestants.len() as f64);
    while Instant::now() < end {
        for (best, run) in best.iter_mut().zip(contestants.iter_mut()) {
            let start = Instant::now();
            run();
            *best = best.min(start.elapsed().as_secs_f64());
        }
    }
    best
}

/// GFLOP/s of multiply-adds that touch no memory, per thread.
#[cfg(target_arch = "x86_64")]
fn peak() -> Option<f64> {
    use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_reduce_add_ps, _mm512_set1_ps};
    #[target_feature(enable = "avx512f")]
    fn chains(rounds: usize) -> f32 {
        let (x, mut acc) = (_mm512_set1_ps(std::hint::black_box(0.999)), [_mm512_set1_ps(1.0); 24]);
        for _ in 0..rounds {
            for acc in &mut acc {
                *acc = _mm512_fmadd_ps(*acc, x, x);
            }
        }
        acc.iter().map(|&acc| _mm512_reduce_add_ps(acc)).sum()
    }
    if !std::is_x86_feature_detected!("avx512f") {
        return None;
    }
    let rounds = 1 << 16;
    let best = race(
        0.2,
        &mut [&mut || {
            // SAFETY: the feature was detected.
            std::hint::black_box(unsafe { chains(rounds) });
        }],
    );
    Some(rounds as f64 * 24.0 * 32.0 / best[0] / 1e9)
}

#[cfg(not(target_arch = "x86_64"))]
fn peak() -> Option<f64> {
    None
}

fn compare(name: &str, p: &Product, threads: usize, seconds: f64) -> f64 {
    let fill = |len: usize| (0..len).map(|i| (i % 1013) as f32 / 1013.0 - 0.5).collect::<Vec<_>>();
    let operands = || Operands {
        a: fill(p.m * p.k),
        b: fill(p.k * p.n),
        c: vec![0.0; p.m * p.n],
        scratch: vec![0.0; gemm_scratch::<f32>(p.m, p.n, p.k, threads)],
    };
    let (mut x, mut y, mut z) = (operands(), operands(), operands());
    let best = race(
        seconds,
        &mut [&mut || run_ours(p, &mut x), &mut || run_gemm(p, &mut y, threads), &mut || run_faer(p, &mut z, threads)],
    );
    let error = x.c.iter().zip(&y.c).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let rate: Vec<f64> = best.iter().map(|t| p.flops() / t / 1e9).collect();
    let ratio = rate[0] / rate[1].max(rate[2]);
    println!("{name:<22} {:8.1} {:8.1} {:8.1}   {ratio:5.2}   {error:.1e}", rate[0], rate[1], rate[2]);
    ratio
}

fn main() {
    let mut args = std::env::args().skip(1);
    let threads: usize = args.next().and_then(|a| a.parse().ok()).unwrap_or(1);
    let seconds: f64 = args.next().and_then(|a| a.parse().ok()).unwrap_or(0.5);
    let filter = args.next().unwrap_or_default();
    let pool = match rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
        Ok(pool) => pool,
        Err(error) => {
            eprintln!("can't start {threads} threads: {error}");
            std::process::exit(2);
        }
    };
    if let Some(peak) = peak() {
        println!("{threads} threads; peak {:.0} GFLOP/s", peak * threads as f64);
    }
    println!("{:<22} {:>8} {:>8} {:>8}   {:>5}   diff", "rows x out x inner", "ours", "gemm", "faer", "ratio");
    let mut log = 0.0;
    let mut count = 0.0;
    for rows in [4160, 1576] {
        for (out, inner) in [(576, 192), (192, 192), (768, 192), (192, 768)] {
            for pass in [Pass::Nt, Pass::Nn, Pass::Tn] {
                let name = format!("{rows}x{out}x{inner} {}", format!("{pass:?}").to_uppercase());
                if name.contains(&filter) {
                    let product = Product::new(pass, rows, out, inner);
                    log += pool.install(|| compare(&name, &product, threads, seconds)).ln();
                    count += 1.0;
                }
            }
        }
    }
    if count > 0.0 {
        println!("geometric mean of the ratios {:.3}", f64::exp(log / count));
    }
}
