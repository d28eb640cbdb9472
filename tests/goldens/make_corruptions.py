"""What the libraries of the published ImageNet-C and CIFAR-C generators compute, from the draws that Vitrum makes.

Rewrites corruptions_32.safetensors and corruptions_224.safetensors beside this file; README.md says what they hold.

    python3 -m venv venv
    venv/bin/pip install 'numpy<2' 'scipy<1.14' opencv-python-headless==4.9.0.80 scikit-image==0.24.0 pillow safetensors
    venv/bin/python tests/goldens/make_corruptions.py [--check] [--dump FILE]

The random draws are Philox's, recomputed here; everything else is NumPy, SciPy, OpenCV, scikit-image and Pillow, called as the
generators call them. Two parts have no library here and follow their formula: ImageMagick's motion blur, the diamond-square map.
"""

import io
import math
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from safetensors.numpy import save
from scipy import ndimage, special, stats
from skimage import color
from skimage.filters import gaussian

HERE = Path(__file__).parent
SEED, SAMPLE = 7, 3
POINTS = 576
U64 = np.uint64

# ---- Draws ----------------------------------------------------------------------------------------------------------------


def fnv1a(data):
    value = 0x811C9DC5
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def philox(stream, severity, count):
    """Words 0..count of a stream: Philox4x32-10 on (element / 4, sample, severity, stream)."""
    blocks = np.arange((count + 3) // 4, dtype=U64)
    full = lambda value: np.full(blocks.shape, value, dtype=U64)
    counter = [blocks, full(SAMPLE), full(severity), full(fnv1a(stream.encode()))]
    key = [SEED & 0xFFFFFFFF, SEED >> 32]
    low = U64(0xFFFFFFFF)
    for _ in range(10):
        first, second = counter[0] * U64(0xD2511F53), counter[2] * U64(0xCD9E8D57)
        counter = [
            (second >> U64(32)) ^ counter[1] ^ U64(key[0]),
            second & low,
            (first >> U64(32)) ^ counter[3] ^ U64(key[1]),
            first & low,
        ]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return np.stack(counter, axis=1).reshape(-1)[:count]


def quantile_table():
    octaves, nodes = np.arange(32)[:, None], np.arange(65)[None, :]
    tail = (1 + nodes / 64) * 2.0 ** (-octaves - 2)
    return np.round(-special.ndtri(tail) * 2**20).astype(np.int64).reshape(-1)


TABLE = quantile_table()


def uniform(stream, severity, count):
    return (philox(stream, severity, count) >> U64(8)).astype(np.float64) / 2**24


def normal(stream, severity, count):
    bits = philox(stream, severity, count).astype(np.int64)
    odd = bits | 1
    octave = 31 - np.floor(np.log2(odd.astype(np.float64))).astype(np.int64)
    mantissa = ((odd << octave) << 1) & 0xFFFFFFFF
    index = octave * 65 + (mantissa >> 26)
    fraction = ((mantissa << 6) & 0xFFFFFFFF) >> 16
    here, step = TABLE[index], TABLE[index + 1] - TABLE[index]
    step = ((step >> 8) * fraction + (((step & 255) * fraction) >> 8)) >> 8
    return np.where(bits & 1, -1.0, 1.0) * (here + step) / 2**20


def below(stream, severity, count, bounds):
    return (philox(stream, severity, count) * np.asarray(bounds, dtype=U64) >> U64(32)).astype(np.int64)


# ---- Pictures -------------------------------------------------------------------------------------------------------------


def wave(value, half):
    return np.abs(value % (2 * half) - half) * 255 // half


def picture(side):
    """[side, side, 3]: waves, a disk, white and black patches, texture; in integers."""
    y, x, c = np.meshgrid(np.arange(side), np.arange(side), np.arange(3), indexing="ij")
    u, v = x * 224 // side, y * 224 // side
    level = (wave(3 * u + 2 * v + 40 * c, 97) + wave(5 * v - u + 1000 + 70 * c, 61)) // 2
    level = level + (x * 7919 + y * 104729 + c * 1299709 + x * y * 31) % 17 - 8
    disk = (u - 80) ** 2 + (v - 120) ** 2 < 45**2
    level = np.where(disk, np.array([230, 60, 40])[c] + (x + y) % 5, level)
    level = np.where((u >= 150) & (v < 60), 255, level)
    level = np.where((u < 50) & (v >= 190), 0, level)
    return np.clip(level, 0, 255).astype(np.uint8)


def frost_picture(number):
    """One of five stand-ins for the photographs, [300, 320, 3]."""
    y, x, c = np.meshgrid(np.arange(300), np.arange(320), np.arange(3), indexing="ij")
    level = (wave(7 * x + 3 * y * (number + 1) + 50 * c, 83) + (x * y * (number + 3) + 29 * c) % 256) // 2
    return np.clip(level, 0, 255).astype(np.uint8)


# ---- Constants: CIFAR-C, ImageNet-C ---------------------------------------------------------------------------------------

C = {
    "gaussian_noise": ([0.04, 0.06, 0.08, 0.09, 0.10], [0.08, 0.12, 0.18, 0.26, 0.38]),
    "shot_noise": ([500, 250, 100, 75, 50], [60, 25, 12, 5, 3]),
    "impulse_noise": ([0.01, 0.02, 0.03, 0.05, 0.07], [0.03, 0.06, 0.09, 0.17, 0.27]),
    "defocus_blur": (
        [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)],
        [(3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)],
    ),
    "glass_blur": (
        [(0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)],
        [(0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)],
    ),
    "motion_blur": ([(6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)], [(10, 3), (15, 5), (15, 8), (15, 12), (20, 15)]),
    "zoom_blur": (
        [(1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)],
        [(1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)],
    ),
    "snow": (
        [
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ],
        [
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ],
    ),
    "frost": (
        [(1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)],
        [(1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)],
    ),
    "fog": ([(0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)], [(1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)]),
    "brightness": ([0.05, 0.1, 0.15, 0.2, 0.3], [0.1, 0.2, 0.3, 0.4, 0.5]),
    "contrast": ([0.75, 0.5, 0.4, 0.3, 0.15], [0.4, 0.3, 0.2, 0.1, 0.05]),
    "elastic_transform": (
        [tuple(32 * k for k in row) for row in [(0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)]],
        [tuple(244 * k for k in row) for row in [(2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)]],
    ),
    "pixelate": ([0.95, 0.9, 0.85, 0.75, 0.65], [0.6, 0.5, 0.4, 0.3, 0.25]),
    "jpeg_compression": ([80, 65, 58, 50, 40], [25, 18, 15, 10, 7]),
    "speckle_noise": ([0.06, 0.1, 0.12, 0.16, 0.2], [0.15, 0.2, 0.35, 0.45, 0.6]),
    "gaussian_blur": ([0.4, 0.6, 0.7, 0.8, 1], [1, 2, 3, 4, 6]),
    "spatter": (
        [
            (0.62, 0.1, 0.7, 0.7, 0.5, 0),
            (0.65, 0.1, 0.8, 0.7, 0.5, 0),
            (0.65, 0.3, 1, 0.69, 0.5, 0),
            (0.65, 0.1, 0.7, 0.69, 0.6, 1),
            (0.65, 0.1, 0.5, 0.68, 0.6, 1),
        ],
        [
            (0.65, 0.3, 4, 0.69, 0.6, 0),
            (0.65, 0.3, 3, 0.68, 0.6, 0),
            (0.65, 0.3, 2, 0.68, 0.5, 0),
            (0.65, 0.3, 1, 0.65, 1.5, 1),
            (0.67, 0.4, 1, 0.65, 1.5, 1),
        ],
    ),
    "saturate": ([(0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)], [(0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)]),
}


