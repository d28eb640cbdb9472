#!/usr/bin/env python3
"""PyTorch on an NVIDIA GPU: every row of `vitrum bench --suite`, in each variant that PyTorch offers.

    vitrum bench --list --json --bf16 > list.json
    python bench/peers/torch_gpu.py --list list.json                     # every row, one JSON line each
    python bench/peers/torch_gpu.py --list list.json --bench gemm_8192   # one row
    python bench/peers/torch_gpu.py --list list.json --once              # a name per line of stdin, one JSON line each

Shapes and dtype come from the list. A repetition is timed as Vitrum times it: L2 flushed, then one event before and one after;
25 ms of warm-up, 100 ms of samples, random inputs. A variant that can't run is reported with its reason. With --device cpu, and
a list made with --tiny, everything runs in a minute: a test of this file. Needs torch and timm.
"""

import argparse
import contextlib
import json
import math
import platform
import statistics
import sys
import time
import warnings

import timm
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from torch_steps import ALPHA, EPS, compiled, step

FLUSH_BYTES = 256 << 20
WARM_UP_S = 0.025
SDPA = {
    "sdpa flash": SDPBackend.FLASH_ATTENTION,
    "sdpa cudnn": SDPBackend.CUDNN_ATTENTION,
    "sdpa efficient": SDPBackend.EFFICIENT_ATTENTION,
    "sdpa math": SDPBackend.MATH,
}


class Place:
    """The device, the dtype of a network's tensors, and the clock."""

    def __init__(self, device, dtype):
        self.device, self.dtype = torch.device(device), dtype
        self.cuda = device == "cuda"
        self.flush = None
        if self.cuda:
            cache = torch.cuda.get_device_properties(0).L2_cache_size
            self.flush = torch.empty(max(FLUSH_BYTES, 2 * cache), dtype=torch.uint8, device=device)

    def normal(self, *dims, scale=1.0, dtype=None, grad=False):
        values = torch.randn(*dims, device=self.device, dtype=torch.float32) * scale
        return values.to(dtype or self.dtype).requires_grad_(grad)

    def sample(self, run, before):
        """Milliseconds of one `run`; `before` and the flush are not timed."""
        if before:
            before()
        if not self.cuda:
            start = time.perf_counter()
            run()
            return (time.perf_counter() - start) * 1e3
        self.flush.zero_()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end)

    def measure(self, run, before, seconds):
        start = time.perf_counter()
        self.sample(run, before)
        while time.perf_counter() - start < WARM_UP_S:
            self.sample(run, before)
        start, times = time.perf_counter(), []
        while len(times) < 5 or (time.perf_counter() - start < seconds and len(times) < 2000):
            times.append(self.sample(run, before))
        fifths = statistics.quantiles(times, n=5, method="inclusive")
        return {
            "median_ms": statistics.median(times),
            "p20_ms": fifths[0],
            "p80_ms": fifths[3],
            "min_ms": min(times),
            "reps": len(times),
        }

    def autocast(self, cached=True):
        on = self.dtype == torch.bfloat16
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=on, cache_enabled=cached)

    def graphed(self, run, warm_ups=3):
        """`run` captured as one CUDA graph; its replay."""
        if not self.cuda:
            raise RuntimeError("CUDA graphs need a GPU")
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(warm_ups):
                run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        return graph.replay


def gradients(forward, leaves, cotangent):
    """`forward` untimed, then its gradients, timed. Gives (run, before)."""
    held = {}

    def before():
        held["out"] = forward()

    def run():
        return torch.autograd.grad(held.pop("out"), leaves, cotangent)

    return run, before


# Each of these gives the variants of a row: names with functions that build (run, before).


def linear(place, shape):
    if shape["epilogue"] == "none":
        return product(place, shape)
    m, n, k = shape["m"], shape["n"], shape["k"]
    backward = shape["pass"] == "backward"
    x, w = place.normal(m, k, grad=True), place.normal(n, k, scale=k**-0.5, grad=True)
    b, dy = place.normal(n, grad=True), place.normal(m, n)
    if shape["epilogue"] == "bias_gelu":
        function = lambda: F.gelu(F.linear(x, w, b))  # noqa: E731
    else:
        function = lambda: F.linear(x, w, b) + dy  # noqa: E731

    def of(forward):
        return gradients(forward, [x, w, b], dy) if backward else (forward, None)

    variants = {
        "separate": lambda: of(function),
        "compile": lambda: of(compiled(function)),
        "max-autotune": lambda: of(compiled(function, "max-autotune-no-cudagraphs")),
    }
    if shape["epilogue"] == "bias_gelu" and not backward:
        # cuBLASLt's epilogue approximates GELU by tanh, and keeps nothing for backward.
        fused = lambda: torch._addmm_activation(b, x, w.t(), use_gelu=True)  # noqa: E731
        variants["cublaslt gelu by tanh"] = lambda: (no_grad(fused), None)
    return variants


