"""Writes ssim.safetensors: image pairs and scikit-image's structural similarity of them (0.26.0, numpy 2).

    python -m venv venv && venv/bin/pip install scikit-image safetensors numpy
    venv/bin/python tests/goldens/ssim/make.py
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from skimage.metrics import structural_similarity

rng = np.random.default_rng(7)
y, x = np.mgrid[0:18, 0:23] / 20.0
smooth = np.stack([0.5 + 0.5 * np.sin(6 * x + phase) * np.cos(4 * y) for phase in (0.0, 1.0, 2.0)])
pairs = [
    (smooth, np.clip(smooth + 0.1 * rng.standard_normal(smooth.shape), 0, 1)),
    (smooth, smooth[:, ::-1, :]),
    (rng.random(smooth.shape), rng.random(smooth.shape)),
    (np.full(smooth.shape, 0.3), np.full(smooth.shape, 0.4)),
]
a = np.stack([p for p, _ in pairs]).astype(np.float32)
b = np.stack([q for _, q in pairs]).astype(np.float32)
ssim = [
    structural_similarity(
        p.astype(np.float64),
        q.astype(np.float64),
        channel_axis=0,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    for p, q in zip(a, b)
]
print(ssim)
save_file({"a": a, "b": b, "ssim": np.array(ssim)}, Path(__file__).with_name("ssim.safetensors"))
