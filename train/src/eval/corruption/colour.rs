//! Colour spaces, as scikit-image and OpenCV compute them.

/// Gray values of an image [c, h, w] of 1 or 3 channels: luma of ITU-R BT.601.
pub(super) fn gray(image: &[f32], channels: usize) -> Vec<f32> {
    let area = image.len() / channels;
    if channels == 1 {
        return image.to_vec();
    }
    let (red, rest) = image.split_at(area);
    let (green, blue) = rest.split_at(area);
    let pixels = red.iter().zip(green).zip(blue);
    pixels.map(|((r, g), b)| r * 0.299 + g * 0.587 + b * 0.114).collect()
}

/// Hue in sextants [0, 6), saturation and value of a colour in [0, 1].
pub(super) fn to_hsv([r, g, b]: [f64; 3]) -> [f64; 3] {
    let (v, least) = (r.max(g).max(b), r.min(g).min(b));
    let span = v - least;
    let saturation = if span == 0.0 { 0.0 } else { span / v };
    // Where channels tie for the largest, the last one decides.
    let sextants = match () {
        () if span == 0.0 => 0.0,
        () if b == v => 4.0 + (r - g) / span,
        () if g == v => 2.0 + (b - r) / span,
        () => (g - b) / span,
    };
    [(sextants / 6.0).rem_euclid(1.0) * 6.0, saturation, v]
}

/// The colour of hue in sextants, saturation and value.
pub(super) fn to_rgb([hue, saturation, v]: [f64; 3]) -> [f64; 3] {
    let (sector, f) = (hue.floor(), hue - hue.floor());
    let p = v * (1.0 - saturation);
    let q = v * (1.0 - f * saturation);
    let t = v * (1.0 - (1.0 - f) * saturation);
    match sector {
        1.0 => [q, v, p],
        2.0 => [p, v, t],
        3.0 => [p, q, v],
        4.0 => [t, p, v],
        5.0 => [v, p, q],
        _ => [v, t, p],
    }
}
