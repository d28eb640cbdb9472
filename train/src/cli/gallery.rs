//! Pictures that were written beside a result file, for `vitrum report`.

use train::nullspace::influence::Influence;
use train::privacy::quality::Quality;
use train::report::lab::{GalleryPicture, GalleryStrip, Measure};

/// A row of pictures: their files and captions.
pub fn strip(title: impl Into<String>, pictures: impl IntoIterator<Item = (String, String)>) -> GalleryStrip {
    let picture = |(file, caption)| GalleryPicture { file, caption };
    GalleryStrip { title: title.into(), pictures: pictures.into_iter().map(picture).collect() }
}

/// How near reconstructions came.
pub fn of_quality(quality: &Quality, on: &str) -> Vec<Measure> {
    let optional = [("ssim", quality.mean_ssim), ("reidentified", quality.reidentified)];
    let optional = optional.into_iter().filter_map(|(name, value)| Some(Measure::new(name, value?, on)));
    std::iter::once(Measure::new("psnr", quality.mean_psnr, on)).chain(optional).collect()
}

/// What noise did to a model's outputs.
pub fn of_influence(influence: &Influence, on: &str) -> Vec<Measure> {
    let Influence { max, mean, agreement, mse_logits, mse_probs, .. } = influence;
    let named = [
        ("largest change of a logit", max),
        ("mean change of a logit", mean),
        ("agreement", agreement),
        ("mse_logits", mse_logits),
        ("mse_probs", mse_probs),
    ];
    named.map(|(name, &value)| Measure::new(name, value, on)).to_vec()
}
