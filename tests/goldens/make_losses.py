#!/usr/bin/env python3
"""Writes losses_golden.safetensors: TRADES and MART from PyTorch in float64, with gradients to both branches' logits.

    python tests/goldens/make_losses.py            # rewrites the file, prints what was measured
    python tests/goldens/make_losses.py --check    # rewrites nothing; exit status 1 if the file would change

Each loss is computed three times: by autograd in the order of operations of the authors' public code, by autograd from the
published formula, and with gradients written out by hand. They have to agree before anything is written.
"""

import argparse
import json
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save

PATH = pathlib.Path(__file__).resolve().parent / "losses_golden.safetensors"
BETA = 6.0
SETS = {"mild": 2.0, "confident": 8.0}  # deviation of the logits
BATCH, CLASSES = 24, 10


def batch(name, scale, generator):
    """Clean logits, attacked logits that differ from them, and labels that are the largest clean logit for every second."""
    clean = scale * torch.randn(BATCH, CLASSES, generator=generator)
    attacked = clean + 0.5 * scale * torch.randn(BATCH, CLASSES, generator=generator)
    labels = torch.randint(CLASSES, (BATCH,), generator=generator)
    labels[::2] = clean.argmax(1)[::2]
    return clean, attacked, labels


def trades_as_released(clean, attacked, labels):
    divergence = torch.nn.KLDivLoss(reduction="sum")(F.log_softmax(attacked, dim=1), F.softmax(clean, dim=1))
    return F.cross_entropy(clean, labels) + BETA * divergence / len(labels)


def trades_as_published(clean, attacked, labels):
    p, q = clean.softmax(1), attacked.softmax(1)
    return (-p[range(len(labels)), labels].log() + BETA * (p * (p.log() - q.log())).sum(1)).mean()


def mart_as_released(clean, attacked, labels):
    rows = torch.arange(len(labels))
    q = F.softmax(attacked, dim=1)
    two = torch.argsort(q, dim=1)[:, -2:]
    wrong = torch.where(two[:, -1] == labels, two[:, -2], two[:, -1])
    boosted = F.cross_entropy(attacked, labels) + F.nll_loss(torch.log(1.0001 - q + 1e-12), wrong)
    p = F.softmax(clean, dim=1)
    kl = torch.sum(torch.nn.KLDivLoss(reduction="none")(torch.log(q + 1e-12), p), dim=1)
    return boosted + BETA * torch.sum(kl * (1.0000001 - p[rows, labels])) / len(labels)


def mart_as_published(clean, attacked, labels):
    rows = torch.arange(len(labels))
    p, q = clean.softmax(1), attacked.softmax(1)
    others = q.scatter(1, labels[:, None], -1.0)
    boosted = -q[rows, labels].log() - (1.0001 - others.max(1).values + 1e-12).log()
    kl = (p * (p.log() - (q + 1e-12).log())).sum(1)
    return (boosted + BETA * kl * (1.0000001 - p[rows, labels])).mean()


def trades_by_hand(clean, attacked, labels):
    p, q, hit = clean.softmax(1), attacked.softmax(1), F.one_hot(labels, CLASSES)
    ratio = p.log() - q.log()
    kl = (p * ratio).sum(1, keepdim=True)
    return (p - hit + BETA * p * (ratio - kl)) / len(labels), BETA * (q - p) / len(labels)


def mart_by_hand(clean, attacked, labels):
    p, q, hit = clean.softmax(1), attacked.softmax(1), F.one_hot(labels, CLASSES)
    wrong = F.one_hot(q.scatter(1, labels[:, None], -1.0).argmax(1), CLASSES)
    most = (q * wrong).sum(1, keepdim=True)
    boost = most / (1.0001 - most + 1e-12)
    ratio = p.log() - (q + 1e-12).log()
    kl = (p * ratio).sum(1, keepdim=True)
    true = (p * hit).sum(1, keepdim=True)
    weight = 1.0000001 - true
    passed = p * q / (q + 1e-12)
    d_clean = BETA * (weight * p * (ratio - kl) - kl * true * (hit - p))
    d_attacked = q - hit + boost * (wrong - q) + BETA * weight * (q * passed.sum(1, keepdim=True) - passed)
    return d_clean / len(labels), d_attacked / len(labels)


LOSSES = {
    "trades": (trades_as_released, trades_as_published, trades_by_hand),
    "mart": (mart_as_released, mart_as_published, mart_by_hand),
}


def evaluate(loss, clean, attacked, labels, dtype):
    sides = [side.to(dtype).clone().requires_grad_() for side in (clean, attacked)]
    value = loss(*sides, labels)
    return [value.detach().double().reshape(1), *(g.double() for g in torch.autograd.grad(value, sides))]


def error(ours, theirs):
    """Largest difference, of the largest value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


def make():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(11)
    tensors, measured = {}, {}
    for name, scale in SETS.items():
        clean, attacked, labels = batch(name, scale, generator)
        tensors |= {f"{name}.clean": clean, f"{name}.attacked": attacked, f"{name}.labels": labels.to(torch.int32)}
        for method, (released, published, by_hand) in LOSSES.items():
            truth = evaluate(released, clean, attacked, labels, torch.float64)
            second = evaluate(published, clean, attacked, labels, torch.float64)
            third = [truth[0], *by_hand(clean.double(), attacked.double(), labels)]
            for other in (second, third):
                worst = max(error(a, b) for a, b in zip(other, truth))
                assert worst < 1e-11, (name, method, worst)
            single = evaluate(released, clean, attacked, labels, torch.float32)
            keys = [f"{name}.{method}.{what}" for what in ("loss", "d_clean", "d_attacked")]
            tensors |= dict(zip(keys, truth))
            measured |= {key: error(a, b) for key, a, b in zip(keys, single, truth)}
    config = {"beta": BETA, "error of float32": measured}
    return save(tensors, metadata={"config": json.dumps(config, sort_keys=True)}), config


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    data, config = make()
    print(json.dumps(config, indent=2))
    if check:
        sys.exit(PATH.read_bytes() != data)
    PATH.write_bytes(data)
