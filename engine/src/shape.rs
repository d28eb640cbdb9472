//! Shapes and specs. A tensor is always contiguous and row-major: transposition is a flag of the op that needs it.

use std::fmt;

use crate::dtype::DType;
use crate::error::{Error, Result};

/// Most dimensions that a shape has.
pub const MAX_DIMS: usize = 6;

/// Most elements that a shape has: whatever the dtype, the bytes of a tensor and of its neighbours in memory can be added.
pub const MAX_ELEMENTS: usize = usize::MAX / 64;

/// Up to [`MAX_DIMS`] dimensions, row-major, kept inline.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [usize; MAX_DIMS],
    rank: u8,
}

impl Shape {
    /// A shape from its dimensions.
    ///
    /// # Errors
    /// More than [`MAX_DIMS`] dimensions, or more than [`MAX_ELEMENTS`] elements.
    pub fn new(dims: &[usize]) -> Result<Self> {
        let elements = dims.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim));
        let fits = elements.is_some_and(|count| count <= MAX_ELEMENTS);
        let (Ok(rank), true) = (u8::try_from(dims.len()), fits && dims.len() <= MAX_DIMS) else {
            return Err(Error::new("shape", "too many dimensions or elements")
                .with("dims", format!("{dims:?}"))
                .with("most dims", MAX_DIMS));
        };
        let mut shape = Self { dims: [0; MAX_DIMS], rank };
        for (slot, &dim) in shape.dims.iter_mut().zip(dims) {
            *slot = dim;
        }
        Ok(shape)
    }

    /// The dimensions, outermost first.
    pub fn dims(&self) -> &[usize] {
        self.dims.get(..usize::from(self.rank)).unwrap_or(&self.dims)
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        usize::from(self.rank)
    }

    /// Number of elements; 1 for a scalar (no dimensions).
    pub fn elements(&self) -> usize {
        self.dims().iter().product()
    }

    /// The innermost dimension, 1 for a scalar.
    pub fn last(&self) -> usize {
        self.dims().last().copied().unwrap_or(1)
    }

    /// Elements divided by the innermost dimension: the number of rows when seen as a matrix.
    pub fn rows(&self) -> usize {
        self.dims().split_last().map_or(1, |(_, outer)| outer.iter().product())
    }

    /// The same shape with another innermost dimension.
    ///
    /// # Errors
    /// The shape is a scalar, or the result is too large.
    pub fn with_last(&self, last: usize) -> Result<Self> {
        match self.dims().split_last() {
            Some((_, outer)) => {
                let mut dims = outer.to_vec();
                dims.push(last);
                Self::new(&dims)
            }
            None => Err(Error::new("shape", "a scalar has no innermost dimension")),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Shape and element type of a tensor.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Spec {
    /// Dimensions.
    pub shape: Shape,
    /// Element type.
    pub dtype: DType,
}

impl Spec {
    /// A spec from element type and dimensions.
    ///
    /// # Errors
    /// As [`Shape::new`].
    pub fn new(dtype: DType, dims: &[usize]) -> Result<Self> {
        Ok(Self { shape: Shape::new(dims)?, dtype })
    }

    /// `count` u32 words.
    pub(crate) fn words(count: usize) -> Self {
        let mut dims = [0; MAX_DIMS];
        dims[0] = count;
        Self { shape: Shape { dims, rank: 1 }, dtype: DType::U32 }
    }

    /// The dimensions, outermost first.
    pub fn dims(&self) -> &[usize] {
        self.shape.dims()
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.elements()
    }

    /// Size in bytes.
    pub fn bytes(&self) -> usize {
        self.elements() * self.dtype.size()
    }

    /// The dimensions as a fixed-size array, for destructuring: `let [b, n, d] = spec.array("attention", "x")?`.
    ///
    /// # Errors
    /// The rank is not `N`; the message names `op` and `what`.
    pub fn array<const N: usize>(&self, op: &str, what: &str) -> Result<[usize; N]> {
        <[usize; N]>::try_from(self.dims())
            .map_err(|_| Error::new(op, format!("{what} must have {N} dimensions")).with(what, self))
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dtype, self.shape)
    }
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_last_see_a_shape_as_a_matrix() {
        let shape = Shape::new(&[2, 3, 5]).unwrap();
        assert_eq!((shape.rows(), shape.last(), shape.elements()), (6, 5, 30));
        let scalar = Shape::new(&[]).unwrap();
        assert_eq!((scalar.rows(), scalar.last(), scalar.elements()), (1, 1, 1));
    }

    #[test]
    fn refuses_seven_dims_and_overflow() {
        assert!(Shape::new(&[1; 7]).is_err());
        assert!(Shape::new(&[usize::MAX, 2]).is_err());
        assert!(Shape::new(&[MAX_ELEMENTS + 1]).is_err());
        assert_eq!(Spec::new(DType::F64, &[MAX_ELEMENTS]).unwrap().bytes(), 8 * MAX_ELEMENTS);
    }
}
