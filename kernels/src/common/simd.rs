//! One loop, three instruction sets.
//!
//! LLVM vectorises plain loops well, but only for the features that it may use, and a binary must start on every
//! x86-64. `simd!` therefore compiles a function's body three times (AVX-512, AVX2 with FMA, the build's baseline) and
//! calls the best one that the machine has. Everything that the body calls must be `#[inline(always)]`, or it is
//! compiled for the baseline: all of [`math`](super::math) is. A closure handed to another function isn't; write the
//! loop in the body.
//!
//! ```ignore
//! simd! {
//!     /// y = GELU(x), elementwise.
//!     fn gelu_block<T: Float>(x: &[T], y: &mut [T]) {
//!         for (y, &x) in y.iter_mut().zip(x) {
//!             *y = math::gelu(x);
//!         }
//!     }
//! }
//!
//! /// The op: blocks of 16,384 elements over the threads, each block through the vectorised loop.
//! fn gelu<T: Float>(x: &[T], y: &mut [T]) {
//!     parallel::for_each_block(parallel::blocks(y, 16_384), |i, y| {
//!         let start = i * 16_384;
//!         gelu_block(&x[start..start + y.len()], y);
//!     });
//! }
//! ```
//!
//! Sums don't vectorise that way, because floating-point addition isn't associative: use [`math::sum`](super::math::sum),
//! [`math::dot`](super::math::dot) or several accumulators by hand.

use std::sync::OnceLock;

/// The instruction sets that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What the build's target guarantees.
    Portable,
    /// AVX2 and FMA (x86-64-v3).
    Avx2,
    /// AVX-512 F, BW, CD, DQ, VL (x86-64-v4).
    Avx512,
}

/// The best level that this machine has, found once.
///
/// The environment variable `VITRUM_SIMD` (`portable`, `avx2`, `avx512`) lowers it, to compare or to debug; it never
/// raises it.
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        let wanted = match std::env::var("VITRUM_SIMD").as_deref() {
            Ok("portable") => Level::Portable,
            Ok("avx2") => Level::Avx2,
            _ => Level::Avx512,
        };
        detected().min(wanted)
    })
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn detected() -> Level {
    let avx2 = std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma");
    let avx512 = std::is_x86_feature_detected!("avx512f")
        && std::is_x86_feature_detected!("avx512bw")
        && std::is_x86_feature_detected!("avx512cd")
        && std::is_x86_feature_detected!("avx512dq")
        && std::is_x86_feature_detected!("avx512vl");
    match (avx2, avx512) {
        (true, true) => Level::Avx512,
        (true, false) => Level::Avx2,
        _ => Level::Portable,
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn detected() -> Level {
    Level::Portable
}

/// Compiles each function for every [`Level`] and dispatches at run time; see the [module](self).
///
/// Type parameters take one bound each; arguments are plain names (no patterns).
macro_rules! simd {
    ($(
        $(#[$meta:meta])*
        $vis:vis fn $name:ident $(<$($generic:ident : $bound:path),+>)? ($($arg:ident : $ty:ty),* $(,)?) $(-> $ret:ty)?
        $body:block
    )+) => {$(
        $(#[$meta])*
        $vis fn $name $(<$($generic: $bound),+>)? ($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body $(<$($generic: $bound),+>)? ($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma")]
            fn avx512 $(<$($generic: $bound),+>)? ($($arg: $ty),*) $(-> $ret)? {
                body $(::<$($generic),+>)? ($($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2 $(<$($generic: $bound),+>)? ($($arg: $ty),*) $(-> $ret)? {
                body $(::<$($generic),+>)? ($($arg),*)
            }

            match $crate::common::simd::level() {
                // SAFETY: `level` found the features that the function is compiled for.
                #[cfg(target_arch = "x86_64")]
                $crate::common::simd::Level::Avx512 => unsafe { avx512 $(::<$($generic),+>)? ($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::common::simd::Level::Avx2 => unsafe { avx2 $(::<$($generic),+>)? ($($arg),*) },
                _ => body $(::<$($generic),+>)? ($($arg),*),
            }
        }
    )+};
}
pub(crate) use simd;
