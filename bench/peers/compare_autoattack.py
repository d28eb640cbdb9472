#!/usr/bin/env python3
"""AutoAttack standard of the public implementation and of Vitrum, on the same weights and images.

    pip install torch timm safetensors numpy pyautoattack     # Python 3.9 or later
    cargo build --release
    python bench/peers/compare_autoattack.py --weights runs/robust/model.safetensors --data cifar-10-batches-bin --limit 100 --out DIR

Robust accuracy of both, seconds of both, and their ratio. --only ours|public runs one of them. timm loads Vitrum's checkpoint; the
normaliser that its metadata name is inside the model. Both run with the same number of threads, one after the other.
"""

import argparse
import json
import logging
import pathlib
import subprocess
import tempfile
import time

import numpy as np
import torch
from pyautoattack.autoattack import AutoAttack
from safetensors import safe_open
from timm.models.vision_transformer import VisionTransformer

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Model(torch.nn.Module):
    """A checkpoint of Vitrum in timm, with its normaliser."""

    def __init__(self, path):
        super().__init__()
        with safe_open(path, "pt") as file:
            config = json.loads(file.metadata()["vitrum.config"])
            weights = {key: file.get_tensor(key) for key in file.keys()}
        self.vit = VisionTransformer(
            img_size=tuple(config["image"]),
            patch_size=config["patch"],
            in_chans=config["channels"],
            embed_dim=config["width"],
            depth=config["depth"],
            num_heads=config["heads"],
            mlp_ratio=config["mlp_width"] / config["width"],
            num_classes=config["classes"],
            act_layer={"gelu": torch.nn.GELU, "relu": torch.nn.ReLU}[config["activation"]],
        )
        self.vit.load_state_dict(weights)
        shape = (1, config["channels"], 1, 1)
        self.register_buffer("mean", torch.tensor(config["normalisation"]["mean"]).view(shape))
        self.register_buffer("std", torch.tensor(config["normalisation"]["std"]).view(shape))

    def forward(self, x):
        return self.vit((x - self.mean) / self.std)


def images(folder, limit):
    """The first images of CIFAR-10's binary test file."""
    rows = np.fromfile(pathlib.Path(folder) / "test_batch.bin", np.uint8).reshape(-1, 3073)[:limit]
    x = torch.from_numpy(rows[:, 1:].astype(np.float32) / 255).view(-1, 3, 32, 32)
    return x, torch.from_numpy(rows[:, 0].astype(np.int64))


def public(args, eps):
    torch.set_num_threads(args.threads)
    model = Model(args.weights).eval()
    x, y = images(args.data, args.limit)
    lines = []
    logger = logging.getLogger("auto-attack")
    logger.setLevel(logging.DEBUG)
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger.addHandler(handler)
    attack = AutoAttack(model, norm="Linf", eps=eps, version="standard", seed=args.seed, device="cpu")
    start = time.perf_counter()
    adversarial, _ = attack.run_standard_evaluation(x, y, batch_size=args.batch)
    seconds = time.perf_counter() - start
    with torch.no_grad():
        robust = (model(adversarial).argmax(1) == y).float().mean().item()
        clean = (model(x).argmax(1) == y).float().mean().item()
    stages = [line for line in lines if line.startswith("robust accuracy after")]
    return {"clean": clean, "robust": robust, "seconds": seconds, "stages": stages}


def ours(args, eps_text):
    command = [args.vitrum, "autoattack", "--weights", args.weights, "--data", args.data, "--limit", args.limit, "--eps", eps_text,
               "--seed", args.seed, "--batch", args.batch, "--threads", args.threads, "--json"]
    start = time.perf_counter()
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    report = json.loads(done.stdout)["report"]
    stages = [{key: stage[key] for key in ("name", "attacked", "fooled", "survivors", "passes")} for stage in report["stages"]]
    return {"clean": report["clean"] / report["total"], "robust": report["robust_accuracy"], "seconds": seconds, "stages": stages}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", required=True, help="folder with test_batch.bin")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--eps", default="8/255")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["ours", "public"])
    parser.add_argument("--vitrum", default=str(ROOT / "target" / "release" / "vitrum"))
    parser.add_argument("--out", default=tempfile.gettempdir())
    args = parser.parse_args()
    above, below = args.eps.split("/")
    result = {"images": args.limit, "eps": args.eps, "threads": args.threads, "torch": torch.__version__}
    if args.only != "public":
        result["ours"] = ours(args, args.eps)
    if args.only != "ours":
        result["public"] = public(args, int(above) / int(below))
    if not args.only:
        result["ratio"] = result["public"]["seconds"] / result["ours"]["seconds"]
    path = pathlib.Path(args.out) / f"autoattack-{args.limit}{'-' + args.only if args.only else ''}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
