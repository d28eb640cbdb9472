//! Tensor maps: what bulk copies of boxes (TMA, sm_90) must know of a tensor.

use std::ffi::c_void;

use bytemuck::{Pod, Zeroable};
use cudarc::driver::sys;

use super::exec::{CudaExec, Param};
use super::{ALIGNMENT, failed};
use crate::dtype::DType;
use crate::error::{Error, Result};

/// A parameter `const __grid_constant__ TensorMap` of a kernel. What it holds is the driver's secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct TensorMap([u64; 16]);

/// How the 16-byte chunks of a box are permuted in shared memory: over rows of so many bytes, so that a column's chunks lie
/// in different banks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Swizzle {
    /// Row after row as they are.
    None,
    /// Rows of up to 32 bytes.
    B32,
    /// Rows of up to 64 bytes.
    B64,
    /// Rows of up to 128 bytes.
    B128,
}

impl Swizzle {
    /// Most bytes of a box's row: `None` for any number.
    fn row(self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::B32 => Some(32),
            Self::B64 => Some(64),
            Self::B128 => Some(128),
        }
    }

    fn code(self) -> sys::CUtensorMapSwizzle {
        use sys::CUtensorMapSwizzle_enum as Code;
        match self {
            Self::None => Code::CU_TENSOR_MAP_SWIZZLE_NONE,
            Self::B32 => Code::CU_TENSOR_MAP_SWIZZLE_32B,
            Self::B64 => Code::CU_TENSOR_MAP_SWIZZLE_64B,
            Self::B128 => Code::CU_TENSOR_MAP_SWIZZLE_128B,
        }
    }
}

/// A tensor in device memory, and the size of the boxes that are copied. What of a box lies outside the tensor is read as
/// zero and not written. Dimensions are named from the contiguous one on.
#[derive(Clone, Copy, Debug)]
pub struct Boxes<'a> {
    /// What messages call the tensor.
    pub name: &'a str,
    /// Address of its first element.
    pub start: Param,
    /// Stored as: f32 or bf16.
    pub dtype: DType,
    /// Elements along each of 2 to 5 dimensions.
    pub dims: &'a [usize],
    /// Bytes from one element to the next, along each dimension but the contiguous one.
    pub strides: &'a [usize],
    /// Elements of a box along each dimension.
    pub tile: &'a [usize],
    /// How its rows lie in shared memory.
    pub swizzle: Swizzle,
}

/// Numbers as the driver takes them: below 2^40, as [`Boxes::broken_rule`] has checked.
fn wide(values: &[usize]) -> [u64; 5] {
    let mut all = [1; 5];
    for (to, &value) in all.iter_mut().zip(values) {
        *to = u64::try_from(value).unwrap_or(u64::MAX);
    }
    all
}

impl Boxes<'_> {
    /// The rule of the hardware that this breaks, if any.
    fn broken_rule(&self) -> Option<&'static str> {
        let (rank, element) = (self.dims.len(), self.dtype.size());
        let row = self.tile.first().map_or(0, |&first| first.saturating_mul(element));
        let contiguous = self.dims.first().map_or(0, |&first| first.saturating_mul(element));
        let rules = [
            (matches!(self.dtype, DType::F32 | DType::Bf16), "its elements are f32 or bf16"),
            ((2..=5).contains(&rank), "it has 2 to 5 dimensions"),
            (self.tile.len() == rank && self.strides.len() + 1 == rank, "box and strides fit its dimensions"),
            (self.start.is_multiple_of(16), "its address is a multiple of 16"),
            (self.dims.iter().all(|&dim| (1..=1 << 32).contains(&dim)), "its dimensions are 1 to 2^32"),
            (self.strides.iter().all(|stride| stride.is_multiple_of(16)), "its strides are multiples of 16 bytes"),
            (self.strides.iter().all(|&stride| stride < 1 << 40), "its strides are below 2^40 bytes"),
            (self.strides.first().is_none_or(|&stride| stride >= contiguous), "its rows do not overlap"),
            (self.tile.iter().all(|tile| (1..=256).contains(tile)), "a box has 1 to 256 elements along each dimension"),
            (row.is_multiple_of(16), "a row of a box is a multiple of 16 bytes"),
            (self.swizzle.row().is_none_or(|most| row <= most), "a row of a box is no longer than its swizzle"),
        ];
        rules.iter().find(|(holds, _)| !holds).map(|(_, rule)| *rule)
    }

    fn error(&self, problem: impl Into<String>) -> Error {
        Error::new("tensor map", problem)
            .with("tensor", self.name)
            .with("elements", format!("{:?} of {}", self.dims, self.dtype))
            .with("strides", format!("{:?} bytes", self.strides))
            .with("box", format!("{:?}, swizzle {:?}", self.tile, self.swizzle))
    }
}

