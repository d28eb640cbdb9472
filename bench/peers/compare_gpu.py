#!/usr/bin/env python3
"""Measures Vitrum and PyTorch on a GPU in turns, row by row of `vitrum bench --suite`, and holds the result against the goals.

    python bench/peers/compare_gpu.py --vitrum target/release/vitrum --python venv/bin/python --out bench/results/h200
    python bench/peers/compare_gpu.py --out bench/results/h200 --group attention --group step --budget 500
    python bench/peers/compare_gpu.py --out bench/results/h200 --report              # the tables again, without measuring

Both programs live through the whole run; in each round each is asked for one measurement of a row while the other waits. Rows
that OUT/gpu.jsonl has are not measured again, so a run that was cut off goes on where it stopped. Writes OUT/gpu.jsonl (the
machine, then a line for each variant of each row) and OUT/gpu.md. Standard library only.
"""

import argparse
import json
import math
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

from compare import ROOT, Program, commit, machine, shown

OURS = "vitrum"
LIBRARY = ["cublas", "cublaslt"]
SDPA = ["sdpa flash", "sdpa cudnn", "sdpa efficient", "sdpa math"]
COMPILED = ["compile", "max-autotune"]
GRAPHS = ["compile, graph", "max-autotune"]

# Most valuable first: a run may be cut off.
GROUPS = ["gemm", "attention", "step", "epilogue", "layer_norm", "update", "stochastic", "loss"]


class Rows:
    """Everything that was measured: lines of gpu.jsonl by bench and variant (ours: "vitrum")."""

    def __init__(self, lines):
        self.facts = [line for line in lines if "bench" not in line]
        self.lines = {}
        for line in lines:
            if "bench" in line:
                self.lines.setdefault(line["bench"], {})[line["variant"]] = line

    def matching(self, pattern):
        return [name for name in self.lines if re.fullmatch(pattern, name)]

    def tiny(self):
        return any(line.get("tiny") for variants in self.lines.values() for line in variants.values())

    def ours(self, name):
        return self.lines.get(name, {}).get(OURS)

    def speedup(self, name, variants):
        """The time of the fastest of `variants` over ours, in the same rounds; None where one is missing."""
        ratios = [self.lines[name][v].get("times_ours") for v in variants if v in self.lines.get(name, {})]
        return min((ratio for ratio in ratios if ratio), default=None)

    def copy_gbs(self):
        found = [facts[key]["copy_gbs"] for facts in self.facts for key in ("ceilings", "torch") if facts.get(key)]
        return max(found, default=None)

    def gflops(self):
        ours = [facts["ceilings"]["multiply_gflops"] for facts in self.facts if facts.get("ceilings")]
        return max([line["gflops"] for line in self.lines.get("gemm_8192", {}).values() if "gflops" in line] + ours, default=None)

    def capability(self):
        found = [((facts.get("machine") or {}).get("cuda") or {}).get("compute_capability") for facts in self.facts]
        return next((capability for capability in found if capability), None)


def speedups(pattern, variants, count):
    """Geometric mean over `count` rows of how many times as long the fastest of the variants takes."""

    def value(rows):
        ratios = [rows.speedup(name, variants) for name in rows.matching(pattern)]
        ratios = [ratio for ratio in ratios if ratio]
        return math.exp(statistics.fmean(math.log(ratio) for ratio in ratios)) if len(ratios) == count else None

    return value


def bandwidth(pattern, count):
    """The lowest share of the copy bandwidth over `count` rows."""

    def value(rows):
        found = [rows.ours(name)["gbs"] / rows.copy_gbs() for name in rows.matching(pattern) if rows.ours(name) and rows.copy_gbs()]
        return min(found) if len(found) == count else None

    return value


def share(part, whole, less=0.0):
    """Our time for one row over that for another, less `less`."""

    def value(rows):
        times = [rows.ours(name) for name in (part, whole)]
        return times[0]["median_ms"] / times[1]["median_ms"] - less if all(times) else None

    return value


