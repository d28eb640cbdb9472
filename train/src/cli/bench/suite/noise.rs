//! Random inputs: on zeros a GPU's multipliers take less power and so run faster than they do at work.

use engine::rng::{Philox, Stream};
use engine::{DType, Error, Result, Spec, Tensor};

/// Values drawn once, and repeated: a prime number of them, so that no two rows of a tensor are alike.
const VALUES: usize = 1_048_573;

/// A source of random tensors.
pub struct Noise(Vec<f32>);

impl Noise {
    pub fn new() -> Self {
        let philox = Philox::new(0, 0, Stream::named("cli.bench"));
        Self((0..VALUES).map(|i| philox.normal(0, i)).collect())
    }

    /// A tensor of `shaped` normal values in f32 or bf16; `start` tells tensors apart.
    pub fn tensor(&self, spec: Spec, start: usize, shaped: impl Fn(f32) -> f32) -> Result<Tensor> {
        let values = self
            .0
            .iter()
            .cycle()
            .skip(start * 7919 % VALUES)
            .take(VALUES.min(spec.elements()))
            .map(|&value| shaped(value));
        let period: Vec<u8> = match spec.dtype {
            DType::F32 => values.flat_map(f32::to_le_bytes).collect(),
            DType::Bf16 => values.flat_map(|value| rounded(value).to_le_bytes()).collect(),
            other => return Err(Error::new("bench", "random values are f32 or bf16").with("asked for", other)),
        };
        let mut tensor = Tensor::zeros(spec);
        for part in tensor.bytes_mut().chunks_mut(period.len().max(1)) {
            part.copy_from_slice(&period[..part.len()]);
        }
        Ok(tensor)
    }
}

/// A finite value in bf16, to nearest, ties to even: the upper half of its bits.
fn rounded(value: f32) -> u16 {
    let bits = value.to_bits();
    let up = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)).to_le_bytes();
    u16::from_le_bytes([up[2], up[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_repeat_far_apart_in_both_types() {
        let noise = Noise::new();
        let wide = noise.tensor(Spec::new(DType::F32, &[VALUES + 5]).unwrap(), 0, |x| x).unwrap();
        let narrow = noise.tensor(Spec::new(DType::Bf16, &[VALUES + 5]).unwrap(), 0, |x| x).unwrap();
        let (wide, narrow) = (wide.to_f64(), narrow.to_f64());
        assert_eq!(wide[..5], wide[VALUES..]);
        assert!(wide.iter().zip(&narrow).all(|(wide, narrow)| (wide - narrow).abs() <= wide.abs() / 256.0));
        #[expect(clippy::cast_precision_loss, reason = "a count")]
        let square = wide.iter().map(|x| x * x).sum::<f64>() / wide.len() as f64;
        assert!((square - 1.0).abs() < 0.01, "{square}");
    }
}
