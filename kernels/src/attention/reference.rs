//! Plain loops.

use engine::Real;

use super::Dims;

/// Index of element `e` of part `part` (q, k, v) of a token and head in packed qkv.
fn at(sizes: Dims, batch: usize, token: usize, part: usize, head: usize, e: usize) -> usize {
    let Dims { n: tokens, h: heads, d: head_width, .. } = sizes;
    (((batch * tokens + token) * 3 + part) * heads + head) * head_width + e
}

/// Softmax probabilities of one image and head, [n, n].
fn probabilities<T: Real>(sizes: Dims, qkv: &[T], batch: usize, head: usize) -> Vec<T> {
    let Dims { n: tokens, d: head_width, .. } = sizes;
    let scale = T::ONE / T::from_usize(head_width).sqrt();
    let mut p = vec![T::ZERO; tokens * tokens];
    for i in 0..tokens {
        let row = &mut p[i * tokens..(i + 1) * tokens];
        for (j, p) in row.iter_mut().enumerate() {
            for e in 0..head_width {
                *p += qkv[at(sizes, batch, i, 0, head, e)] * qkv[at(sizes, batch, j, 1, head, e)];
            }
            *p *= scale;
        }
        let most = row.iter().fold(T::NEG_INFINITY, |most, &p| Real::max(most, p));
        let mut sum = T::ZERO;
        for p in row.iter_mut() {
            *p = (*p - most).exp();
            sum += *p;
        }
        for p in row.iter_mut() {
            *p = *p / sum;
        }
    }
    p
}

pub(super) fn forward<T: Real>(sizes: Dims, qkv: &[T]) -> Vec<T> {
    let Dims { b: batch, n: tokens, h: heads, d: head_width } = sizes;
    let mut out = vec![T::ZERO; batch * tokens * heads * head_width];
    for b in 0..batch {
        for h in 0..heads {
            let p = probabilities(sizes, qkv, b, h);
            for i in 0..tokens {
                for e in 0..head_width {
                    let mut sum = T::ZERO;
                    for j in 0..tokens {
                        sum += p[i * tokens + j] * qkv[at(sizes, b, j, 2, h, e)];
                    }
                    out[((b * tokens + i) * heads + h) * head_width + e] = sum;
                }
            }
        }
    }
    out
}

pub(super) fn backward<T: Real>(sizes: Dims, qkv: &[T], d_out: &[T]) -> Vec<T> {
    let Dims { b: batch, n: tokens, h: heads, d: head_width } = sizes;
    let scale = T::ONE / T::from_usize(head_width).sqrt();
    let mut d_qkv = vec![T::ZERO; qkv.len()];
    for b in 0..batch {
        for h in 0..heads {
            let p = probabilities(sizes, qkv, b, h);
            for i in 0..tokens {
                let mut dp = vec![T::ZERO; tokens];
                let mut weighted = T::ZERO;
                for j in 0..tokens {
                    for e in 0..head_width {
                        let d_out = d_out[((b * tokens + i) * heads + h) * head_width + e];
                        dp[j] += d_out * qkv[at(sizes, b, j, 2, h, e)];
                        d_qkv[at(sizes, b, j, 2, h, e)] += p[i * tokens + j] * d_out;
                    }
                    weighted += dp[j] * p[i * tokens + j];
                }
                for j in 0..tokens {
                    let ds = p[i * tokens + j] * (dp[j] - weighted) * scale;
                    for e in 0..head_width {
                        d_qkv[at(sizes, b, i, 0, h, e)] += ds * qkv[at(sizes, b, j, 1, h, e)];
                        d_qkv[at(sizes, b, j, 1, h, e)] += ds * qkv[at(sizes, b, i, 0, h, e)];
                    }
                }
            }
        }
    }
    d_qkv
}