def no_grad(function):
    def run():
        with torch.no_grad():
            return function()

    return run


def product(place, shape):
    m, n, k = shape["m"], shape["n"], shape["k"]
    if shape["pass"] == "forward":
        a, b, out = place.normal(m, k), place.normal(n, k).t(), place.normal(m, n)
    elif shape["pass"] == "dx":
        a, b, out = place.normal(m, n), place.normal(n, k), place.normal(m, k)
    else:
        a, b, out = place.normal(m, n).t(), place.normal(m, k), place.normal(n, k)

    def by(library):
        def before():
            torch.backends.cuda.preferred_blas_library(library)

        return lambda: ((lambda: torch.mm(a, b, out=out)), before if place.cuda else None)

    return {"cublas": by("cublas"), "cublaslt": by("cublaslt")}


def attention(place, shape):
    b, h, n, d = shape["batch"], shape["heads"], shape["tokens"], shape["width"]
    # As a linear layer leaves them: tokens outside, heads inside. The packing of their gradients is left out.
    q, k, v = (place.normal(b, n, h, d).transpose(1, 2).requires_grad_() for _ in range(3))
    d_out = place.normal(b, n, h, d).transpose(1, 2)

    def pinned(backend):
        def forward():
            with sdpa_kernel(backend):
                return F.scaled_dot_product_attention(q, k, v)

        if shape["pass"] == "backward":
            return gradients(forward, [q, k, v], d_out)
        return no_grad(forward), None

    return {name: (lambda backend=backend: pinned(backend)) for name, backend in SDPA.items()}


def layer_norm(place, shape):
    rows, width = shape["rows"], shape["width"]
    x, w, b = place.normal(rows, width, grad=True), place.normal(width, grad=True), place.normal(width, grad=True)
    dy = place.normal(rows, width)
    function = lambda: F.layer_norm(x, (width,), w, b, 1e-6)  # noqa: E731

    def of(forward):
        return gradients(forward, [x, w, b], dy) if shape["pass"] == "backward" else (no_grad(forward), None)

    return {"eager": lambda: of(function), "compile": lambda: of(compiled(function))}


def optimizer(place, values, make):
    def step(**more):
        parameter = place.normal(values, dtype=torch.float32, grad=True)
        parameter.grad = place.normal(values, dtype=torch.float32)
        return make([parameter], fused=True, **more).step

    return step


def adamw(place, shape):
    step = optimizer(place, shape["values"], torch.optim.AdamW)
    return {"fused": lambda: (step(), None), "fused graph": lambda: (place.graphed(step(capturable=True)), None)}


def sgd(place, shape):
    step = optimizer(place, shape["values"], lambda params, **more: torch.optim.SGD(params, lr=1e-3, momentum=0.9, weight_decay=1e-4, **more))
    return {"fused": lambda: (step(), None), "fused graph": lambda: (place.graphed(step()), None)}


def linf_step(place, shape):
    dims = (shape["batch"], 3, shape["side"], shape["side"])
    delta, gradient = (place.normal(*dims, scale=0.01, dtype=torch.float32) for _ in range(2))
    images = torch.rand(*dims, device=place.device)

    def step():
        moved = (delta + ALPHA * gradient.sign()).clamp(-EPS, EPS)
        return delta.copy_((images + moved).clamp(0, 1) - images)

    return {"eager": lambda: (step, None), "compile": lambda: (compiled(step), None)}


def cross_entropy(place, shape):
    logits = place.normal(shape["batch"], shape["classes"], dtype=torch.float32, grad=True)
    targets = torch.softmax(place.normal(shape["batch"], shape["classes"], dtype=torch.float32), 1)
    dy = place.normal(shape["batch"], dtype=torch.float32)
    function = lambda: F.cross_entropy(logits, targets, reduction="none")  # noqa: E731

    def of(forward):
        return gradients(forward, [logits], dy) if shape["pass"] == "backward" else (no_grad(forward), None)

    return {"eager": lambda: of(function), "compile": lambda: of(compiled(function))}


def scale(place, shape):
    x = place.normal(shape["batch"], shape["tokens"], shape["width"])
    step = lambda: x * (0.5 + torch.rand(shape["width"], device=x.device)).to(x.dtype)  # noqa: E731
    return {"rand, mul": lambda: (step, None), "compile": lambda: (compiled(step), None)}