impl CudaExec {
    /// What bulk copies of `boxes` need, for a kernel's parameter. Devices from sm_90 on have them.
    ///
    /// # Errors
    /// The tensor or its boxes break a rule of the hardware, which the message names.
    pub fn tensor_map(&self, boxes: &Boxes) -> Result<TensorMap> {
        if let Some(rule) = boxes.broken_rule() {
            return Err(boxes.error(format!("bulk copies can't take this tensor: {rule}")));
        }
        self.cuda.bind()?;
        let dtype = match boxes.dtype {
            DType::F32 => sys::CUtensorMapDataType_enum::CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
            _ => sys::CUtensorMapDataType_enum::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        };
        // Memory that is only imagined begins at 0, which the driver need not take.
        let start = boxes.start.or_if_null(ALIGNMENT);
        let (dims, strides) = (wide(boxes.dims), wide(boxes.strides));
        let tile = wide(boxes.tile).map(|elements| u32::try_from(elements).unwrap_or(u32::MAX));
        let mut made = sys::CUtensorMap { opaque: [0; 16] };
        // SAFETY: arrays have as many entries as the driver reads for a rank of up to 5, all live through the call, and it
        // writes one map; it never follows the tensor's address.
        unsafe {
            sys::cuTensorMapEncodeTiled(
                &raw mut made,
                dtype,
                u32::try_from(boxes.dims.len()).unwrap_or(u32::MAX),
                std::ptr::without_provenance_mut::<c_void>(usize::try_from(start).unwrap_or(usize::MAX)),
                dims.as_ptr(),
                strides.as_ptr(),
                tile.as_ptr(),
                [1; 5].as_ptr(),
                sys::CUtensorMapInterleave_enum::CU_TENSOR_MAP_INTERLEAVE_NONE,
                boxes.swizzle.code(),
                sys::CUtensorMapL2promotion_enum::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                sys::CUtensorMapFloatOOBfill_enum::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
        }
        .result()
        .map_err(|error| boxes.error(failed("encoding a tensor map", error).problem()))?;
        Ok(TensorMap(made.opaque))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_of_the_hardware_is_checked_and_named() {
        // Behind the contiguous one, dimensions may lie in any order in memory: positions here, and heads between them.
        let good = Boxes {
            name: "x",
            start: Param::NULL,
            dtype: DType::Bf16,
            dims: &[64, 197, 36, 2],
            strides: &[128 * 36, 128, 128 * 36 * 197],
            tile: &[64, 208, 1, 1],
            swizzle: Swizzle::B128,
        };
        assert_eq!(good.broken_rule(), None);
        let broken = [
            (Boxes { dtype: DType::F16, ..good }, "f32 or bf16"),
            (Boxes { dims: &[64], strides: &[], tile: &[64], ..good }, "2 to 5"),
            (Boxes { tile: &[64, 1], ..good }, "fit"),
            (Boxes { start: Param::from(8_usize), ..good }, "address"),
            (Boxes { dims: &[64, 0, 36, 2], ..good }, "2^32"),
            (Boxes { strides: &[128 * 36, 136, 128 * 36 * 197], ..good }, "multiples of 16 bytes"),
            (Boxes { strides: &[128 * 36, 128, 1 << 40], ..good }, "2^40"),
            (Boxes { strides: &[64, 128, 128 * 36 * 197], ..good }, "overlap"),
            (Boxes { tile: &[64, 257, 1, 1], ..good }, "256 elements"),
            (Boxes { tile: &[60, 208, 1, 1], ..good }, "a row of a box is a multiple"),
            (Boxes { swizzle: Swizzle::B64, ..good }, "swizzle"),
        ];
        for (boxes, rule) in broken {
            let found = boxes.broken_rule();
            assert!(found.is_some_and(|found| found.contains(rule)), "{boxes:?}: {found:?}");
        }
        assert!(good.error("wrong").to_string().contains("[64, 197, 36, 2] of bf16"));
    }
}