# ---- Corruptions: (image [h, w, 3] u8, constants, severity) -> levels before truncation ------------------------------------


class Draw:
    """The draws of one corruption and severity; channel planes come one after the other in Vitrum."""

    def __init__(self, severity):
        self.severity = severity

    def planes(self, draw, name, image):
        h, w, c = image.shape
        return draw(f"corruption.{name}", self.severity, h * w * c).reshape(c, h, w).transpose(1, 2, 0)

    def mono(self, draw, name, image):
        h, w = image.shape[:2]
        return draw(f"corruption.{name}", self.severity, h * w).reshape(h, w)

    def between(self, name, low, high):
        return low + (high - low) * uniform(f"corruption.{name}", self.severity, 1)[0]


def clip255(x):
    return np.clip(x, 0, 1) * 255


def gaussian_noise(image, c, draw):
    return clip255(image / 255.0 + c * draw.planes(normal, "gaussian_noise", image))


def speckle_noise(image, c, draw):
    x = image / 255.0
    return clip255(x + x * (c * draw.planes(normal, "speckle_noise", image)))


def shot_noise(image, c, draw):
    fine = lambda *key: (philox(*key).astype(np.float64) + 0.5) / 2**32
    u = draw.planes(fine, "shot_noise", image)
    return clip255(stats.poisson.ppf(u, image / 255.0 * c) / c)


