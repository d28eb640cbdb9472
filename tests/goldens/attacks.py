#!/usr/bin/env python3
"""Writes attacks.safetensors, attacks_golden.safetensors and clopper_pearson.csv: what MIM and Patch-Fool do to a small
model of random weights, computed by PyTorch in float64 as the attacks' public implementations compute it, and confidence
intervals by SciPy.

    python tests/goldens/attacks.py            # rewrites the files, prints what was measured
    python tests/goldens/attacks.py --check    # rewrites nothing; exit status 1 if a file would change
"""

import argparse
import json
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save
from scipy.stats import beta
from timm.layers import set_fused_attn
from timm.models.vision_transformer import VisionTransformer

from make import HERE, MEAN, STD, Normalised, float32_exact, randomise

MODEL = {"img_size": 16, "patch_size": 4, "depth": 6, "num_classes": 5, "qkv_bias": True, "embed_dim": 16,
         "num_heads": 2, "mlp_ratio": 2.0}
MIM = {"eps": 8 / 255, "alpha": 2 / 255, "steps": 10, "decay": 1.0}
# A weight that is felt: with the attack's own .002 an error in the attention part could hide.
PATCH = {"steps": 12, "lr": 0.22, "decay_every": 10, "decay": 0.95, "attention_weight": 0.5, "select_block": 4}
BATCH = 3


def build(dtype):
    generator = torch.Generator().manual_seed(11)
    model = VisionTransformer(**MODEL).double()
    randomise(model, generator)
    return Normalised(model.eval()).to(dtype), generator


def mim(function, images, labels):
    """The last iterate, the loss before each step and after the last, and the smallest |velocity| met beside the largest."""
    adversarial, velocity = images.clone(), torch.zeros_like(images)
    losses, safety = [], []
    for _ in range(MIM["steps"]):
        adversarial.requires_grad_()
        loss = F.cross_entropy(function(adversarial), labels)
        (gradient,) = torch.autograd.grad(loss, adversarial)
        losses.append(loss.item())
        velocity = MIM["decay"] * velocity + gradient / gradient.abs().mean(dim=(1, 2, 3), keepdim=True)
        sizes = velocity.abs().flatten(1)
        safety.append((sizes.amin(1) / sizes.amax(1)).min().item())
        moved = adversarial.detach() + MIM["alpha"] * velocity.sign()
        adversarial = (images + (moved - images).clamp(-MIM["eps"], MIM["eps"])).clamp(0, 1)
    losses.append(F.cross_entropy(function(adversarial), labels).item())
    return adversarial.detach(), losses, min(safety)


def attended(function, normalised):
    """Logits, and each block's attention [b, heads, queries, keys]."""
    maps = []
    hooks = [block.attn.attn_drop.register_forward_hook(lambda _, __, out: maps.append(out))
             for block in function.model.blocks]
    logits = function.model(normalised)
    for hook in hooks:
        hook.remove()
    return logits, maps


def patch_scores(function, normalised, labels):
    """What patches are chosen by: mean attention received in one block, and sums of absolute gradients."""
    normalised = normalised.clone().requires_grad_()
    logits, maps = attended(function, normalised)
    received = maps[PATCH["select_block"]].mean(dim=1).mean(dim=1)[:, 1:]
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), normalised)
    size = MODEL["patch_size"]
    saliency = F.avg_pool2d(gradient.abs().sum(1, keepdim=True), size).flatten(1) * size * size
    return received.detach(), saliency.detach()


