//! How alike two images are: PSNR, SSIM, and whether a reconstruction points to its original.

use engine::{Error, Result};
use serde::Serialize;

pub use crate::nullspace::boxed::psnr;

/// Side of SSIM's window.
const WINDOW: usize = 11;
/// Standard deviation of its Gaussian weights, in pixels.
const SIGMA: f64 = 1.5;

/// Structural similarity (Wang, Bovik, Sheikh and Simoncelli, IEEE Transactions on Image Processing 13, 2004) of images
/// [c, h, w] in [0, 1], in f64: an 11 x 11 Gaussian window of deviation 1.5, weights that sum to 1, `C1 = 0.01²`,
/// `C2 = 0.03²`; mean over the windows that lie inside the image and over channels.
///
/// # Errors
/// Sizes that differ, or a side below 11.
pub fn ssim(a: &[f32], b: &[f32], dims: [usize; 3]) -> Result<f64> {
    let [channels, height, width] = dims;
    if a.len() != b.len() || a.len() != channels * height * width || channels == 0 {
        return Err(Error::new("ssim", "the images do not have the shape")
            .with("values", format!("{} and {}", a.len(), b.len()))
            .with("shape [c, h, w]", format!("{dims:?}")));
    }
    if height < WINDOW || width < WINDOW {
        return Err(
            Error::new("ssim", "the window of 11 x 11 does not fit").with("shape [c, h, w]", format!("{dims:?}"))
        );
    }
    let area = height * width;
    let planes = a.chunks_exact(area).zip(b.chunks_exact(area));
    let sums = planes.map(|(a, b)| {
        let a: Vec<f64> = a.iter().map(|&v| f64::from(v)).collect();
        let b: Vec<f64> = b.iter().map(|&v| f64::from(v)).collect();
        plane(&a, &b, width)
    });
    Ok(sums.sum::<f64>() / channels as f64)
}

/// SSIM of one channel.
fn plane(a: &[f64], b: &[f64], width: usize) -> f64 {
    let product = |p: &[f64], q: &[f64]| -> Vec<f64> { p.iter().zip(q).map(|(p, q)| p * q).collect() };
    let (mean_a, mean_b) = (blurred(a, width), blurred(b, width));
    let (aa, bb, ab) = (blurred(&product(a, a), width), blurred(&product(b, b), width), blurred(&product(a, b), width));
    let (c1, c2) = (0.01_f64.powi(2), 0.03_f64.powi(2));
    let value = |i: usize| {
        let (ma, mb) = (mean_a[i], mean_b[i]);
        let (va, vb, vab) = (aa[i] - ma * ma, bb[i] - mb * mb, ab[i] - ma * mb);
        (2.0 * ma * mb + c1) * (2.0 * vab + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2))
    };
    (0..mean_a.len()).map(value).sum::<f64>() / mean_a.len() as f64
}

/// Weighted means over all windows inside a plane, row by row.
fn blurred(plane: &[f64], width: usize) -> Vec<f64> {
    let weights: Vec<f64> = (0..WINDOW)
        .map(|i| {
            let distance = i as f64 - (WINDOW / 2) as f64;
            (-distance * distance / (2.0 * SIGMA * SIGMA)).exp()
        })
        .collect();
    let total: f64 = weights.iter().sum();
    let mean = |values: &mut dyn Iterator<Item = &f64>| values.zip(&weights).map(|(v, w)| v * w / total).sum::<f64>();
    let rows: Vec<f64> =
        plane.chunks_exact(width).flat_map(|row| row.windows(WINDOW).map(|part| mean(&mut part.iter()))).collect();
    let across = width - WINDOW + 1;
    let down = plane.len() / width - WINDOW + 1;
    (0..down * across).map(|at| mean(&mut rows.iter().skip(at).step_by(across).take(WINDOW))).collect()
}

/// Reconstructions against their originals.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quality {
    /// dB of each reconstruction.
    pub psnr: Vec<f64>,
    /// SSIM of each; empty where images are smaller than the window.
    pub ssim: Vec<f64>,
    /// Mean of `psnr`.
    pub mean_psnr: f64,
    /// Mean of `ssim`, where there is one.
    pub mean_ssim: Option<f64>,
    /// Share of the reconstructions whose nearest original (Euclidean, in pixels) among all of them is their own: top-1 among
    /// n. `None` for a single image, which can't be mistaken.
    pub reidentified: Option<f64>,
}