AT_LEAST, AT_MOST = "at least", "at most"
# What is measured, how, and the aim: at least or at most so much. A pair is for Hopper and for older GPUs.
GOALS = [
    ("bf16 product of 8192³, over cuBLAS", speedups("gemm_8192", LIBRARY, 1), AT_LEAST, 0.95),
    ("products of ViT-Ti/S/B/L, forward, dX and dW, over cuBLASLt (geometric mean of 48)", speedups("gemm_vit_.*", LIBRARY, 48), AT_LEAST, (0.95, 0.85)),
    ("fused epilogues, over cuBLASLt and separate kernels (of 6)", speedups("epilogue_.*", ["separate"], 6), AT_LEAST, 1.1),
    ("attention, batch 256, 12 heads, 197 tokens, width 64, forward, over the fastest SDPA", speedups("attention_b256_h12_n197_d64_forward", SDPA, 1), AT_LEAST, 1.5),
    ("the same, backward", speedups("attention_b256_h12_n197_d64_backward", SDPA, 1), AT_LEAST, 1.3),
    ("LayerNorm, forward, of the copy bandwidth (lowest of 4)", bandwidth("layer_norm_.*_forward", 4), AT_LEAST, 0.85),
    ("LayerNorm, backward", bandwidth("layer_norm_.*_backward", 4), AT_LEAST, 0.75),
    ("AdamW, SGD and PGD updates, of the copy bandwidth (lowest of 5)", bandwidth("adamw_.*|sgd_.*|linf_step_.*", 5), AT_LEAST, 0.9),
    ("ViT-B/16 training, batch 256, over torch.compile", speedups("vit_b16_train_b256", COMPILED, 1), AT_LEAST, 1.3),
    ("ViT-S/16 training, batch 512, over torch.compile", speedups("vit_s16_train_b512", COMPILED, 1), AT_LEAST, 1.3),
    ("inference of both, over torch.compile", speedups("vit_b16_infer_b256|vit_s16_infer_b512", COMPILED, 2), AT_LEAST, 1.2),
    ("DeiT-Ti, 65 tokens, PGD-10 training, batch 128, over eager", speedups("deit_ti_65_pgd10_b128", ["eager"], 1), AT_LEAST, 3.0),
    ("the same, over torch.compile with CUDA graphs", speedups("deit_ti_65_pgd10_b128", GRAPHS, 1), AT_LEAST, 1.3),
    ("scales that tokens share, added to a ViT-B step", share("vit_b16_scaled_train_b256", "vit_b16_train_b256", 1.0), AT_MOST, 0.02),
    ("drawing every dense random weight of a ViT-B, of its step", share("draw_vit_b", "vit_b16_train_b256"), AT_MOST, 0.02),
]


def goals(rows):
    """One Markdown line for each goal."""
    lines = ["| goal | aim | state |", "| --- | --- | --- |"]
    for what, value, relation, aim in GOALS:
        if isinstance(aim, tuple):
            capability = rows.capability()
            aim = aim[1] if capability and capability < 90 else aim[0]
        measured = value(rows)
        state = "not measured"
        if measured is not None:
            reached = measured >= aim if relation == AT_LEAST else measured <= aim
            state = f"{'trial' if rows.tiny() else 'reached' if reached else 'short'}: {measured:.3g}"
        lines.append(f"| {what} | {relation} {aim} | {state} |")
    return lines


def table(rows):
    """One Markdown line for each row: ours, then every variant with its time over ours."""
    lines = ["| row | ours, ms (p20 to p80) | GFLOP/s | GB/s | of the roofline | PyTorch: ms (times ours) |", "| --- | ---: | ---: | ---: | ---: | --- |"]
    for name, variants in rows.lines.items():
        ours, cells = rows.ours(name), ["", "", "", ""]
        if ours and "median_ms" in ours:
            cells = [f"{ours['median_ms']:.4g} ({ours['p20_ms']:.4g} to {ours['p80_ms']:.4g})", f"{ours['gflops']:.0f}", f"{ours['gbs']:.0f}", roofline(rows, ours)]
        peers = []
        for variant, line in variants.items():
            if variant == OURS:
                continue
            ratio = f" ({line['times_ours']:.2f})" if line.get("times_ours") else ""
            peers.append(f"{variant} {line['median_ms']:.4g}{ratio}" if "median_ms" in line else f"{variant}: unavailable")
        lines.append(f"| {name} | {' | '.join(cells)} | {'; '.join(peers)} |")
    return lines


