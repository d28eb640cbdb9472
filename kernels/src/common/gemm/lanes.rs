//! Vector registers of each instruction set, as far as the product kernels need them.

/// A vector type and the tile that suits its register file.
///
/// A tile of `ROWS` x `VECTORS` accumulators, `VECTORS` registers of B and one of A must fit into the registers, and
/// there must be enough accumulators to hide the latency of the multiply-adds (4 cycles on 2 ports: 8).
pub(super) trait Lanes: Copy {
    /// Element.
    type T: Copy;
    /// Register.
    type V: Copy;
    /// Elements of a register.
    const N: usize;
    /// Rows of a full tile; at most 8.
    const ROWS: usize;
    /// Registers across a full tile; at most 3.
    const VECTORS: usize;

    /// # Safety
    /// The CPU has the instructions.
    unsafe fn zero() -> Self::V;
    /// # Safety
    /// The CPU has the instructions; `p` is readable.
    unsafe fn splat(p: *const Self::T) -> Self::V;
    /// # Safety
    /// The CPU has the instructions; `N` elements from `p` on are readable.
    unsafe fn load(p: *const Self::T) -> Self::V;
    /// # Safety
    /// The CPU has the instructions; `N` elements from `p` on are writable.
    unsafe fn store(p: *mut Self::T, v: Self::V);
    /// a b + c.
    ///
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;

    /// Copies the transpose of an `N` x `N` block: to[p][j] = from[j][p].
    ///
    /// # Safety
    /// The CPU has the instructions; both blocks are accessible, with rows `from_row` and `to_row` elements apart.
    #[inline(always)]
    unsafe fn transpose(from: *const Self::T, from_row: usize, to: *mut Self::T, to_row: usize) {
        for p in 0..Self::N {
            for j in 0..Self::N {
                // SAFETY: both offsets lie in the blocks that the caller vouches for.
                unsafe { *to.add(p * to_row + j) = *from.add(j * from_row + p) };
            }
        }
    }
}

/// Four elements in an array: LLVM maps it to whatever the target has. Multiplies and adds apart, since a fused
/// multiply-add without the instruction is a call into the C library.
#[derive(Clone, Copy)]
pub(super) struct Portable<T>(std::marker::PhantomData<T>);

impl<T: engine::Real> Lanes for Portable<T> {
    type T = T;
    type V = [T; 4];
    const N: usize = 4;
    const ROWS: usize = 4;
    const VECTORS: usize = 2;