impl Quality {
    /// Compares images [n, c, h, w], each with its original and with everybody's.
    ///
    /// # Errors
    /// Sizes that differ, or no image.
    pub fn of(originals: &[f32], found: &[f32], dims: [usize; 3]) -> Result<Self> {
        let volume: usize = dims.iter().product();
        if volume == 0 || originals.len() != found.len() || found.is_empty() || !found.len().is_multiple_of(volume) {
            return Err(Error::new("quality", "needs as many reconstructions as originals")
                .with("values", format!("{} and {}", originals.len(), found.len()))
                .with("image [c, h, w]", format!("{dims:?}")));
        }
        let pairs = || originals.chunks_exact(volume).zip(found.chunks_exact(volume));
        let psnr: Vec<f64> = pairs().map(|(a, b)| psnr(a, b)).collect();
        let fits = dims[1] >= WINDOW && dims[2] >= WINDOW;
        let ssim =
            if fits { pairs().map(|(a, b)| ssim(a, b, dims)).collect::<Result<Vec<f64>>>()? } else { Vec::new() };
        let own = found.chunks_exact(volume).enumerate().filter(|(at, image)| nearest(originals, image) == Some(*at));
        let count = psnr.len() as f64;
        Ok(Self {
            mean_psnr: psnr.iter().sum::<f64>() / count,
            mean_ssim: fits.then(|| ssim.iter().sum::<f64>() / count),
            reidentified: (psnr.len() > 1).then(|| own.count() as f64 / count),
            psnr,
            ssim,
        })
    }
}

/// Position of the image that is nearest to `image`.
fn nearest(images: &[f32], image: &[f32]) -> Option<usize> {
    let distance =
        |other: &[f32]| -> f64 { other.iter().zip(image).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum() };
    let distances = images.chunks_exact(image.len()).map(distance).enumerate();
    distances.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use models::tensor_file::TensorFile;

    use super::*;

    #[test]
    fn ssim_is_that_of_scikit_image() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens/ssim/ssim.safetensors");
        let file = TensorFile::open(&path).unwrap();
        let [a, b] = ["a", "b"].map(|name| file.read(name).unwrap().values::<f32>().unwrap().to_vec());
        let expected = file.read("ssim").unwrap().to_f64();
        assert_eq!(expected.len(), 4);
        let dims = [3, 18, 23];
        for ((a, b), expected) in a.chunks(3 * 18 * 23).zip(b.chunks(3 * 18 * 23)).zip(expected) {
            let found = ssim(a, b, dims).unwrap();
            assert!((found - expected).abs() < 1e-12, "{found} but {expected}");
            assert!((ssim(a, a, dims).unwrap() - 1.0).abs() < 1e-12);
        }
        assert!(ssim(&a[..300], &b[..300], [3, 10, 10]).is_err() && ssim(&a[..5], &b[..5], dims).is_err());
    }

    #[test]
    fn reconstructions_are_matched_with_their_originals() {
        let originals: Vec<f32> = (0..3 * 16).map(|i| if i / 16 == i % 16 % 3 { 0.9 } else { 0.1 }).collect();
        let good = Quality::of(&originals, &originals, [1, 4, 4]).unwrap();
        assert_eq!((good.reidentified, good.mean_ssim), (Some(1.0), None));
        assert_eq!(Quality::of(&originals[..16], &originals[..16], [1, 4, 4]).unwrap().reidentified, None);
        let mut swapped = originals.clone();
        swapped.rotate_left(16);
        assert_eq!(Quality::of(&originals, &swapped, [1, 4, 4]).unwrap().reidentified, Some(0.0));
        let mut dim = originals.clone();
        dim.iter_mut().for_each(|v| *v += 0.1);
        let dim = Quality::of(&originals, &dim, [1, 4, 4]).unwrap();
        // A mean squared error of 0.01 is 20 dB.
        assert!((dim.mean_psnr - 20.0).abs() < 1e-5 && dim.reidentified == Some(1.0), "{dim:?}");
        assert!(Quality::of(&[], &[], [1, 4, 4]).is_err());
    }
}
