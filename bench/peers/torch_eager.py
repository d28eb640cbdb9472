#!/usr/bin/env python3
"""PyTorch eager, float32: the peer that Vitrum's steps are compared with, on the CPU or on an NVIDIA GPU.

    python bench/peers/torch_eager.py                                  # every bench, one JSON line each
    python bench/peers/torch_eager.py --bench sgemm_2048 --reps 20
    python bench/peers/torch_eager.py --once                           # one bench name per line of stdin, one JSON line each
    python bench/peers/torch_eager.py --device cuda

README.md describes the benches, the JSON and the line protocol. Needs torch and timm.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time

import timm
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer

EPS, ALPHA, PGD_STEPS = 8 / 255, 2 / 255, 10


class Normalised(torch.nn.Module):
    """Takes images in [0, 1] as Vitrum's models do."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, images):
        return self.model((images - self.mean) / self.std)


class Step:
    """One training step on a fixed batch of random images; with `attack`, on adversarial images made first."""

    def __init__(self, device, model, batch, size, classes, attack=False):
        self.model = Normalised(model).to(device)
        self.images = torch.rand(batch, 3, size, size, device=device)
        self.labels = torch.randint(0, classes, (batch,), device=device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)
        self.attack = attack

    def pgd(self):
        delta = torch.empty_like(self.images).uniform_(-EPS, EPS)
        adversarial = (self.images + delta).clamp(0, 1)
        for _ in range(PGD_STEPS):
            adversarial.requires_grad_()
            loss = F.cross_entropy(self.model(adversarial), self.labels)
            # Asked for the images alone, autograd computes no weight gradient.
            (gradient,) = torch.autograd.grad(loss, adversarial)
            with torch.no_grad():
                delta = (adversarial + ALPHA * gradient.sign() - self.images).clamp(-EPS, EPS)
                adversarial = (self.images + delta).clamp(0, 1)
        return adversarial

    def __call__(self):
        images = self.pgd() if self.attack else self.images
        loss = F.cross_entropy(self.model(images), self.labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.item()


class Sgemm:
    def __init__(self, device, side):
        self.flops = 2 * side**3
        self.a, self.b, self.c = (torch.rand(side, side, device=device) for _ in range(3))

    def __call__(self):
        torch.mm(self.a, self.b, out=self.c)
        if self.c.is_cuda:
            torch.cuda.synchronize()


def vit_ti16():
    return timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=1000)


def deit_ti_65():
    """DeiT-Ti at 32 pixels with patch 4: 64 patches and the class token."""
    return VisionTransformer(img_size=32, patch_size=4, embed_dim=192, depth=12, num_heads=3, num_classes=10)


BENCHES = {
    "vit_ti16_224_train_b8": lambda device: Step(device, vit_ti16(), 8, 224, 1000),
    "deit_ti_65_train_b64": lambda device: Step(device, deit_ti_65(), 64, 32, 10),
    "deit_ti_65_train_b128": lambda device: Step(device, deit_ti_65(), 128, 32, 10),
    "deit_ti_65_pgd10_b64": lambda device: Step(device, deit_ti_65(), 64, 32, 10, attack=True),
    "deit_ti_65_pgd10_b128": lambda device: Step(device, deit_ti_65(), 128, 32, 10, attack=True),
    "sgemm_2048": lambda device: Sgemm(device, 2048),
    "sgemm_4096": lambda device: Sgemm(device, 4096),
}


def peak_rss_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Runner:
    """Builds and warms a bench up on its first use, drops it when another one is asked for."""

    def __init__(self, reps, device):
        self.reps, self.device, self.name, self.step = reps, device, None, None
        self.base_rss_mb = peak_rss_mb()

    def answer(self, name):
        if name not in BENCHES:
            return {"bench": name, "peer": "torch", "error": "unknown bench, one of " + ", ".join(BENCHES)}
        if name != self.name:
            self.step = None
            torch.manual_seed(0)
            self.name, self.step = name, BENCHES[name](self.device)
            self.step()
        times = []
        for _ in range(self.reps):
            start = time.perf_counter()
            self.step()
            times.append((time.perf_counter() - start) * 1e3)
        quantiles = statistics.quantiles(times, n=5, method="inclusive") if len(times) > 1 else times * 4
        result = {
            "bench": name,
            "peer": "torch",
            "threads": torch.get_num_threads(),
            "median_ms": round(statistics.median(times), 3),
            "p20_ms": round(quantiles[0], 3),
            "p80_ms": round(quantiles[3], 3),
            "reps": self.reps,
            "peak_rss_mb": round(peak_rss_mb(), 1),
            "base_rss_mb": round(self.base_rss_mb, 1),
            "versions": {"torch": torch.__version__, "timm": timm.__version__, "python": platform.python_version()},
        }
        if self.device == "cuda":
            result["adapter"] = torch.cuda.get_device_name()
            result["device_mb"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
        if hasattr(self.step, "flops"):
            result["gflops"] = round(self.step.flops / result["median_ms"] / 1e6, 1)
        return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", choices=BENCHES, action="append", help="may be repeated; default: all")
    parser.add_argument("--reps", type=int, help="timed steps per measurement (default 10, with --once 1)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--once", action="store_true", help="answer bench names read from stdin")
    arguments = parser.parse_args()
    benches = arguments.bench or list(BENCHES)
    if len(benches) > 1 and not arguments.once:
        # A process each, so that every peak memory is its own bench's.
        options = ["--threads", str(arguments.threads), "--device", arguments.device] + (["--reps", str(arguments.reps)] if arguments.reps else [])
        for name in benches:
            subprocess.run([sys.executable, __file__, "--bench", name, *options], check=True)
        return
    torch.set_num_threads(arguments.threads)
    torch.set_num_interop_threads(1)

    runner = Runner(arguments.reps or (1 if arguments.once else 10), arguments.device)
    names = (line.strip() for line in sys.stdin) if arguments.once else benches
    for name in names:
        if name:
            print(json.dumps(runner.answer(name)), flush=True)


if __name__ == "__main__":
    main()