def patch_fool(function, image, label, patch, start, published):
    """One image, as a batch of one: losses before each step and after the last, the last patch, and how often the gradients
    conflicted."""
    size, per_row = MODEL["patch_size"], MODEL["img_size"] // MODEL["patch_size"]
    row, column = patch // per_row * size, patch % per_row * size
    mask = torch.zeros_like(image)
    mask[..., row:row + size, column:column + size] = 1
    clean = (image - function.mean) / function.std
    low, high = (0 - function.mean) / function.std, (1 - function.mean) / function.std
    pixels = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([pixels], lr=PATCH["lr"])
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, PATCH["decay_every"], PATCH["decay"])
    losses, conflicts = [], 0
    for _ in range(PATCH["steps"]):
        logits, maps = attended(function, clean * (1 - mask) + pixels * mask)
        loss = F.cross_entropy(logits, label)
        losses.append(loss.item())
        (main,) = torch.autograd.grad(loss, pixels, retain_graph=True)
        total = main.clone()
        for block in range(1, len(maps) // 2):
            received = maps[block].mean(dim=1)[0, :, patch + 1].log().mean()
            (side,) = torch.autograd.grad(received, pixels, retain_graph=True)
            product = (side * main).sum()
            if product < 0:
                conflicts += 1
                norm = main.norm()
                side = side - product / (norm if published else norm * norm) * main
            total += PATCH["attention_weight"] * side
        optimizer.zero_grad()
        pixels.grad = -total
        optimizer.step()
        schedule.step()
        pixels.data = torch.minimum(torch.maximum(pixels.data, low), high)
    losses.append(F.cross_entropy(function.model(clean * (1 - mask) + pixels * mask), label).item())
    return losses, pixels.detach(), mask, conflicts


def patch_runs(function, images, labels, start, received):
    """Both projections over all images: losses [2, b, steps + 1], last patches [2, b, c, h, w], conflicts."""
    results, conflicts = {"losses": [], "pixels": []}, 0
    for published in (False, True):
        runs = [patch_fool(function, images[i:i + 1], labels[i:i + 1], received[i].argmax().item(), start[i:i + 1], published)
                for i in range(BATCH)]
        results["losses"].append(torch.tensor([run[0] for run in runs], dtype=torch.float64))
        results["pixels"].append(torch.cat([run[1] * run[2] for run in runs]))
        conflicts += sum(run[3] for run in runs)
    return torch.stack(results["losses"]), torch.stack(results["pixels"]), conflicts


def attack_files():
    function, generator = build(torch.float64)
    weights = {key: value.float().contiguous() for key, value in function.model.state_dict().items()}
    draws = 0
    while True:  # until float32 need not guess a sign
        draws += 1
        images = float32_exact(torch.rand(BATCH, 3, 16, 16, generator=generator, dtype=torch.float64))
        labels = torch.randint(0, 5, (BATCH,), generator=generator)
        adversarial, losses, safety = mim(function, images, labels)
        if safety > 3e-5:
            break
    clean = (images - function.mean) / function.std
    received, saliency = patch_scores(function, clean, labels)
    start = float32_exact((torch.rand(images.shape, generator=generator, dtype=torch.float64) - function.mean) / function.std)
    patch_losses, pixels, conflicts = patch_runs(function, images, labels, start, received)

    narrow = build(torch.float32)[0]
    near, near_losses, _ = mim(narrow, images.float(), labels)
    narrow_losses, narrow_pixels, _ = patch_runs(narrow, images.float(), labels, start.float(), received)
    print(f"mim: {draws} draws, loss {losses[0]:.4f} -> {losses[-1]:.4f}, smallest |velocity| / largest {safety:.1e}; "
          f"PyTorch's own float32: losses {max(abs(a - b) / b for a, b in zip(near_losses, losses)):.1e}, "
          f"iterate {(near - adversarial).abs().max().item():.1e}")
    print(f"patch-fool: losses of the first image {patch_losses[0, 0, 0]:.4f} -> {patch_losses[0, 0, -1]:.4f}, "
          f"{conflicts} conflicts in {2 * BATCH * PATCH['steps'] * (MODEL['depth'] // 2 - 1)}; projections differ by "
          f"{(pixels[0] - pixels[1]).abs().max().item():.1e}; PyTorch's own float32: losses "
          f"{((narrow_losses - patch_losses) / patch_losses).abs().max().item():.1e}, "
          f"pixels {(narrow_pixels - pixels).abs().max().item():.1e}")
    golden = {
        "images": images.float(), "labels": labels,
        "mim.losses": torch.tensor(losses, dtype=torch.float64), "mim.adversarial": adversarial.float(),
        "patch.received": received, "patch.saliency": saliency, "patch.start": start.float(),
        "patch.losses": patch_losses, "patch.pixels": pixels.float(),
    }
    golden = {key: value.contiguous() for key, value in golden.items()}
    config = {**MODEL, "mean": MEAN, "std": STD, "layer_norm_eps": 1e-6}
    settings = {"model": config, "mim": {**MIM, "eps": "8/255", "alpha": "2/255"}, "patch": PATCH}
    return {
        "attacks.safetensors": save(weights, {"config": json.dumps(config, sort_keys=True)}),
        "attacks_golden.safetensors": save(golden, {"config": json.dumps(settings, sort_keys=True)}),
    }


def clopper_pearson():
    """Exact two-sided intervals of a proportion: k of n successes."""
    lines = ["k,n,confidence,low,high"]
    for n in (1, 2, 7, 30, 100, 1000, 50000, 1000000):
        for k in sorted({0, 1, n // 10, n // 3, n // 2, n - 1, n}):
            for confidence in (0.9, 0.95, 0.99):
                tail = (1 - confidence) / 2
                low = 0.0 if k == 0 else beta.ppf(tail, k, n - k + 1)
                high = 1.0 if k == n else beta.ppf(1 - tail, k + 1, n - k)
                lines.append(f"{k},{n},{confidence},{float(low)!r},{float(high)!r}")
    return {"clopper_pearson.csv": ("\n".join(lines) + "\n").encode()}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--check", action="store_true")
    check = arguments.parse_args().check
    torch.set_num_threads(1)
    set_fused_attn(False)
    changed = []
    for name, data in {**attack_files(), **clopper_pearson()}.items():
        path = HERE / name
        if not path.exists() or path.read_bytes() != data:
            changed.append(name)
            if not check:
                path.write_bytes(data)
    print("changed:", ", ".join(changed) or "nothing")
    sys.exit(1 if check and changed else 0)


if __name__ == "__main__":
    main()