def matrix(place, shape):
    batch, width = shape["batch"], shape["width"]
    x = place.normal(batch, shape["tokens"], width)
    count = batch if shape["per_image"] else 1

    def by(draw):
        def step():
            return torch.matmul(x, draw(count, width, width, device=x.device, dtype=x.dtype) / math.sqrt(width))

        return lambda: (step, None)

    return {"rand, bmm": by(torch.rand), "randn, bmm": by(torch.randn)}


def draw(place, shape):
    width = shape["width"]
    dims = [(3 * width, width), (width, width), (4 * width, width), (width, 4 * width)] * shape["depth"]
    step = lambda: [torch.randn(*d, device=place.device, dtype=place.dtype) for d in dims]  # noqa: E731
    return {"randn": lambda: (step, None), "randn graph": lambda: (place.graphed(step), None)}


OPS = {
    "linear": linear,
    "attention": attention,
    "layer_norm": layer_norm,
    "adamw": adamw,
    "sgd": sgd,
    "linf_step": linf_step,
    "cross_entropy": cross_entropy,
    "scale": scale,
    "matrix": matrix,
    "draw": draw,
    "step": step,
}


def reason(error, caught):
    """Why a variant doesn't run: PyTorch says it in warnings before it fails."""
    said = [str(warning.message).splitlines()[0] for warning in caught if "SDPA" in str(warning.message) or "attention" in str(warning.message).lower()]
    return "; ".join([str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__, *said])[:500]


class Runner:
    """Builds the variants of a row on its first use, drops them when another row is asked for."""

    def __init__(self, place, rows, seconds, only):
        self.place, self.rows, self.seconds, self.only = place, rows, seconds, only
        self.name, self.variants = None, {}

    def build(self, name):
        self.name, self.variants = name, {}
        torch._dynamo.reset()
        if self.place.cuda:
            torch.cuda.empty_cache()
            torch.backends.cuda.preferred_blas_library("default")
        torch.manual_seed(0)
        row = self.rows[name]
        for variant, make in OPS[row["op"]](self.place, row).items():
            if self.only is None or variant in self.only:
                self.variants[variant] = self.attempt(make)

    def attempt(self, make):
        """(run, before) after a first run, or the reason why there is none."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                run, before = make()
                self.place.sample(run, before)
                return run, before
            except Exception as error:  # noqa: BLE001: whatever it is, the other variants go on
                return reason(error, caught)

    def ceilings(self):
        """Bytes per second of a copy of 512 MiB, read and written, in 1e9."""
        count = (128 << 20) if self.place.cuda else (1 << 20)
        source, target = torch.rand(count, device=self.place.device), torch.empty(count, device=self.place.device)
        best = self.place.measure(lambda: target.copy_(source), None, 0.3)["min_ms"]
        return {"bench": "ceilings", "peer": "torch", "copy_gbs": 8 * count / best / 1e6, **facts(self.place)}

    def answer(self, name):
        if name == "ceilings":
            return self.ceilings()
        if name not in self.rows:
            return {"bench": name, "peer": "torch", "error": "the list has no such bench"}
        if name != self.name:
            self.build(name)
        found = []
        for variant, ready in self.variants.items():
            if isinstance(ready, str):
                found.append({"variant": variant, "unavailable": ready})
                continue
            try:
                found.append({"variant": variant, **self.place.measure(*ready, self.seconds)})
            except Exception as error:  # noqa: BLE001
                found.append({"variant": variant, "unavailable": reason(error, [])})
        return {"bench": name, "peer": "torch", "variants": found}


def facts(place):
    versions = {"torch": torch.__version__, "timm": timm.__version__, "python": platform.python_version(), "cuda": torch.version.cuda}
    if place.cuda:
        versions["cudnn"] = torch.backends.cudnn.version()
        versions["device"] = torch.cuda.get_device_name()
    return {"versions": versions}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", required=True, help="what `vitrum bench --list --json` printed")
    parser.add_argument("--bench", action="append", help="may be repeated; default: all")
    parser.add_argument("--variant", action="append", help="may be repeated; default: all")
    parser.add_argument("--time", type=float, default=0.1, help="seconds of samples for each variant")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--once", action="store_true", help="answer names read from stdin")
    arguments = parser.parse_args()
    with open(arguments.list) as file:
        listed = json.load(file)
    # Products of f32 are of f32, as ours.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if arguments.device == "cpu":
        torch.set_num_threads(1)
    place = Place(arguments.device, {"f32": torch.float32, "bf16": torch.bfloat16}[listed["dtype"]])
    rows = {row["name"]: row for row in listed["benches"]}
    runner = Runner(place, rows, arguments.time, arguments.variant)
    names = (line.strip() for line in sys.stdin) if arguments.once else arguments.bench or list(rows)
    for name in names:
        if name:
            # What libraries print must not stand among the answers.
            with contextlib.redirect_stdout(sys.stderr):
                answer = runner.answer(name)
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
