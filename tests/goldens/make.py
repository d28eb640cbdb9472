#!/usr/bin/env python3
"""Writes the golden files of this folder from PyTorch and timm.

    python tests/goldens/make.py            # rewrites the files, prints what was measured
    python tests/goldens/make.py --check    # rewrites nothing; exit status 1 if a file would change

Everything is computed in float64 from inputs that are exact in float32. README.md says what each file holds.
"""

import argparse
import json
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save
from timm.layers import resample_abs_pos_embed, set_fused_attn
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer

HERE = pathlib.Path(__file__).resolve().parent
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
SGD = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4, "steps": 10}
PGD = {"eps": 8 / 255, "alpha": 2 / 255, "steps": 5}
COMMON = {"img_size": 16, "patch_size": 4, "depth": 2, "num_classes": 5, "qkv_bias": True}
BATCH = 3

MODELS = {
    "vit": (VisionTransformer, {**COMMON, "embed_dim": 32, "num_heads": 2, "mlp_ratio": 4.0}, 1),
    "deit": (VisionTransformerDistilled, {**COMMON, "embed_dim": 24, "num_heads": 3, "mlp_ratio": 3.0}, 2),
}


def float32_exact(tensor):
    """Rounds to the nearest float32 and returns float64: the files hold exactly what was computed with."""
    return tensor.to(torch.float32).to(torch.float64)


def randomise(model, generator):
    """Draws every parameter afresh, at scales where no branch, bias, gain or attention row is degenerate."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        if "norm" in name and name.endswith("weight"):
            value = 1.0 + 0.2 * noise
        elif name.endswith("bias"):
            value = 0.2 * noise
        elif parameter.ndim == 2 or parameter.ndim == 4:
            fan_in = parameter[0].numel()
            value = noise * fan_in**-0.5
        else:  # cls_token, dist_token, pos_embed
            value = 0.5 * noise
        parameter.data = float32_exact(value)


class Normalised(torch.nn.Module):
    """The compared function: images in [0, 1] in, logits out."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(MEAN, dtype=torch.float64).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD, dtype=torch.float64).view(1, 3, 1, 1))

    def features(self, images):  # [b, prefix, d], after the final LayerNorm
        return self.model.forward_features((images - self.mean) / self.std)

    def forward(self, images):
        return self.model((images - self.mean) / self.std)


def build(name):
    """The model in eval mode, its configuration and the generator that goes on to draw the data."""
    constructor, config, seed = MODELS[name]
    generator = torch.Generator().manual_seed(seed)
    model = constructor(**config).double()
    randomise(model, generator)
    return Normalised(model.eval()), generator


def gradients(function, images, labels):
    """Logits and the gradients of the mean cross-entropy to the images and to every parameter."""
    images = images.clone().requires_grad_()
    parameters = dict(function.model.named_parameters())
    logits = function(images)
    loss = F.cross_entropy(logits, labels)
    d_images, *d_parameters = torch.autograd.grad(loss, [images, *parameters.values()])
    return logits.detach(), loss.detach(), d_images, dict(zip(parameters, d_parameters))


