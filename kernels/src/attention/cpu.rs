//! Attention on the CPU, over slices. Packed layout: qkv `[b, n, 3, h, d]`, out `[b, n, h, d]`, lse `[b, h, n]`.
//!
//! One task per image and head. It packs the head's keys and values once, then takes blocks of 48 to 96 query rows:
//! their scores, probabilities and gradients stay in the thread's scratch (at most 96 x n of each), in the second-level
//! cache for the token counts of a ViT. q, k, v and the gradients are read and written where they lie. Sums run over keys
//! or over rows in ascending order, whatever the number of threads.

use engine::{Error, Result};

use crate::common::gemm::{Mat, Serial, Target};
use crate::common::math::{self, Float};
use crate::common::parallel::{self, Shared};
use crate::common::simd::simd;

/// Most query rows of a block.
const ROWS: usize = 96;
/// Elements that a loop over scores takes at a time.
const WIDTH: usize = 16;

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

/// How a head is cut up.
struct Blocking<T> {
    serial: Serial<T>,
    dims: Dims,
    /// Query rows of a block.
    rows: usize,
    /// Elements between rows of scores.
    stride: usize,
    scale: T,
}

impl<T: Float> Blocking<T> {
    fn new(dims: Dims) -> Self {
        let rows = dims.n.div_ceil(dims.n.div_ceil(ROWS).max(1));
        let stride = dims.n.next_multiple_of(WIDTH);
        // Rows a multiple of 1 KiB apart would share a few sets of the first-level cache when read by columns.
        let stride = if (stride * size_of::<T>()).is_multiple_of(1024) { stride + WIDTH } else { stride };
        Self { serial: Serial::new(), dims, rows, stride, scale: T::ONE / T::from_usize(dims.d).sqrt() }
    }

    /// Elements of a block of scores.
    fn scores(&self) -> usize {
        self.rows * self.stride
    }

    /// Elements of a head's keys or values, packed by token.
    fn by_token(&self, tokens: usize) -> usize {
        self.serial.packed_len(tokens, self.dims.d)
    }

    /// Elements of a head's keys or values, packed by feature.
    fn by_feature(&self) -> usize {
        self.serial.packed_len(self.dims.d, self.dims.n)
    }

    fn forward_len(&self) -> usize {
        self.by_feature() + self.by_token(self.dims.n) + self.scores() + self.rows
    }

    fn backward_len(&self) -> usize {
        2 * self.by_feature() + self.by_token(self.dims.n) + 2 * self.by_token(self.rows) + 2 * self.scores()
    }

    /// Offset of token `row` of q, k or v (`part` 0, 1, 2) of a task in packed qkv.
    fn inner(&self, task: usize, part: usize, row: usize) -> usize {
        let Dims { n, h, d, .. } = self.dims;
        (((task / h * n + row) * 3 + part) * h + task % h) * d
    }

    /// Offset of token `row` of a task in out.
    fn outer(&self, task: usize, row: usize) -> usize {
        let Dims { n, h, d, .. } = self.dims;
        ((task / h * n + row) * h + task % h) * d
    }

    fn inner_stride(&self) -> usize {
        3 * self.outer_stride()
    }

    fn outer_stride(&self) -> usize {
        self.dims.h * self.dims.d
    }

    /// Query, key or value rows from `row` on.
    fn part<'a>(&self, qkv: &'a [T], task: usize, part: usize, row: usize) -> Mat<'a, T> {
        Mat::rows(&qkv[self.inner(task, part, row)..], self.inner_stride())
    }

    /// scores = scale a packed^T for rows of a block; fills the columns up to the last full register.
    fn scores_of(&self, rows: usize, scale: T, a: Mat<'_, T>, packed: &[T], scores: &mut [T]) {
        let target = Target { start: scores.as_mut_ptr(), row_stride: self.stride };
        let sizes = (rows, self.serial.padded(self.dims.n), self.dims.d);
        // SAFETY: a has the block's rows of d elements, packed all of n; scores has as many rows of `stride` elements,
        // and the padded n is at most that.
        unsafe { self.serial.multiply(sizes, scale, a, packed, target, false) };
    }
}

/// Elements of scratch for [`forward`] on at most `threads` threads.
pub fn forward_scratch<T: Float>(dims: Dims, threads: usize) -> usize {
    Blocking::<T>::new(dims).forward_len() * threads
}