def impulse_noise(image, c, draw):
    hit = draw.planes(uniform, "impulse_noise.hit", image) < c
    salt = draw.planes(uniform, "impulse_noise.salt", image) < 0.5
    return clip255(np.where(hit, np.where(salt, 1.0, 0.0), image / 255.0))


def defocus_blur(image, c, draw):
    radius, soft = c
    reach = np.arange(-8, 9) if radius <= 8 else np.arange(-radius, radius + 1)
    disk = (reach[:, None] ** 2 + reach[None, :] ** 2 <= radius**2).astype(np.float32)
    disk /= disk.sum()
    kernel = cv2.GaussianBlur(disk, (3, 3) if radius <= 8 else (5, 5), soft)
    x = image / 255.0
    return clip255(np.stack([cv2.filter2D(np.ascontiguousarray(x[..., k]), -1, kernel) for k in range(3)], axis=-1))


def glass_blur(image, c, draw):
    sigma, shift, rounds = c
    h, w = image.shape[:2]
    x = (gaussian(image / 255.0, sigma=sigma, channel_axis=-1) * 255).astype(np.uint8)
    near = below("corruption.glass_blur", draw.severity, 2 * rounds * h * w, 2 * shift).reshape(rounds, h, w, 2) - shift
    for turn in range(rounds):
        for i in range(h - shift, shift, -1):
            for j in range(w - shift, shift, -1):
                dx, dy = near[turn, i, j]
                # The generators' line, whose right side holds views: what reads as a swap copies.
                x[i, j], x[i + dy, j + dx] = x[i + dy, j + dx], x[i, j]
    return clip255(gaussian(x / 255.0, sigma=sigma, channel_axis=-1))


def motion(plane, radius, sigma, degrees):
    """ImageMagick's MotionBlur of a u8 plane [h, w], with the border repeated, to levels."""
    h, w = plane.shape
    taps = np.arange(2 * radius + 1)
    weights = np.exp(-(taps**2) / (2 * sigma**2))
    weights /= weights.sum()
    total = np.zeros((h, w))
    for i, weight in zip(taps, weights):
        dy = math.ceil(i * math.sin(math.radians(degrees)) - 0.5)
        dx = math.ceil(i * math.cos(math.radians(degrees)) - 0.5)
        rows, columns = np.clip(np.arange(h) + dy, 0, h - 1), np.clip(np.arange(w) + dx, 0, w - 1)
        total += weight * plane[np.ix_(rows, columns)]
    return np.floor(total + 0.5).astype(np.uint8)


def motion_blur(image, c, draw):
    degrees = draw.between("motion_blur", -45, 45)
    return np.stack([motion(image[..., k], *c, degrees) for k in range(3)], axis=-1).astype(np.float64)


def enlarged_centre(x, factor):
    side = x.shape[0]
    kept = math.ceil(side / factor)
    first = (side - kept) // 2
    x = ndimage.zoom(x[first : first + kept, first : first + kept], (factor, factor, 1), order=1)
    trim = (x.shape[0] - side) // 2
    return x[trim : trim + side, trim : trim + side]


def zoom_blur(image, c, draw):
    stop, step = c
    factors = np.arange(1, stop, step)
    x = (image / 255.0).astype(np.float32)
    total = np.zeros_like(x)
    for factor in factors:
        total += enlarged_centre(x, factor)
    return clip255((x + total) / (len(factors) + 1))


def snow(image, c, draw):
    mean, deviation, factor, threshold, radius, sigma, kept = c
    x = image.astype(np.float32) / 255.0
    layer = mean + deviation * draw.mono(normal, "snow", image)
    layer = enlarged_centre(layer[..., None], factor)[..., 0]
    layer[layer < threshold] = 0
    layer = (np.clip(layer, 0, 1) * 255).astype(np.uint8)
    layer = motion(layer, radius, sigma, draw.between("snow.angle", -135, -45)) / 255.0
    layer = layer[..., None]
    white = cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)[..., None] * 1.5 + 0.5
    x = kept * x + (1 - kept) * np.maximum(x, white)
    return clip255(x + layer + np.rot90(layer, k=2))


