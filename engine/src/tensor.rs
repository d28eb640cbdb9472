//! Host tensors: shape, dtype and bytes. They carry data in and out; computing happens in plans.

use std::fmt;

use crate::dtype::{DType, Element, Real};
use crate::error::{Error, Result};
use crate::shape::Spec;

/// A contiguous, row-major tensor in host memory.
#[derive(Clone, PartialEq)]
pub struct Tensor {
    spec: Spec,
    // Words, not bytes, so that every element type finds its alignment.
    words: Vec<u64>,
}

impl Tensor {
    /// A tensor of zeros.
    pub fn zeros(spec: Spec) -> Self {
        Self { spec, words: vec![0; spec.bytes().div_ceil(8)] }
    }

    /// A tensor from its elements in row-major order.
    ///
    /// # Errors
    /// The number of elements does not match the dimensions.
    pub fn new<T: Element>(dims: &[usize], values: &[T]) -> Result<Self> {
        let spec = Spec::new(T::DTYPE, dims)?;
        if spec.elements() != values.len() {
            return Err(Error::new("tensor", "the number of elements does not match the shape")
                .with("shape", spec)
                .with("elements", values.len()));
        }
        let mut tensor = Self::zeros(spec);
        tensor.bytes_mut().copy_from_slice(bytemuck::cast_slice(values));
        Ok(tensor)
    }

    /// A tensor of `T` whose element i is `f(i)`.
    ///
    /// # Errors
    /// As [`Spec::new`].
    pub fn from_fn<T: Element>(dims: &[usize], f: impl FnMut(usize) -> T) -> Result<Self> {
        let spec = Spec::new(T::DTYPE, dims)?;
        let values: Vec<T> = (0..spec.elements()).map(f).collect();
        Self::new(dims, &values)
    }

    /// A tensor from little-endian bytes as they lie in a safetensors file.
    ///
    /// # Errors
    /// The number of bytes does not match the spec.
    pub fn from_bytes(spec: Spec, bytes: &[u8]) -> Result<Self> {
        if spec.bytes() != bytes.len() {
            return Err(Error::new("tensor", "the number of bytes does not match the spec")
                .with("spec", spec)
                .with("bytes", bytes.len()));
        }
        let mut tensor = Self::zeros(spec);
        tensor.bytes_mut().copy_from_slice(bytes);
        Ok(tensor)
    }

    /// Shape and dtype.
    pub fn spec(&self) -> Spec {
        self.spec
    }

    /// The dimensions.
    pub fn dims(&self) -> &[usize] {
        self.spec.dims()
    }

    /// The raw bytes.
    pub fn bytes(&self) -> &[u8] {
        let bytes: &[u8] = bytemuck::cast_slice(&self.words);
        bytes.get(..self.spec.bytes()).unwrap_or(bytes)
    }

    /// The raw bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let count = self.spec.bytes();
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.words);
        bytes.split_at_mut(count).0
    }

    /// The elements.
    ///
    /// # Errors
    /// `T` is not the tensor's element type.
    pub fn values<T: Element>(&self) -> Result<&[T]> {
        self.is::<T>()?;
        Ok(bytemuck::cast_slice(self.bytes()))
    }

    /// The elements, to be written.
    ///
    /// # Errors
    /// `T` is not the tensor's element type.
    pub fn values_mut<T: Element>(&mut self) -> Result<&mut [T]> {
        self.is::<T>()?;
        Ok(bytemuck::cast_slice_mut(self.bytes_mut()))
    }

    fn is<T: Element>(&self) -> Result<()> {
        if T::DTYPE == self.spec.dtype {
            return Ok(());
        }
        Err(Error::new("tensor", format!("asked for {} elements", T::DTYPE)).with("tensor", self.spec))
    }

    /// The elements as f64, whatever float or integer they are.
    pub fn to_f64(&self) -> Vec<f64> {
        fn widen<T: Element>(bytes: &[u8], f: impl Fn(T) -> f64) -> Vec<f64> {
            bytemuck::cast_slice::<u8, T>(bytes).iter().map(|&value| f(value)).collect()
        }
        let bytes = self.bytes();
        match self.spec.dtype {
            DType::F32 => widen::<f32>(bytes, f64::from),
            DType::F64 => widen::<f64>(bytes, |value| value),
            DType::Bf16 => widen::<half::bf16>(bytes, f64::from),
            DType::F16 => widen::<half::f16>(bytes, f64::from),
            DType::U8 => widen::<u8>(bytes, f64::from),
            DType::I32 => widen::<i32>(bytes, f64::from),
            DType::U32 => widen::<u32>(bytes, f64::from),
        }
    }

    /// The same values in float type `T`, rounded once.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn cast<T: Real>(&self) -> Result<Self> {
        let values: Vec<T> = self.to_f64().into_iter().map(T::from_f64).collect();
        Self::new(self.dims(), &values)
    }

    /// The same elements under other dimensions.
    ///
    /// # Errors
    /// The number of elements changes.
    pub fn reshape(mut self, dims: &[usize]) -> Result<Self> {
        let spec = Spec::new(self.spec.dtype, dims)?;
        if spec.elements() != self.spec.elements() {
            return Err(Error::new("reshape", "the number of elements changes")
                .with("from", self.spec)
                .with("to", spec));
        }
        self.spec = spec;
        Ok(self)
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({})", self.spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip_and_the_type_is_checked() {
        let tensor = Tensor::new(&[3], &[1.0_f32, 2.0, 3.0]).unwrap();
        let again = Tensor::from_bytes(tensor.spec(), tensor.bytes()).unwrap();
        assert_eq!(tensor, again);
        assert!(tensor.values::<f64>().is_err());
        assert!(Tensor::new(&[4], &[1.0_f32]).is_err());
    }
}