/// Elements of scratch for [`backward`] on at most `threads` threads.
pub fn backward_scratch<T: Float>(dims: Dims, threads: usize) -> usize {
    Blocking::<T>::new(dims).backward_len() * threads
}

simd! {
    /// Scores to exponentials less the row's maximum; the log of their sum to `lse`, 1 / sum to `inverse`.
    fn softmax<T: Float>(scores: &mut [T], stride: usize, n: usize, lse: &mut [T], inverse: &mut [T]) {
        for (row, (lse, inverse)) in scores.chunks_exact_mut(stride).zip(lse.iter_mut().zip(inverse)) {
            row[n..].fill(T::NEG_INFINITY);
            let mut top = [T::NEG_INFINITY; WIDTH];
            for scores in row.chunks_exact(WIDTH) {
                for (top, &s) in top.iter_mut().zip(scores) {
                    *top = if s > *top { s } else { *top };
                }
            }
            let top = math::fold(top, |a, b| if b > a { b } else { a });
            let mut sum = [T::ZERO; WIDTH];
            for scores in row.chunks_exact_mut(WIDTH) {
                for (sum, s) in sum.iter_mut().zip(scores) {
                    *s = math::exp(*s - top);
                    *sum += *s;
                }
            }
            let sum = math::fold(sum, |a, b| a + b);
            *lse = top + sum.ln();
            *inverse = T::ONE / sum;
        }
    }

    /// Divides each row of a block of outputs by its sum of exponentials.
    fn divide<T: Float>(out: &mut [T], inverse: T) {
        for out in out {
            *out *= inverse;
        }
    }

    /// scores to probabilities p, d_p to scale p (d_p - mean).
    fn differentiate<T: Float>(scores: &mut [T], d_p: &mut [T], lse: T, mean: T, scale: T) {
        for (scores, d_p) in scores.chunks_exact_mut(WIDTH).zip(d_p.chunks_exact_mut(WIDTH)) {
            for (s, d) in scores.iter_mut().zip(d_p) {
                *s = math::exp(*s - lse);
                *d = *s * (*d - mean) * scale;
            }
        }
    }

    fn dot<T: Float>(x: &[T], y: &[T]) -> T {
        math::dot(x, y)
    }
}

/// out = softmax(q k^T / sqrt(d)) v per head; lse = log of the sum of the exponentials of each row's scores.
///
/// # Errors
/// A slice has the wrong length, or `scratch` is shorter than [`forward_scratch`] says.
pub fn forward<T: Float>(dims: Dims, qkv: &[T], out: &mut [T], lse: &mut [T], scratch: &mut [T]) -> Result<()> {
    dims.check_all(qkv.len(), out.len(), lse.len())?;
    if out.is_empty() {
        return Ok(());
    }
    let blocking = Blocking::new(dims);
    let out = Shared::new(out);
    parallel::for_each_block_with(
        parallel::blocks(lse, dims.n),
        scratch,
        blocking.forward_len(),
        |task, lse, scratch| forward_head(&blocking, task, qkv, out, lse, scratch),
    )
}

fn forward_head<T: Float>(
    blocking: &Blocking<T>,
    task: usize,
    qkv: &[T],
    out: Shared<T>,
    lse: &mut [T],
    scratch: &mut [T],
) {
    let Blocking { serial, dims: Dims { n, d, .. }, rows, stride, scale } = blocking;
    let (keys, rest) = scratch.split_at_mut(blocking.by_feature());
    let (values, rest) = rest.split_at_mut(blocking.by_token(*n));
    let (scores, inverse) = rest.split_at_mut(blocking.scores());
    serial.pack(blocking.part(qkv, task, 1, 0).transposed(), *d, *n, keys);
    serial.pack(blocking.part(qkv, task, 2, 0), *n, *d, values);
    for (block, lse) in lse.chunks_mut(*rows).enumerate() {
        let (row, count) = (block * rows, lse.len());
        let scores = &mut scores[..count * stride];
        blocking.scores_of(count, *scale, blocking.part(qkv, task, 0, row), keys, scores);
        softmax(scores, *stride, *n, lse, inverse);
        let target = Target { start: out.at(blocking.outer(task, row)), row_stride: blocking.outer_stride() };
        // SAFETY: scores and values have the sizes; this task alone writes its head's columns of out.
        unsafe { serial.multiply((count, *d, *n), T::ONE, Mat::rows(scores, *stride), values, target, false) };
        for (i, &inverse) in inverse[..count].iter().enumerate() {
            // SAFETY: as above.
            divide(unsafe { std::slice::from_raw_parts_mut(out.at(blocking.outer(task, row + i)), *d) }, inverse);
        }
    }
}