def frost(image, c, draw):
    side = image.shape[0]
    photo = frost_picture(below("corruption.frost", draw.severity, 1, 5)[0])
    if side == 32:
        photo = cv2.resize(photo, (0, 0), fx=0.2, fy=0.2)
    _, top, left = below("corruption.frost", draw.severity, 3, [5, photo.shape[0] - side, photo.shape[1] - side])
    return np.clip(c[0] * image + c[1] * photo[top : top + side, left : left + side], 0, 255)


def plasma(side, decay, u):
    """Diamond-square map on a torus; u holds one uniform value for each point."""
    m = np.zeros((side, side))
    step, rough = side, 100.0
    while step >= 2:
        half = step // 2
        jitter = rough * (-rough + 2 * rough * u)
        corners = m[::step, ::step]
        total = corners + np.roll(corners, -1, axis=0)
        total = total + np.roll(total, -1, axis=1)
        m[half::step, half::step] = total / 4 + jitter[half::step, half::step]
        centres, corners = m[half::step, half::step].copy(), m[::step, ::step].copy()
        total = (centres + np.roll(centres, 1, axis=0)) + (corners + np.roll(corners, -1, axis=1))
        m[::step, half::step] = total / 4 + jitter[::step, half::step]
        total = (centres + np.roll(centres, 1, axis=1)) + (corners + np.roll(corners, -1, axis=0))
        m[half::step, ::step] = total / 4 + jitter[half::step, ::step]
        step, rough = half, rough / decay
    m -= m.min()
    return m / m.max()


def fog(image, c, draw):
    side = image.shape[0]
    size = 32 if side == 32 else 256
    u = uniform("corruption.fog", draw.severity, size * size).reshape(size, size)
    x = image / 255.0
    most = x.max()
    x = x + c[0] * plasma(size, c[1], u)[:side, :side, None]
    return clip255(x * most / (most + c[0]))


def recoloured(image, change):
    hsv = color.rgb2hsv(image / 255.0)
    change(hsv)
    return clip255(color.hsv2rgb(hsv))


def brightness(image, c, draw):
    def change(hsv):
        hsv[..., 2] = np.clip(hsv[..., 2] + c, 0, 1)

    return recoloured(image, change)


def saturate(image, c, draw):
    def change(hsv):
        hsv[..., 1] = np.clip(hsv[..., 1] * c[0] + c[1], 0, 1)

    return recoloured(image, change)


def contrast(image, c, draw):
    x = image / 255.0
    mean = x.mean(axis=(0, 1), keepdims=True)
    return clip255((x - mean) * c + mean)


def elastic_transform(image, c, draw):
    factor, sigma, reach = c
    x = image.astype(np.float32) / 255.0
    h, w = x.shape[:2]
    middle, arm = np.float32((h, w)) // 2, min(h, w) // 3
    points = np.float32([middle + arm, [middle[0] + arm, middle[1] - arm], middle - arm])
    u = uniform("corruption.elastic_transform.affine", draw.severity, 6).reshape(3, 2)
    moved = points + (-reach + (reach - -reach) * u).astype(np.float32)
    x = cv2.warpAffine(x, cv2.getAffineTransform(points, moved), (w, h), borderMode=cv2.BORDER_REFLECT_101)

    def shift(axis):
        noise = -1 + 2 * draw.mono(uniform, f"elastic_transform.{axis}", image)
        return (gaussian(noise, sigma, mode="reflect", truncate=3) * factor).astype(np.float32)[..., None]

    dx, dy = shift("x"), shift("y")
    columns, rows, channels = np.meshgrid(np.arange(w), np.arange(h), np.arange(3))
    places = [(rows + dy).reshape(-1, 1), (columns + dx).reshape(-1, 1), channels.reshape(-1, 1)]
    return clip255(ndimage.map_coordinates(x, places, order=1, mode="reflect").reshape(x.shape))


def pixelate(image, c, draw):
    side = image.shape[0]
    small = Image.fromarray(image).resize((int(side * c), int(side * c)), Image.BOX)
    return np.asarray(small.resize((side, side), Image.BOX)).astype(np.float64)


def jpeg(image, quality):
    stored = io.BytesIO()
    Image.fromarray(image).save(stored, "JPEG", quality=quality)
    return np.asarray(Image.open(stored))