    #[inline(always)]
    unsafe fn zero() -> [T; 4] {
        [T::ZERO; 4]
    }
    #[inline(always)]
    unsafe fn splat(p: *const T) -> [T; 4] {
        // SAFETY: the caller's.
        [unsafe { *p }; 4]
    }
    #[inline(always)]
    unsafe fn load(p: *const T) -> [T; 4] {
        // SAFETY: the caller's; an array has the alignment of its element.
        unsafe { *p.cast::<[T; 4]>() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut T, v: [T; 4]) {
        // SAFETY: the caller's; an array has the alignment of its element.
        unsafe { *p.cast::<[T; 4]>() = v };
    }
    #[inline(always)]
    unsafe fn fma(a: [T; 4], b: [T; 4], c: [T; 4]) -> [T; 4] {
        [a[0] * b[0] + c[0], a[1] * b[1] + c[1], a[2] * b[2] + c[2], a[3] * b[3] + c[3]]
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    use std::arch::x86_64::*;

    use super::Lanes;

    /// The five operations that differ only in the intrinsic's name.
    macro_rules! lanes {
        ($name:ident, $t:ty, $v:ty, $n:expr, $rows:expr, $zero:ident, $splat:ident, $load:ident, $store:ident, $fma:ident, $($transpose:item)?) => {
            #[derive(Clone, Copy)]
            pub(in super::super) struct $name;

            impl Lanes for $name {
                type T = $t;
                type V = $v;
                const N: usize = $n;
                const ROWS: usize = $rows;
                const VECTORS: usize = 3;

                #[inline(always)]
                unsafe fn zero() -> $v {
                    // SAFETY: the caller has the instructions.
                    unsafe { $zero() }
                }
                #[inline(always)]
                unsafe fn splat(p: *const $t) -> $v {
                    // SAFETY: the caller's.
                    unsafe { $splat(*p) }
                }
                #[inline(always)]
                unsafe fn load(p: *const $t) -> $v {
                    // SAFETY: the caller's.
                    unsafe { $load(p) }
                }
                #[inline(always)]
                unsafe fn store(p: *mut $t, v: $v) {
                    // SAFETY: the caller's.
                    unsafe { $store(p, v) }
                }
                #[inline(always)]
                unsafe fn fma(a: $v, b: $v, c: $v) -> $v {
                    // SAFETY: the caller has the instructions.
                    unsafe { $fma(a, b, c) }
                }
                $($transpose)?
            }
        };
    }

    lanes!(
        Avx512F32,
        f32,
        __m512,
        16,
        8,
        _mm512_setzero_ps,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_fmadd_ps,
        #[inline(always)]
        unsafe fn transpose(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
            // SAFETY: the caller's.
            unsafe { transpose_avx512(from, from_row, to, to_row) }
        }
    );
    lanes!(
        Avx512F64,
        f64,
        __m512d,
        8,
        8,
        _mm512_setzero_pd,
        _mm512_set1_pd,
        _mm512_loadu_pd,
        _mm512_storeu_pd,
        _mm512_fmadd_pd,
    );
    lanes!(
        Avx2F32,
        f32,
        __m256,
        8,
        4,
        _mm256_setzero_ps,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_fmadd_ps,
        #[inline(always)]
        unsafe fn transpose(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
            // SAFETY: the caller's.
            unsafe { transpose_avx2(from, from_row, to, to_row) }
        }
    );
    lanes!(
        Avx2F64,
        f64,
        __m256d,
        4,
        4,
        _mm256_setzero_pd,
        _mm256_set1_pd,
        _mm256_loadu_pd,
        _mm256_storeu_pd,
        _mm256_fmadd_pd,
    );

    /// 16 x 16: pairs, then quads of elements within 128-bit lanes, then the lanes themselves.
    ///
    /// # Safety
    /// As [`Lanes::transpose`].
    #[inline(always)]
    unsafe fn transpose_avx512(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
        // SAFETY: the caller's.
        unsafe {
            let mut r = [_mm512_setzero_ps(); 16];
            for (i, r) in r.iter_mut().enumerate() {
                *r = _mm512_loadu_ps(from.add(i * from_row));
            }
            let mut quads = [_mm512_setzero_ps(); 16]; // quads[4g + i], lane l: column 4l + i of rows 4g..4g + 4
            for g in 0..4 {
                let lo01 = _mm512_castps_pd(_mm512_unpacklo_ps(r[4 * g], r[4 * g + 1]));
                let hi01 = _mm512_castps_pd(_mm512_unpackhi_ps(r[4 * g], r[4 * g + 1]));
                let lo23 = _mm512_castps_pd(_mm512_unpacklo_ps(r[4 * g + 2], r[4 * g + 3]));
                let hi23 = _mm512_castps_pd(_mm512_unpackhi_ps(r[4 * g + 2], r[4 * g + 3]));
                quads[4 * g] = _mm512_castpd_ps(_mm512_unpacklo_pd(lo01, lo23));
                quads[4 * g + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(lo01, lo23));
                quads[4 * g + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(hi01, hi23));
                quads[4 * g + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(hi01, hi23));
            }
            for i in 0..4 {
                let low01 = _mm512_shuffle_f32x4::<0x44>(quads[i], quads[4 + i]);
                let high01 = _mm512_shuffle_f32x4::<0xee>(quads[i], quads[4 + i]);
                let low23 = _mm512_shuffle_f32x4::<0x44>(quads[8 + i], quads[12 + i]);
                let high23 = _mm512_shuffle_f32x4::<0xee>(quads[8 + i], quads[12 + i]);
                _mm512_storeu_ps(to.add(i * to_row), _mm512_shuffle_f32x4::<0x88>(low01, low23));
                _mm512_storeu_ps(to.add((4 + i) * to_row), _mm512_shuffle_f32x4::<0xdd>(low01, low23));
                _mm512_storeu_ps(to.add((8 + i) * to_row), _mm512_shuffle_f32x4::<0x88>(high01, high23));
                _mm512_storeu_ps(to.add((12 + i) * to_row), _mm512_shuffle_f32x4::<0xdd>(high01, high23));
            }
        }
    }

    /// 8 x 8, the same way.
    ///
    /// # Safety
    /// As [`Lanes::transpose`].
    #[inline(always)]
    unsafe fn transpose_avx2(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
        // SAFETY: the caller's.
        unsafe {
            let mut r = [_mm256_setzero_ps(); 8];
            for (i, r) in r.iter_mut().enumerate() {
                *r = _mm256_loadu_ps(from.add(i * from_row));
            }
            let mut quads = [_mm256_setzero_ps(); 8];
            for g in 0..2 {
                let lo01 = _mm256_castps_pd(_mm256_unpacklo_ps(r[4 * g], r[4 * g + 1]));
                let hi01 = _mm256_castps_pd(_mm256_unpackhi_ps(r[4 * g], r[4 * g + 1]));
                let lo23 = _mm256_castps_pd(_mm256_unpacklo_ps(r[4 * g + 2], r[4 * g + 3]));
                let hi23 = _mm256_castps_pd(_mm256_unpackhi_ps(r[4 * g + 2], r[4 * g + 3]));
                quads[4 * g] = _mm256_castpd_ps(_mm256_unpacklo_pd(lo01, lo23));
                quads[4 * g + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(lo01, lo23));
                quads[4 * g + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(hi01, hi23));
                quads[4 * g + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(hi01, hi23));
            }
            for i in 0..4 {
                _mm256_storeu_ps(to.add(i * to_row), _mm256_permute2f128_ps::<0x20>(quads[i], quads[4 + i]));
                _mm256_storeu_ps(to.add((4 + i) * to_row), _mm256_permute2f128_ps::<0x31>(quads[i], quads[4 + i]));
            }
        }
    }
}
