//! Attention on the CPU, over slices. Packed layout: qkv `[b, n, 3, h, d]`, out `[b, n, h, d]`, lse `[b, h, n]`.

use engine::{Error, Result};

use crate::common::math::{self, Float};
use crate::common::parallel;

/// Sizes of a self-attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Batch.
    pub b: usize,
    /// Tokens.
    pub n: usize,
    /// Heads.
    pub h: usize,
    /// Head width.
    pub d: usize,
}

impl Dims {
    fn check(&self, name: &str, len: usize, wanted: usize) -> Result<()> {
        if len == wanted {
            return Ok(());
        }
        Err(Error::new("attention", format!("{name} has the wrong length"))
            .with("b, n, h, d", format!("{}, {}, {}, {}", self.b, self.n, self.h, self.d))
            .with("elements", len)
            .with("wanted", wanted))
    }

    fn check_all(&self, qkv: usize, out: usize, lse: usize) -> Result<()> {
        let Self { b, n, h, d } = *self;
        self.check("qkv", qkv, 3 * b * n * h * d)?;
        self.check("out", out, b * n * h * d)?;
        self.check("lse", lse, b * h * n)
    }
}

/// Elements of scratch for [`forward`] on at most `threads` threads.
pub fn forward_scratch<T: Float>(dims: Dims, threads: usize) -> usize {
    dims.n * threads
}

/// Elements of scratch for [`backward`] on at most `threads` threads.
pub fn backward_scratch<T: Float>(dims: Dims, threads: usize) -> usize {
    2 * dims.n * threads
}

/// out = softmax(q k^T / sqrt(d)) v per head; lse = log of the sum of the exponentials of each row's scores.
///
/// # Errors
/// A slice has the wrong length, or `scratch` is shorter than [`forward_scratch`] says.
pub fn forward<T: Float>(dims: Dims, qkv: &[T], out: &mut [T], lse: &mut [T], scratch: &mut [T]) -> Result<()> {
    dims.check_all(qkv.len(), out.len(), lse.len())?;
    let Dims { n, h, d, .. } = dims;
    let scale = T::ONE / T::from_usize(d).sqrt();
    let parts = (parallel::blocks(out, n * h * d), parallel::blocks(lse, h * n));
    parallel::for_each_block_with(parts, scratch, n, |b, (out, lse), p| {
        let row = |which: usize, t: usize, head: usize| &qkv[(((b * n + t) * 3 + which) * h + head) * d..][..d];
        for head in 0..h {
            for t in 0..n {
                for (s, p) in p.iter_mut().enumerate() {
                    *p = scale * math::dot(row(0, t, head), row(1, s, head));
                }
                let top = math::max(p);
                p.iter_mut().for_each(|p| *p = math::exp(*p - top));
                let total = math::sum(p);
                lse[head * n + t] = top + total.ln();
                let out = &mut out[(t * h + head) * d..][..d];
                out.fill(T::ZERO);
                for (s, &p) in p.iter().enumerate() {
                    for (o, &v) in out.iter_mut().zip(row(2, s, head)) {
                        *o += p / total * v;
                    }
                }
            }
        }
    })
}

/// d_qkv from d_out and what [`forward`] left: P = exp(S - lse), D = rowsum(d_out o out), dS = P o (d_out v^T - D),
/// dq = dS k / sqrt(d), dk = dS^T q / sqrt(d), dv = P^T d_out (Dao 2023, arXiv:2307.08691, algorithm 2).
///
/// # Errors
/// A slice has the wrong length, or `scratch` is shorter than [`backward_scratch`] says.
pub fn backward<T: Float>(
    dims: Dims,
    d_out: &[T],
    qkv: &[T],
    out: &[T],
    lse: &[T],
    d_qkv: &mut [T],
    scratch: &mut [T],
) -> Result<()> {
    dims.check_all(qkv.len(), out.len(), lse.len())?;
    dims.check("d_out", d_out.len(), out.len())?;
    dims.check("d_qkv", d_qkv.len(), qkv.len())?;
    let Dims { n, h, d, .. } = dims;
    let scale = T::ONE / T::from_usize(d).sqrt();
    parallel::for_each_block_with(parallel::blocks(d_qkv, n * 3 * h * d), scratch, 2 * n, |b, d_qkv, _| {
        let at = |which: usize, t: usize, head: usize| ((t * 3 + which) * h + head) * d;
        let row = |which: usize, t: usize, head: usize| &qkv[b * n * 3 * h * d + at(which, t, head)..][..d];
        d_qkv.fill(T::ZERO);
        for head in 0..h {
            for t in 0..n {
                let outer = ((b * n + t) * h + head) * d;
                let (d_row, o_row) = (&d_out[outer..][..d], &out[outer..][..d]);
                let mean = math::dot(d_row, o_row);
                for s in 0..n {
                    let p =
                        math::exp(scale * math::dot(row(0, t, head), row(1, s, head)) - lse[(b * h + head) * n + t]);
                    let ds = scale * p * (math::dot(d_row, row(2, s, head)) - mean);
                    for i in 0..d {
                        d_qkv[at(0, t, head) + i] += ds * row(1, s, head)[i];
                        d_qkv[at(1, s, head) + i] += ds * row(0, t, head)[i];
                        d_qkv[at(2, s, head) + i] += p * d_row[i];
                    }
                }
            }
        }
    })
}
