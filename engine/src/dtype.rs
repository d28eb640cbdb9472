//! Element types, and the trait that CPU loops are generic over.

use std::fmt;

use half::{bf16, f16};

/// Element type of a tensor: a run-time tag. Generics live only inside CPU loops.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// 32-bit float: the default of training and attacks.
    F32,
    /// bfloat16: storage on GPUs.
    Bf16,
    /// IEEE half: storage on GPUs.
    F16,
    /// 64-bit float: references, gradient checks, nullspaces.
    F64,
    /// Bytes: images as they lie in files.
    U8,
    /// Signed 32-bit integers: labels.
    I32,
    /// Unsigned 32-bit integers: sample ids and the random generator's state.
    U32,
}

impl DType {
    /// Size of one element in bytes.
    pub const fn size(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::Bf16 | Self::F16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 => 8,
        }
    }

    /// Whether it holds real numbers.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64 | Self::Bf16 | Self::F16)
    }

    /// The type in which statistics of such values are kept: sums, logarithms, means lose too much in 16 bits.
    pub const fn wide(self) -> Self {
        match self {
            Self::Bf16 | Self::F16 => Self::F32,
            other => other,
        }
    }

    /// Whether CPU kernels compute in it.
    pub const fn is_real(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::F64 => "f64",
            Self::U8 => "u8",
            Self::I32 => "i32",
            Self::U32 => "u32",
        })
    }
}

impl fmt::Debug for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A plain type that fills tensors.
pub trait Element: bytemuck::Pod + Default + PartialEq + fmt::Debug + Send + Sync {
    /// Its tag.
    const DTYPE: DType;
}

impl Element for f32 {
    const DTYPE: DType = DType::F32;
}
impl Element for f64 {
    const DTYPE: DType = DType::F64;
}
impl Element for bf16 {
    const DTYPE: DType = DType::Bf16;
}
impl Element for f16 {
    const DTYPE: DType = DType::F16;
}
impl Element for u8 {
    const DTYPE: DType = DType::U8;
}
impl Element for i32 {
    const DTYPE: DType = DType::I32;
}
impl Element for u32 {
    const DTYPE: DType = DType::U32;
}

/// The floats that CPU loops compute in: f32 for work, f64 for references and gradient checks.
pub trait Real:
    Element
    + Copy
    + PartialOrd
    + fmt::Display
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
    + std::ops::AddAssign
    + std::ops::SubAssign
    + std::ops::MulAssign
    + std::iter::Sum
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Negative infinity: the start of a maximum.
    const NEG_INFINITY: Self;
    /// Distance from 1 to the next larger value.
    const EPSILON: Self;

    /// Rounds from f64.
    fn from_f64(value: f64) -> Self;
    /// Widens, or returns as is.
    fn to_f64(self) -> f64;
    /// Rounds from f32, or returns as is.
    fn from_f32(value: f32) -> Self;
    /// `self * a + b`, rounded once.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// e to the power of `self`, from the standard library: for references. Fast loops use `kernels::common::math`.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// The error function.
    fn erf(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// Larger of two; the other one where one is NaN.
    fn max(self, other: Self) -> Self;
    /// Smaller of two; the other one where one is NaN.
    fn min(self, other: Self) -> Self;
    /// Neither NaN nor infinite.
    fn is_finite(self) -> bool;

    /// Rounds a count.
    fn from_usize(value: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
        Self::from_f64(value as f64)
    }

    /// -1, 0 or 1. Unlike `signum` it gives 0 for both zeros and for NaN: a masked gradient must not move a pixel.
    fn sign0(self) -> Self {
        if self > Self::ZERO {
            Self::ONE
        } else if self < Self::ZERO {
            -Self::ONE
        } else {
            Self::ZERO
        }
    }
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const NEG_INFINITY: Self = Self::NEG_INFINITY;
    const EPSILON: Self = Self::EPSILON;

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "rounding is what the function is for")]
    fn from_f64(value: f64) -> Self {
        value as Self
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        value
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        Self::mul_add(self, a, b)
    }
    #[inline(always)]
    fn exp(self) -> Self {
        Self::exp(self)
    }
    #[inline(always)]
    fn ln(self) -> Self {
        Self::ln(self)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        Self::sqrt(self)
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Self::abs(self)
    }
    fn erf(self) -> Self {
        libm::erff(self)
    }
    fn tanh(self) -> Self {
        Self::tanh(self)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Self::max(self, other)
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Self::min(self, other)
    }
    #[inline(always)]
    fn is_finite(self) -> bool {
        Self::is_finite(self)
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const NEG_INFINITY: Self = Self::NEG_INFINITY;
    const EPSILON: Self = Self::EPSILON;

    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        Self::from(value)
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        Self::mul_add(self, a, b)
    }
    #[inline(always)]
    fn exp(self) -> Self {
        Self::exp(self)
    }
    #[inline(always)]
    fn ln(self) -> Self {
        Self::ln(self)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        Self::sqrt(self)
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Self::abs(self)
    }
    fn erf(self) -> Self {
        libm::erf(self)
    }
    fn tanh(self) -> Self {
        Self::tanh(self)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Self::max(self, other)
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Self::min(self, other)
    }
    #[inline(always)]
    fn is_finite(self) -> bool {
        Self::is_finite(self)
    }
}

/// Runs a block with `$t` naming the float of `$dtype`; any other dtype is the error of op `$op`.
///
/// The only dispatch on element types: `real!(spec.dtype, "linear", T => cpu::forward::<T>(io))`.
#[macro_export]
macro_rules! real {
    ($dtype:expr, $op:expr, $t:ident => $body:expr) => {
        match $dtype {
            $crate::DType::F32 => {
                type $t = f32;
                $body
            }
            $crate::DType::F64 => {
                type $t = f64;
                $body
            }
            other => Err($crate::Error::new($op, "the CPU computes in f32 and f64 only").with("dtype", other)),
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sign_of_zero_and_nan_is_zero() {
        assert_eq!([0.0_f32, -0.0, f32::NAN, 1e-40, -3.0].map(Real::sign0), [0.0, 0.0, 0.0, 1.0, -1.0]);
    }
}
