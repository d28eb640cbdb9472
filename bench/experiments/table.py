#!/usr/bin/env python3
"""The tables of docs/experiments.md, from the results of bench/experiments/run:

    python3 bench/experiments/table.py runs/experiments

Mean and sample standard deviation over the seeds; `diff` columns are differences to the row named, seed by seed, so that what a
seed has in common with itself falls out. Needs Python 3.9 and nothing else.
"""

import json
import pathlib
import statistics
import sys

FOLDER = pathlib.Path(sys.argv[1])


def seeds(run):
    """Folders of a run's seeds, by seed."""
    return {path.name.rsplit("-", 1)[1]: path for path in sorted(FOLDER.glob(f"{run}-[0-9]*"))}


def figures(run, result, of):
    """`of` of the JSON in `result`, by seed."""
    found = {seed: path / f"{result}.json" for seed, path in seeds(run).items()}
    return {seed: of(json.loads(path.read_text())) for seed, path in found.items() if path.exists()}


def shown(values, scale=100.0, digits=1):
    if not values:
        return "not run"
    values = [scale * value for value in values]
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def table(heading, rows):
    print("| " + " | ".join(heading) + " |")
    print("|" + "---|" * len(heading))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def against(run, base, result, of):
    """Differences of two runs, for the seeds that both have."""
    ours, theirs = figures(run, result, of), figures(base, result, of)
    return [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]


def column(run, result, of, **how):
    return shown(list(figures(run, result, of).values()), **how)


def attack(name):
    return lambda found: next(one["accuracy"] for one in found["attacks"] if one["name"] == name)


def clean(found):
    return found["clean"]["accuracy"]


def adversarial():
    robust = lambda found: found["report"]["robust_accuracy"]
    pgd = attack("pgd20-linf")
    rows = []
    for arm in ["pgd", "ard-prm", "eps-ramp"]:
        run = f"at-{arm}"
        rows.append([
            arm,
            column(run, "pgd20", clean),
            column(run, "pgd20", pgd),
            column(run, "apgd", robust),
            shown(against(run, "at-pgd", "pgd20", clean)),
            shown(against(run, "at-pgd", "pgd20", pgd)),
            shown(against(run, "at-pgd", "apgd", robust)),
        ])
    table(["arm", "clean %", "PGD-20 %", "APGD-CE+T %", "diff to pgd: clean", "PGD-20", "APGD-CE+T"], rows)


def nullspace():
    fgsm, pgd = attack("fgsm-linf"), attack("pgd10-linf")
    corrupted = lambda found: found["corruption_summary"]["mean_accuracy"]
    rows = []
    for run in ["clean", "nullspace-none", "nullspace-permuted", "nullspace-learned"]:
        every = [("pgd10", clean), ("pgd10", fgsm), ("pgd10", pgd), ("corrupted", corrupted)]
        rows.append(
            [run]
            + [column(run, *one) for one in every]
            + [shown(against(run, "nullspace-none", *one)) for one in every]
        )
    heading = ["run", "clean %", "FGSM %", "PGD-10 %", "corrupted %"]
    table(heading + ["diff to none: clean", "FGSM", "PGD-10", "corrupted"], rows)


def stochastic():
    kind = lambda name: lambda found: next(one for one in found["attacks"] if one["kind"] == name)["judgement"]["single"]
    votes = lambda found: found["clean"]["votes"][-1]["accuracy"]
    rows = [
        ["relu", "clean", column("relu", "pgd20", clean)],
        ["relu", "PGD-20", column("relu", "pgd20", attack("pgd20-linf"))],
        ["a10", "clean, one draw", column("a10", "pgd20", lambda found: found["clean"]["single"])],
        ["a10", "clean, majority of 50", column("a10", "pgd20", votes)],
        ["a10", "PGD-20, one draw per gradient (not robustness)", column("a10", "pgd20", kind("eot1"))],
        ["a10", "PGD-20, 20 draws per gradient", column("a10", "pgd20", kind("eot20"))],
        ["a10", "PGD-20 on the mean network, transferred", column("a10", "pgd20", kind("twin"))],
        ["a10", "worst case per image over these", column("a10", "pgd20", lambda found: found["worst_case"])],
        ["a10", "one fixed draw, attacked", column("a10", "pgd20", lambda found: found["fixed"]["accuracy"])],
        ["a10", "mean network itself, attacked", column("a10", "pgd20", lambda found: found["fixed"]["twin"])],
    ]
    table(["model", "measured", "accuracy %"], rows)


def calibration():
    rows = []
    cases = [("clean", "calibration", ""), ("relu", "calibration", ""), ("a10", "calibration", ", one draw")]
    cases += [("a10", "calibration10", ", mean of 10 draws"), ("nullspace-learned", "calibration", "")]
    cases += [("at-pgd", "calibration", "")]
    for run, result, remark in cases:
        before = lambda name: lambda found: found["calibration"]["before"][name]
        after = lambda name: lambda found: found["calibration"]["temperature"]["after"][name]
        temperature = lambda found: found["calibration"]["temperature"]["temperature"]
        rows.append([
            run + remark,
            column(run, result, before("accuracy")),
            column(run, result, before("ece15"), digits=2),
            column(run, result, before("nll"), scale=1.0, digits=3),
            column(run, result, temperature, scale=1.0, digits=3),
            column(run, result, after("ece15"), digits=2),
            column(run, result, after("nll"), scale=1.0, digits=3),
        ])
    table(["model", "accuracy %", "ECE-15 %", "NLL", "temperature", "ECE-15 % after", "NLL after"], rows)


for experiment in [adversarial, nullspace, stochastic, calibration]:
    print(f"### {experiment.__name__}\n")
    experiment()
