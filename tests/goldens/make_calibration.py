#!/usr/bin/env python3
"""Writes calibration_golden.safetensors: calibration measures of two sets of logits, computed by numpy in float64.

    python tests/goldens/make_calibration.py            # rewrites the file, prints the figures
    python tests/goldens/make_calibration.py --check    # rewrites nothing; exit status 1 if the file would change

Where torchmetrics has the measure, its arithmetic must agree to 1e-6 (it works in float32 inside), or the script fails.
README.md says what the file holds.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.numpy import save
from torchmetrics.classification import BinaryAUROC, MulticlassCalibrationError

HERE = pathlib.Path(__file__).resolve().parent
FILE = HERE / "calibration_golden.safetensors"
EDGE = 1e-12


def draw(seed, count, classes, scale, flip):
    """Logits of an overconfident classifier, float32, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, classes))
    logits[np.arange(count), labels] += 1.5
    wrong = rng.random(count) < flip
    labels = np.where(wrong, rng.integers(0, classes, count), labels)
    return (scale * logits).astype(np.float32), labels.astype(np.int32)


def saturated():
    """Logits so far apart that some confidences are 1 to the last bit, on both sides."""
    logits, labels = draw(3, 60, 4, 3.0, 0.2)
    logits[:20] *= 30.0
    labels[:19] = logits[:19].argmax(axis=1)
    labels[19] = logits[19].argsort()[-2]
    return logits, labels


def softmax(logits, temperature=1.0):
    scaled = logits.astype(np.float64) / temperature
    weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def nll(logits, labels, temperature=1.0):
    scaled = logits.astype(np.float64) / temperature
    largest = scaled.max(axis=1)
    total = np.log(np.exp(scaled - largest[:, None]).sum(axis=1)) + largest
    return (total - scaled[np.arange(len(labels)), labels]).mean()


def gaps(p, hit, bins):
    """Mass and gap of bins (lo, hi] of equal width; 0 lies in the first."""
    index = np.clip(np.digitize(p, np.arange(bins + 1) / bins, right=True) - 1, 0, bins - 1)
    for b in range(bins):
        inside = index == b
        if inside.any():
            yield inside.mean(), abs(hit[inside].mean() - p[inside].mean())


def ece(p, hit, bins):
    return sum(mass * gap for mass, gap in gaps(p, hit, bins))


def equal_mass(p, hit, bins):
    order = np.argsort(p, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [(len(part) / len(p), abs(hit[part].mean() - p[part].mean())) for part in parts]


def aurc(confidence, correct):
    """Without ties: the definition. With ties: the mean over random orders of them, by their expectation."""
    order = np.argsort(-confidence, kind="stable")
    error = (1.0 - correct)[order]
    for value in np.unique(confidence):
        tie = confidence[order] == value
        error[tie] = error[tie].mean()
    return (np.cumsum(error) / np.arange(1, len(error) + 1)).mean()


def auroc(confidence, correct):
    right, wrong = confidence[correct == 1][:, None], confidence[correct == 0][None, :]
    return (np.mean(right > wrong) + 0.5 * np.mean(right == wrong)).item()


def temperature(logits, labels):
    """Bisection on the slope of NLL in beta = 1 / T, which rises: as exact as float64 is."""
    z = logits.astype(np.float64)

    def slope(beta):
        p = softmax(z, 1.0 / beta)
        return ((p * z).sum(axis=1) - z[np.arange(len(labels)), labels]).mean()

    low, high = 1e-2, 1e2
    assert slope(low) < 0.0 < slope(high)
    for _ in range(200):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if slope(middle) < 0.0 else (low, middle)
    return (low * high) ** -0.5


def measures(logits, labels):
    p = softmax(logits)
    rows = np.arange(len(labels))
    confidence, correct = p.max(axis=1), (p.argmax(axis=1) == labels).astype(np.float64)
    classes = p.shape[1]
    per_class = [(p[:, k], (labels == k).astype(np.float64)) for k in range(classes)]
    onehot = np.zeros_like(p)
    onehot[rows, labels] = 1.0
    t = temperature(logits, labels)
    scaled = softmax(logits, t)
    values = {
        "accuracy": correct.mean(),
        "nll": nll(logits, labels),
        "brier": ((p - onehot) ** 2).sum(axis=1).mean(),
        "ece15": ece(confidence, correct, 15),
        "ece10": ece(confidence, correct, 10),
        "mce15": max(gap for _, gap in gaps(confidence, correct, 15)),
        "adaptive_ece15": sum(mass * gap for mass, gap in equal_mass(confidence, correct, 15)),
        "classwise_ece15": np.mean([ece(column, hit, 15) for column, hit in per_class]),
        "ace15": np.mean([np.mean([gap for _, gap in equal_mass(*each, 15)]) for each in per_class]),
        "aurc": aurc(confidence, correct),
        "auroc": auroc(confidence, correct),
        "entropy": -(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=1).mean(),
        "temperature": t,
        "nll_after": nll(logits, labels, t),
        "ece15_after": ece(scaled.max(axis=1), correct, 15),
    }
    return {name: float(value) for name, value in values.items()}


def edges(logits):
    """Whether a confidence lies on an edge of bins, where torchmetrics' bins [lo, hi) differ from ours."""
    scaled = softmax(logits).max(axis=1) * 15
    return np.any(np.abs(scaled - np.round(scaled)) < EDGE)


def public(logits, labels, values):
    p, target = torch.from_numpy(softmax(logits)), torch.from_numpy(labels).long()
    classes = p.shape[1]
    found = {"auroc": BinaryAUROC()(p.max(dim=1).values, (p.argmax(dim=1) == target).long()).item()}
    if not edges(logits):
        for bins, norm, name in [(15, "l1", "ece15"), (10, "l1", "ece10"), (15, "max", "mce15")]:
            found[name] = MulticlassCalibrationError(classes, n_bins=bins, norm=norm)(p, target).item()
    for name, value in found.items():
        assert abs(value - values[name]) < 1e-6, f"torchmetrics: {name} is {value}, not {values[name]}"
    return sorted(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    tensors, figures = {}, {}
    for name, (logits, labels) in {"drawn": draw(1, 400, 10, 3.0, 0.15), "saturated": saturated()}.items():
        figures[name] = measures(logits, labels)
        agreed = public(logits, labels, figures[name])
        print(name, json.dumps(figures[name], indent=1), "torchmetrics agrees on", ", ".join(agreed))
        tensors |= {f"{name}.logits": logits, f"{name}.labels": labels}
        tensors |= {f"{name}.{key}": np.array([value]) for key, value in figures[name].items()}
    data = save(tensors)
    if args.check:
        sys.exit(0 if FILE.read_bytes() == data else f"{FILE.name} would change")
    FILE.write_bytes(data)


if __name__ == "__main__":
    main()