def jpeg_compression(image, c, draw):
    return jpeg(image, c).astype(np.float64)


def gaussian_blur(image, c, draw):
    return clip255(gaussian(image / 255.0, sigma=c, channel_axis=-1))


def water(x, layer, strength):
    edges = cv2.Canny(layer, 50, 150)
    near = np.minimum(cv2.distanceTransform(255 - edges, cv2.DIST_L2, 5), 20)
    near = cv2.equalizeHist(cv2.blur(near, (3, 3)).astype(np.uint8))
    relief = cv2.filter2D(near, cv2.CV_8U, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]))
    depth = layer * cv2.blur(relief, (3, 3)).astype(np.float32)
    depth = depth / depth.max() * np.float32(strength)
    turquoise = np.float32([175 / 255.0, 238 / 255.0, 238 / 255.0])
    return clip255(x + depth[..., None] * turquoise)


def mud(x, wet, sigma):
    share = gaussian(wet.astype(np.float32), sigma=sigma)
    share[share < 0.8] = 0
    brown = np.float32([63 / 255.0, 42 / 255.0, 20 / 255.0])
    return clip255(x * (1 - share[..., None]) + brown * share[..., None])


def spatter(image, c, draw):
    mean, deviation, sigma, threshold, last, kind = c
    x = image.astype(np.float32) / 255.0
    layer = gaussian(mean + deviation * draw.mono(normal, "spatter", image), sigma=sigma)
    layer[layer < threshold] = 0
    if kind == 0:
        return water(x, (layer * 255).astype(np.uint8), last)
    return mud(x, layer > threshold, last)


# ---- Files ----------------------------------------------------------------------------------------------------------------


def corrupted(name, severity, side):
    constants = C[name][0 if side == 32 else 1][severity - 1]
    return np.uint8(globals()[name](picture(side).copy(), constants, Draw(severity))).transpose(2, 0, 1)


def digest(levels):
    return fnv1a(np.ascontiguousarray(levels).tobytes())


def points(side):
    return np.arange(POINTS) * 7919 * 13 % (side * side)


def odd_jpegs():
    """JPEG of sizes that no block divides, in colour and gray, and of quality 85."""
    whole = picture(224)
    crops = [whole[10 : 10 + h, 60 : 60 + w] for h, w in [(33, 21), (17, 47), (5, 3), (1, 9), (64, 6)]]
    colour = [jpeg(np.ascontiguousarray(crop), quality) for crop in crops for quality in (85, 10)]
    gray = [jpeg(np.ascontiguousarray(crop[..., 0]), 40)[..., None] for crop in crops]
    return np.array([digest(levels.transpose(2, 0, 1)) for levels in colour + gray], dtype=np.uint32)


def constants(column):
    """[19, 5, 7], filled up with NaN."""
    rows = [[np.atleast_1d(np.float64(row)) for row in pair[column]] for pair in C.values()]
    return np.array([[np.pad(row, (0, 7 - len(row)), constant_values=np.nan) for row in five] for five in rows])


def main():
    files, everything = {}, {}
    for side in (32, 224):
        whole = np.stack([np.stack([corrupted(name, severity, side) for severity in range(1, 6)]) for name in C])
        everything[f"all{side}"] = whole
        digests = np.array([[digest(levels) for levels in row] for row in whole], dtype=np.uint32)
        kept = whole if side == 32 else whole.reshape(*whole.shape[:3], -1)[..., points(side)]
        clean = np.array([digest(picture(side).transpose(2, 0, 1))], dtype=np.uint32)
        tensors = {"levels": np.ascontiguousarray(kept), "digests": digests, "clean": clean}
        tensors["constants"] = constants(0 if side == 32 else 1)
        if side == 224:
            tensors["jpeg"] = odd_jpegs()
        files[f"corruptions_{side}.safetensors"] = save(tensors)
    if "--dump" in sys.argv:
        np.savez(sys.argv[sys.argv.index("--dump") + 1], **everything)
    changed = [name for name, data in files.items() if not (HERE / name).exists() or (HERE / name).read_bytes() != data]
    for name in changed:
        print("differs:", name)
        if "--check" not in sys.argv:
            (HERE / name).write_bytes(files[name])
    sys.exit(1 if changed and "--check" in sys.argv else 0)


if __name__ == "__main__":
    main()
