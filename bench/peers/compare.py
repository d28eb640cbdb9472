#!/usr/bin/env python3
"""Measures Vitrum and its peers in turns, in the same period of time, and writes the ratios.

    python bench/peers/compare.py --rounds 15 --python venv/bin/python
    python bench/peers/compare.py --bench sgemm_2048 --rounds 5 --peer mine="some command that speaks the protocol"

For every bench each program runs in a process of its own; round after round, in a rotating order, each is asked for one
measurement while the others wait. Writes bench/results/peers-BENCH.json and bench/results/peers.md. Standard library only.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BENCHES = ["vit_ti16_224_train_b8", "deit_ti_65_train_b64", "deit_ti_65_pgd10_b64", "sgemm_2048"]
OURS = "vitrum"


def default_peers(python, threads):
    """Name and command of each program, ours first."""
    target = os.environ.get("CARGO_TARGET_DIR")
    ours = pathlib.Path(target or ROOT / "target") / "release" / "vitrum"
    candle = pathlib.Path(target or ROOT / "bench/peers/candle/target") / "release" / "vitrum-peer-candle"
    return {
        OURS: [str(ours), "bench", "--steps", "--once", "--threads", str(threads)],
        "torch": [python, str(ROOT / "bench/peers/torch_eager.py"), "--once", "--threads", str(threads)],
        "candle": [str(candle)],
    }


class Program:
    """A running peer: writes a bench name, reads one JSON line."""

    def __init__(self, name, command, threads):
        self.name = name
        environment = {**os.environ, "RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)

    def measure(self, bench):
        """The answer, or None when the program doesn't know the bench."""
        self.process.stdin.write(bench + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with status {self.process.wait()} when asked for {bench}")
        answer = json.loads(line)
        if "error" in answer:
            print(f"  {self.name}: {answer['error']}", file=sys.stderr)
            return None
        if answer["bench"] != bench:
            raise SystemExit(f"{self.name} was asked for {bench} and answered {answer['bench']}")
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def summary(answers):
    """Statistics over a program's measurements (each a median itself when it made several repetitions)."""
    times = [answer["median_ms"] for answer in answers]
    fifths = statistics.quantiles(times, n=5, method="inclusive") if len(times) > 1 else times * 4
    last = answers[-1]
    result = {
        "threads": last["threads"],
        "median_ms": round(statistics.median(times), 3),
        "p20_ms": round(fifths[0], 3),
        "p80_ms": round(fifths[3], 3),
        "rounds": len(times),
        "reps_per_round": last["reps"],
        "peak_rss_mb": max(answer["peak_rss_mb"] for answer in answers),
        "versions": last["versions"],
        "samples_ms": times,
    }
    for key in ("base_rss_mb", "planned_peak_mb", "gflops"):
        if key in last:
            result[key] = statistics.median(answer[key] for answer in answers)
    return result


def run_bench(bench, peers, rounds, threads):
    """Interleaves the peers; returns the summary of each that knows the bench."""
    programs = {name: Program(name, command, threads) for name, command in peers.items()}
    # The first answer includes building and warming up inside the program; it only tells who knows the bench.
    known = {name: program for name, program in programs.items() if program.measure(bench)}
    answers = {name: [] for name in known}
    order = list(known)
    for turn in range(rounds):
        for name in order:
            time.sleep(0.2)  # lets the thread pool of the one before stop spinning
            answers[name].append(known[name].measure(bench))
        order = order[1:] + order[:1]
        done = ", ".join(f"{name} {answers[name][-1]['median_ms']:.1f}" for name in answers)
        print(f"  {bench} round {turn + 1}/{rounds}: {done} ms", file=sys.stderr)
    for program in programs.values():
        program.close()
    results = {name: summary(measured) for name, measured in answers.items()}
    if OURS in results:
        for name, result in results.items():
            if name != OURS:
                pairs = zip(answers[OURS], answers[name])
                ratios = [ours["median_ms"] / theirs["median_ms"] for ours, theirs in pairs]
                result["vitrum_time_ratio"] = round(statistics.median(ratios), 3)
    return results


def machine():
    """What the figures were measured on; no host name, no path."""
    info = {"os": platform.system(), "kernel": platform.release().split("-")[0], "arch": platform.machine(), "cores": os.cpu_count()}
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            info["cpu"] = value.strip()
        if key.strip() == "flags":
            flags = value.split()
            info["simd"] = [flag for flag in ("avx2", "fma", "avx512f", "amx_tile") if flag in flags]
            break
    memory = next(line for line in pathlib.Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    info["memory_gb"] = round(int(memory.split()[1]) / 2**20, 1)
    info["load_before"] = round(os.getloadavg()[0], 2)
    return info


def commit():
    bundled = ROOT / "COMMIT"  # a bundle for machines without Rust is no repository
    if bundled.exists():
        return bundled.read_text().strip()

    def git(*words):
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/results")
    return git("rev-parse", "HEAD") + ("+changes" if changed else "")


def shown(command):
    """A command without the paths of the machine that it ran on."""
    return " ".join(pathlib.Path(word).name if word.startswith("/") else word for word in command)


def table(files):
    """One Markdown table over all results on disk."""
    lines = [
        "| bench | program | median ms | p20 to p80 | rounds | peak memory MB (before the bench) | vitrum's time / its time |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for path in files:
        for name, r in json.loads(path.read_text())["results"].items():
            memory = f"{r['peak_rss_mb']:.0f}" + (f" ({r['base_rss_mb']:.0f})" if "base_rss_mb" in r else "")
            rate = f" ({r['gflops']:.0f} GFLOP/s)" if "gflops" in r else ""
            span = f"{r['p20_ms']:.1f} to {r['p80_ms']:.1f}"
            ratio = f"{r['vitrum_time_ratio']:.2f}" if "vitrum_time_ratio" in r else ""
            lines.append(f"| {path.stem.removeprefix('peers-')} | {name} | {r['median_ms']:.1f}{rate} | {span} | {r['rounds']} | {memory} | {ratio} |")
    return "\n".join(lines) + "\n"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", action="append", help="may be repeated; default: " + ", ".join(BENCHES))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--python", default=sys.executable, help="interpreter that has torch and timm")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND", help="adds or replaces a program; an empty command removes it")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "bench/results")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    peers = default_peers(arguments.python, arguments.threads)
    for option in arguments.peer:
        name, _, command = option.partition("=")
        peers[name] = shlex.split(command)
    peers = {name: command for name, command in peers.items() if command}
    missing = [f"{name} ({command[0]})" for name, command in peers.items() if not shutil.which(command[0])]
    if missing:
        raise SystemExit("not found: " + ", ".join(missing) + "; build it, or leave it out with --peer NAME=")

    arguments.out.mkdir(parents=True, exist_ok=True)
    header = {"machine": machine(), "commit": commit(), "commands": {name: shown(command) for name, command in peers.items()}}
    for bench in arguments.bench or BENCHES:
        results = run_bench(bench, peers, arguments.rounds, arguments.threads)
        date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
        record = {"bench": bench, "date": date, **header, "results": results}
        (arguments.out / f"peers-{bench}.json").write_text(json.dumps(record, indent=1) + "\n")
    files = sorted(arguments.out.glob("peers-*.json"))
    (arguments.out / "peers.md").write_text(table(files))
    print(table(files), end="")


if __name__ == "__main__":
    main()