def sgd_losses(function, images, labels):
    """Loss before each of the steps of torch.optim.SGD on the whole batch, and after the last one."""
    optimizer = torch.optim.SGD(function.model.parameters(), **{k: v for k, v in SGD.items() if k != "steps"})
    losses = []
    for _ in range(SGD["steps"]):
        loss = F.cross_entropy(function(images), labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    losses.append(F.cross_entropy(function(images), labels).item())
    return losses


def pgd(function, images, labels, noise):
    """PGD-Linf from clip(images + noise): losses at the start and after every step, the last iterate, and the smallest
    gradient magnitude met, relative to the largest of its step (how safe the signs are in float32)."""
    losses, safety = [], []
    adversarial = (images + noise).clamp(0, 1)
    for _ in range(PGD["steps"]):
        adversarial.requires_grad_()
        loss = F.cross_entropy(function(adversarial), labels)
        (gradient,) = torch.autograd.grad(loss, adversarial)
        losses.append(loss.item())
        safety.append((gradient.abs().amin() / gradient.abs().amax()).item())
        moved = adversarial.detach() + PGD["alpha"] * gradient.sign()
        delta = (moved - images).clamp(-PGD["eps"], PGD["eps"])
        adversarial = (images + delta).clamp(0, 1)
    losses.append(F.cross_entropy(function(adversarial), labels).item())
    return losses, adversarial.detach(), min(safety)


def decided_pgd(function, images, labels, generator):
    """Redraws the random start until no gradient of the trajectory is so near 0 that float32 could turn its sign: the
    final images are then one definite answer for every implementation."""
    while True:
        noise = float32_exact((2 * torch.rand(images.shape, generator=generator, dtype=torch.float64) - 1) * PGD["eps"])
        losses, adversarial, safety = pgd(function, images, labels, noise)
        if safety > 3e-5:
            return noise, losses, adversarial, safety


def nmse(value, reference):
    return ((value.double() - reference).square().sum() / reference.square().sum()).item()


def relative(values, reference):
    return max(abs(value - exact) / exact for value, exact in zip(values, reference.tolist()))


def float32_errors(name, reference):
    """Errors of the same computation run by PyTorch in float32: a yardstick, not a golden. Normalised mean squared error
    for the tensors, largest relative error for the losses."""
    function = build(name)[0].float()
    images, noise, labels = reference["images"].float(), reference["pgd.noise"].float(), reference["labels"]
    logits, _, d_images, d_parameters = gradients(function, images, labels)
    pgd_losses, adversarial, _ = pgd(function, images, labels, noise)
    return {
        "logits": nmse(logits, reference["logits"]),
        "d_images": nmse(d_images, reference["d_images"]),
        "worst parameter": max(nmse(d_parameters[key], reference["grad." + key]) for key in d_parameters),
        "pgd.losses": relative(pgd_losses, reference["pgd.losses"]),
        "pgd.adversarial (absolute)": (adversarial.double() - reference["pgd.adversarial"]).abs().max().item(),
        "sgd.losses": relative(sgd_losses(function, images, labels), reference["sgd.losses"]),
    }


def model_files(name):
    """The bytes of NAME.safetensors and NAME_golden.safetensors."""
    function, generator = build(name)
    config = {**MODELS[name][1], "mean": MEAN, "std": STD, "distilled": name == "deit", "layer_norm_eps": 1e-6}
    weights = {key: value.float().contiguous() for key, value in function.model.state_dict().items()}

    images = float32_exact(torch.rand(BATCH, 3, 16, 16, generator=generator, dtype=torch.float64))
    labels = torch.randint(0, 5, (BATCH,), generator=generator)

    logits, loss, d_images, d_parameters = gradients(function, images, labels)
    with torch.no_grad():
        tokens = function.features(images)
    golden = {"images": images, "labels": labels, "logits": logits, "loss": loss.view(1), "features": tokens[:, 0], "d_images": d_images}
    if name == "deit":
        golden["features_dist"] = tokens[:, 1]
    golden.update({"grad." + key: value for key, value in d_parameters.items()})

    noise, losses, adversarial, safety = decided_pgd(function, images, labels, generator)
    golden.update({"pgd.noise": noise, "pgd.losses": torch.tensor(losses, dtype=torch.float64), "pgd.adversarial": adversarial})
    golden["sgd.losses"] = torch.tensor(sgd_losses(function, images, labels), dtype=torch.float64)
    errors = float32_errors(name, golden)

    double = {"logits", "loss", "pgd.losses", "sgd.losses"}
    golden = {k: (v if k in double or v.dtype == torch.int64 else v.float()).contiguous() for k, v in golden.items()}
    print(f"{name}: loss {loss.item():.4f}, sgd {golden['sgd.losses'][0]:.4f} -> {golden['sgd.losses'][-1]:.4f}, "
          f"pgd {losses[0]:.4f} -> {losses[-1]:.4f}, smallest |gradient| / largest {safety:.1e}")
    print("   errors of PyTorch's own float32:", ", ".join(f"{k} {v:.1e}" for k, v in errors.items()))
    # One metadata key each: safetensors writes several in no fixed order.
    settings = {"model": config, "sgd": SGD, "pgd": {**PGD, "eps": "8/255", "alpha": "2/255"}}
    return {
        f"{name}.safetensors": save(weights, {"config": json.dumps(config, sort_keys=True)}),
        f"{name}_golden.safetensors": save(golden, {"config": json.dumps(settings, sort_keys=True)}),
    }


def resample(position, new, prefix):
    """timm's bicubic antialiased resampling in float64, checked against timm's own function, which works in float32."""
    grid = position[:, prefix:]
    old = int(grid.shape[1] ** 0.5)
    grid = grid.reshape(1, old, old, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=(new, new), mode="bicubic", antialias=True)
    grid = grid.permute(0, 2, 3, 1).reshape(1, new * new, -1)
    result = torch.cat([position[:, :prefix], grid], dim=1)
    timm = resample_abs_pos_embed(position.float(), new_size=[new, new], num_prefix_tokens=prefix, interpolation="bicubic", antialias=True)
    torch.testing.assert_close(timm.double(), result, rtol=0, atol=2e-6)
    return result


def shrink_patch(kernel, patch):
    """Sums the blocks of a [d, c, p, p] kernel so that [d, c, patch, patch] remains (methods: CIFAR adaptation)."""
    d, c, p, _ = kernel.shape
    factor = p // patch
    small = kernel.reshape(d, c, patch, factor, patch, factor).sum(dim=(3, 5))
    image = torch.linspace(-1, 1, c * 4 * patch * patch, dtype=torch.float64).sin().view(1, c, 2 * patch, 2 * patch)
    enlarged = F.interpolate(image, scale_factor=factor, mode="nearest")
    torch.testing.assert_close(F.conv2d(image, small, stride=patch), F.conv2d(enlarged, kernel, stride=p), rtol=1e-12, atol=1e-12)
    return small


def adapt_file():
    generator = torch.Generator().manual_seed(3)

    def draw(*shape):
        return float32_exact(torch.randn(*shape, generator=generator, dtype=torch.float64))

    down, up, kernel = draw(1, 1 + 14 * 14, 8), draw(1, 2 + 5 * 5, 4), draw(2, 3, 16, 16)
    tensors = {
        "down.pos_embed": down, "down.resampled": resample(down, 8, 1),
        "up.pos_embed": up, "up.resampled": resample(up, 8, 2),
        "patch.kernel": kernel, "patch.adapted": shrink_patch(kernel, 4),
    }
    return {"adapt_golden.safetensors": save({k: v.float().contiguous() for k, v in tensors.items()})}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    check = parser.parse_args().check
    # One thread and unfused attention: the summation order, so the bytes, don't depend on the number of cores.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    set_fused_attn(False)

    files = {**model_files("vit"), **model_files("deit"), **adapt_file()}
    changed = []
    for name, data in files.items():
        path = HERE / name
        if not path.exists() or path.read_bytes() != data:
            changed.append(name)
            if not check:
                path.write_bytes(data)
    print(f"{sum(map(len, files.values()))} bytes in {len(files)} files; {'differ' if check else 'written'}: {', '.join(changed) or 'none'}")
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
