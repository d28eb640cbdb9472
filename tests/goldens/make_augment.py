"""What Pillow computes where timm's RandAugment and torchvision's ColorJitter call it, and what timm's RandomErasing erases.

Rewrites augment_golden.safetensors beside this file; README.md says what it holds.

    python3 -m venv venv && venv/bin/pip install torch torchvision timm safetensors numpy pillow
    venv/bin/python tests/goldens/make_augment.py [--check]

Each operation is called through timm's own tables, its random signs forced both ways; the pictures are integer formulas.
"""

import itertools
import json
import random
import sys
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save
from timm.data import auto_augment
from timm.data.random_erasing import RandomErasing
from torchvision.transforms import functional

FILE = Path(__file__).parent / "augment_golden.safetensors"
MAGNITUDES = [0.0, 3.3, 9.0, 9.4, 10.0]
FILTERS = [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC]
FILL = [124, 116, 104]
FACTORS = [0.6123, 1.3377, 0.7501]  # brightness, contrast, saturation
ERASED = [(32, 32), (20, 48)]
RUNS = 20000


def fnv1a(data):
    value = 0x811C9DC5
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def picture(height, width):
    """[height, width, 3]: waves that leave out the darkest and the brightest levels, a black and a white patch in one channel."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    level = 30 + 15 * c + np.abs((11 * x + 7 * y * (c + 1) + x * y // 3) % 340 - 170)
    level = np.where((c == 2) & (y < height // 4), 0, level)
    level = np.where((c == 2) & (x >= width - width // 5), 255, level)
    return level.astype(np.uint8)


def plain():
    """[2, 6, 3]: one level, two levels, a ramp; too flat for a 3 x 3 filter."""
    y, x = np.meshgrid(np.arange(2), np.arange(6), indexing="ij")
    return np.stack([np.full_like(x, 77), np.where(x < 2, 3, 200), 50 * x + y], axis=-1).astype(np.uint8)


def cases():
    """(name of the operation, number in timm's increasing set, magnitude, random number that decides the sign, filter)"""
    geometric = {"Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel"}
    for number, name in enumerate(auto_augment._RAND_INCREASING_TRANSFORMS):
        level = auto_augment.LEVEL_TO_ARG[name]
        magnitudes = MAGNITUDES if level else [0.0]
        if name == "PosterizeIncreasing":
            magnitudes = MAGNITUDES[:-1]  # keeps no bit at 10, which this version of Pillow refuses
        signs = [0.0, 1.0] if name in geometric or "Color" in name or name[:4] in ("Cont", "Brig", "Shar") else [0.0]
        for magnitude, sign, kind in itertools.product(magnitudes, signs, FILTERS if name in geometric else FILTERS[:1]):
            yield name, number, magnitude, sign, kind


def applied(image, name, magnitude, sign, kind):
    fill = tuple(FILL) if image.mode == "RGB" else FILL[0]
    level = auto_augment.LEVEL_TO_ARG[name]
    with mock.patch.object(random, "random", lambda: sign):
        arguments = level(magnitude, {}) if level else ()
    return np.asarray(auto_augment.NAME_TO_OP[name](image, *arguments, fillcolor=fill, resample=kind))


def planes(image):
    """[c, height, width], in this order in memory too: what is saved is the memory."""
    return np.ascontiguousarray(image[None] if image.ndim == 2 else image.transpose(2, 0, 1))


def digest(image):
    return fnv1a(planes(image).tobytes())


def jittered(image, order):
    adjust = [functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation]
    for which in order:
        image = adjust[which](image, FACTORS[which])
    return np.asarray(image)


def erased(height, width):
    """Mean and standard error of: whether something is erased, and its area, height, top and left where it is."""
    random.seed(5)
    erase = RandomErasing(0.25, mode="pixel", device="cpu")
    rows = []
    for _ in range(RUNS):
        hit = torch.isnan(erase(torch.full((1, height, width), torch.nan))[0]).logical_not().numpy()
        if not hit.any():
            continue
        ys, xs = np.flatnonzero(hit.any(axis=1)), np.flatnonzero(hit.any(axis=0))
        rows.append([hit.sum(), len(ys), ys[0], xs[0]])
    share, rows = len(rows) / RUNS, np.array(rows, dtype=np.float64)
    means = [share, *rows.mean(axis=0)]
    errors = [np.sqrt(share * (1 - share) / RUNS), *rows.std(axis=0) / np.sqrt(len(rows))]
    return np.array([means, errors])


def main():
    rows = list(cases())
    small, large = picture(18, 22), picture(160, 224)
    call = lambda image: [applied(image, name, *rest) for name, _, *rest in rows]
    whole = lambda image: np.stack([planes(result) for result in call(Image.fromarray(image))])
    orders = list(itertools.permutations(range(3)))
    tensors = {
        "number": np.array([number for _, number, *_ in rows], dtype=np.int32),
        "magnitude": np.array([magnitude for _, _, magnitude, *_ in rows]),
        "negative": np.array([sign > 0.5 for *_, sign, _ in rows], dtype=np.uint8),
        "bicubic": np.array([kind == Image.Resampling.BICUBIC for *_, kind in rows], dtype=np.uint8),
        "small": whole(small),
        "gray": whole(np.ascontiguousarray(small[..., 0])),
        "plain": whole(plain()),
        "large": np.array([digest(result) for result in call(Image.fromarray(large))], dtype=np.uint32),
        "pictures": np.array([digest(image) for image in (small, plain(), large)], dtype=np.uint32),
        "jitter.order": np.array(orders, dtype=np.int32),
        "jitter.factors": np.array(FACTORS),
        "jitter.small": np.stack([planes(jittered(Image.fromarray(small), order)) for order in orders]),
    }
    tensors |= {f"erased.{height}x{width}": erased(height, width) for height, width in ERASED}
    config = {name: version(name) for name in ("timm", "pillow", "torchvision", "numpy")} | {"fill": FILL, "runs": RUNS}
    data = save(tensors, metadata={"config": json.dumps(config)})
    changed = not FILE.exists() or FILE.read_bytes() != data
    if changed:
        print("differs:", FILE.name)
        if "--check" not in sys.argv:
            FILE.write_bytes(data)
    sys.exit(1 if changed and "--check" in sys.argv else 0)


if __name__ == "__main__":
    main()