def roofline(rows, ours):
    """What the measured ceilings allow, of single operations."""
    if ours["group"] == "step" or not rows.copy_gbs() or not rows.gflops():
        return ""
    least = max(ours["flops"] / rows.gflops(), ours["bytes"] / rows.copy_gbs()) / 1e9
    return f"{100 * least / (ours['median_ms'] * 1e-3):.0f}%"


def report(rows):
    """The page: hardware and commit, goals, rows."""
    lines = []
    for facts in rows.facts[-1:]:
        device = (facts.get("machine") or {}).get("machine", "no device")
        lines += [f"{device}; commit {facts['commit']}, {facts['date']}; PyTorch {((facts.get('torch') or {}).get('versions') or {}).get('torch', 'not there')}.", ""]
    if rows.tiny():
        lines += ["Tiny shapes: a trial of the programs, no measurement of anything.", ""]
    return "\n".join([*lines, *goals(rows), "", *table(rows)]) + "\n"


def read(path):
    """The rows of a file. Half a line at its end, which a killed run leaves, is cut off."""
    text = path.read_text() if path.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole)
    found = []
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise SystemExit(f"{path}:{number}: the line is no JSON: {error}") from error
    return Rows(found)


class Peer:
    """A program that is started again after a failure: an error of the driver stays with its process."""

    def __init__(self, name, command):
        self.name, self.command, self.program = name, command, None

    def measure(self, bench):
        """The answer, or None."""
        self.program = self.program or Program(self.name, self.command, os.cpu_count())
        try:
            answer = self.program.measure(bench)
        except (SystemExit, OSError, json.JSONDecodeError) as failure:
            print(f"  {self.name}: {failure}", file=sys.stderr)
            answer = None
        reasons = [variant.get("unavailable", "") for variant in (answer or {}).get("variants", [])]
        if answer is None or any("CUDA error" in reason for reason in reasons):
            self.close()
        return answer

    def close(self):
        if self.program:
            self.program.process.kill()
            self.program.process.wait()
            self.program = None


def summary(answers):
    """Medians over rounds of one program's answers, each a median itself."""
    result = {**answers[-1], "rounds": len(answers)}
    for key in ("median_ms", "p20_ms", "p80_ms", "min_ms"):
        result[key] = statistics.median(answer[key] for answer in answers)
    result["samples_ms"] = [answer["median_ms"] for answer in answers]
    return result


def measure_row(bench, ours, torch, rounds):
    """The lines of a row: ours, and each variant of PyTorch."""
    mine, theirs, unavailable = [], {}, {}
    programs = [program for program in (ours, torch) if program]
    for turn in range(rounds):
        for program in programs[:: 1 - 2 * (turn % 2)]:
            answer = program.measure(bench)
            if answer is None:
                programs = [other for other in programs if other is not program]
            elif program is ours:
                mine.append(answer)
            for variant in (answer or {}).get("variants", []):
                if "unavailable" in variant:
                    unavailable[variant["variant"]] = variant["unavailable"]
                else:
                    theirs.setdefault(variant["variant"], []).append(variant)
    lines = []
    if mine:
        lines.append({**summary(mine), "variant": OURS})
    for variant, answers in theirs.items():
        line = {"bench": bench, "peer": "torch", **summary(answers)}
        if len(mine) == len(answers):
            line["times_ours"] = statistics.median(their["median_ms"] / our["median_ms"] for their, our in zip(answers, mine))
        if mine:
            line["tiny"], line["gflops"] = mine[0]["tiny"], mine[0]["flops"] / line["median_ms"] / 1e6
        lines.append(line)
    lines += [{"bench": bench, "peer": "torch", "variant": variant, "unavailable": why} for variant, why in unavailable.items() if variant not in theirs]
    return lines