/// d_qkv from d_out and what [`forward`] left: P = exp(S - lse), D = rowsum(d_out o out), dS = P o (d_out v^T - D),
/// dq = dS k / sqrt(d), dk = dS^T q / sqrt(d), dv = P^T d_out (Dao 2023, arXiv:2307.08691, algorithm 2). Overwrites
/// `d_qkv`, or adds to it if `accumulate`.
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
    accumulate: bool,
    scratch: &mut [T],
) -> Result<()> {
    dims.check_all(qkv.len(), out.len(), lse.len())?;
    dims.check("d_out", d_out.len(), out.len())?;
    dims.check("d_qkv", d_qkv.len(), qkv.len())?;
    if out.is_empty() {
        return Ok(());
    }
    let blocking = Blocking::new(dims);
    let saved = Saved { qkv, out, d_out, lse };
    let d_qkv = Shared::new(d_qkv);
    parallel::for_each_with(dims.b * dims.h, scratch, blocking.backward_len(), |task, scratch| {
        backward_head(&blocking, task, &saved, d_qkv, accumulate, scratch);
    })
}

/// What the backward pass reads.
struct Saved<'a, T> {
    qkv: &'a [T],
    out: &'a [T],
    d_out: &'a [T],
    lse: &'a [T],
}

fn backward_head<T: Float>(
    blocking: &Blocking<T>,
    task: usize,
    saved: &Saved<'_, T>,
    d_qkv: Shared<T>,
    accumulate: bool,
    scratch: &mut [T],
) {
    let Blocking { serial, dims: Dims { n, d, .. }, rows, stride, scale } = blocking;
    let (n, d) = (*n, *d);
    let (keys_by_feature, rest) = scratch.split_at_mut(blocking.by_feature());
    let (values, rest) = rest.split_at_mut(blocking.by_feature());
    let (keys, rest) = rest.split_at_mut(blocking.by_token(n));
    let (queries, rest) = rest.split_at_mut(blocking.by_token(*rows));
    let (d_outs, rest) = rest.split_at_mut(blocking.by_token(*rows));
    let (scores, d_scores) = rest.split_at_mut(blocking.scores());
    serial.pack(blocking.part(saved.qkv, task, 1, 0).transposed(), d, n, keys_by_feature);
    serial.pack(blocking.part(saved.qkv, task, 2, 0).transposed(), d, n, values);
    serial.pack(blocking.part(saved.qkv, task, 1, 0), n, d, keys);
    let gradient = |part: usize, row: usize| Target {
        start: d_qkv.at(blocking.inner(task, part, row)),
        row_stride: blocking.inner_stride(),
    };
    for row in (0..n).step_by(*rows) {
        let count = (*rows).min(n - row);
        let (p, d_s) = (&mut scores[..count * stride], &mut d_scores[..count * stride]);
        let q = blocking.part(saved.qkv, task, 0, row);
        let d_out = Mat::rows(&saved.d_out[blocking.outer(task, row)..], blocking.outer_stride());
        blocking.scores_of(count, *scale, q, keys_by_feature, p);
        blocking.scores_of(count, T::ONE, d_out, values, d_s);
        for i in 0..count {
            let at = blocking.outer(task, row + i);
            let mean = dot(&saved.d_out[at..at + d], &saved.out[at..at + d]);
            let part = i * stride..(i + 1) * stride;
            differentiate(&mut p[part.clone()], &mut d_s[part], saved.lse[task * n + row + i], mean, *scale);
        }
        serial.pack(q, count, d, queries);
        serial.pack(d_out, count, d, d_outs);
        let (p, d_s) = (Mat::rows(&*p, *stride), Mat::rows(&*d_s, *stride));
        let add = accumulate || row > 0;
        // SAFETY: the operands have the sizes; this task alone writes its head's columns of d_qkv.
        unsafe {
            serial.multiply((count, d, n), T::ONE, d_s, keys, gradient(0, row), accumulate);
            serial.multiply((n, d, count), T::ONE, d_s.transposed(), queries, gradient(1, 0), add);
            serial.multiply((n, d, count), T::ONE, p.transposed(), d_outs, gradient(2, 0), add);
        }
    }
}