def start(arguments, listed):
    """Our program, PyTorch's or None, and the facts of this run."""
    flags = ["--device", arguments.device] + (["--bf16"] if arguments.device == "cuda" and not arguments.f32 else [])
    commands = {OURS: [arguments.vitrum, "bench", "--suite", "--once", "--time", str(arguments.time), *flags] + (["--tiny"] if arguments.tiny else [])}
    if arguments.python:
        device = arguments.torch_device or arguments.device
        commands["torch"] = [arguments.python, str(ROOT / "bench/peers/torch_gpu.py"), "--once", "--list", str(listed), "--time", str(arguments.time), "--device", device]
        for variant in arguments.variant or []:
            commands["torch"] += ["--variant", variant]
    programs = {name: Peer(name, command) for name, command in commands.items()}
    facts = {name: program.measure("ceilings") or {} for name, program in programs.items()}
    ours = facts[OURS]
    header = {
        "machine": ours.get("machine"),
        "ceilings": ours.get("ceilings"),
        "host": machine(),
        "torch": {key: facts["torch"][key] for key in ("copy_gbs", "versions") if key in facts["torch"]} if facts.get("torch") else None,
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commands": {name: shown(command) for name, command in commands.items()},
    }
    return programs[OURS], programs.get("torch"), header


def list_of(arguments):
    """What `vitrum bench --list` prints."""
    flags = ["--tiny"] * arguments.tiny + ["--bf16"] * (arguments.device == "cuda" and not arguments.f32)
    return subprocess.run([arguments.vitrum, "bench", "--list", "--json", *flags], capture_output=True, text=True, check=True).stdout


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder of gpu.jsonl and gpu.md")
    parser.add_argument("--vitrum", default=str(ROOT / "target/release/vitrum"))
    parser.add_argument("--python", help="interpreter that has torch and timm; without it ours alone is measured")
    parser.add_argument("--group", action="append", choices=GROUPS, help="may be repeated; default: all, in this order")
    parser.add_argument("--bench", action="append", metavar="REGEX", help="only rows with such a name; may be repeated")
    parser.add_argument("--variant", action="append", help="only these variants of PyTorch; may be repeated")
    parser.add_argument("--again", action="store_true", help="measure what is in OUT already; its variants that are not measured now stay")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--time", type=float, default=0.1, help="seconds of samples for each measurement")
    parser.add_argument("--budget", type=float, default=math.inf, help="seconds after which no other row is begun")
    parser.add_argument("--device", choices=["cpu", "cuda", "wgpu"], default="cuda")
    parser.add_argument("--torch-device", choices=["cpu", "cuda"], help="another one for PyTorch: for trials on the emulator")
    parser.add_argument("--f32", action="store_true", help="f32 storage instead of bf16")
    parser.add_argument("--tiny", action="store_true", help="shapes that take moments")
    parser.add_argument("--report", action="store_true", help="write and print the tables of what OUT has")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    began = time.monotonic()
    arguments.out.mkdir(parents=True, exist_ok=True)
    path, page = arguments.out / "gpu.jsonl", arguments.out / "gpu.md"
    if not arguments.report:
        text = list_of(arguments)
        listed = (arguments.out / "list.json").resolve()
        listed.write_text(text)
        known = {} if arguments.again else read(path).lines
        rows = [row for group in arguments.group or GROUPS for row in json.loads(text)["benches"] if row["group"] == group]
        wanted = [row["name"] for row in rows if row["name"] not in known]
        wanted = [name for name in wanted if not arguments.bench or any(re.fullmatch(pattern, name) for pattern in arguments.bench)]
        ours, torch, header = start(arguments, listed)
        with path.open("a") as file:
            print(json.dumps(header), file=file, flush=True)
            for at, name in enumerate(wanted):
                if time.monotonic() - began > arguments.budget:
                    print(f"the time is over: {len(wanted) - at} rows are left", file=sys.stderr)
                    break
                for line in measure_row(name, ours, torch, arguments.rounds):
                    print(json.dumps(line), file=file, flush=True)
                print(f"{time.monotonic() - began:6.0f} s  {name}", file=sys.stderr)
        for program in filter(None, [ours, torch]):
            program.close()
    page.write_text(report(read(path)))
    print(page.read_text(), end="")


if __name__ == "__main__":
    main()
