#!/usr/bin/env python3
"""Writes cascade_golden.safetensors: what the public implementation of AutoAttack does, step by step, in float64.

    python tests/goldens/make_cascade.py            # rewrites the file, prints the figures
    python tests/goldens/make_cascade.py --check    # rewrites nothing; exit status 1 if the file would change

Needs the package pyautoattack 0.2.0 (the authors' code). A small smooth model is attacked, and what the attack asked of it
and where it went is taken down. README.md says what the file holds.
"""

import argparse
import pathlib
import sys

import torch
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from pyautoattack.fab_pt import FABAttack_PT
from pyautoattack.square import SquareAttack
from safetensors.torch import save

HERE = pathlib.Path(__file__).resolve().parent
FILE = HERE / "cascade_golden.safetensors"
SHAPE = (1, 3, 4)
CLASSES = 6
SAMPLES = 4
EPS = {"Linf": 0.01, "L2": 0.03}

torch.set_default_dtype(torch.float64)
# The attacks cast images to float32 in places; the arithmetic is to be seen in float64.
torch.Tensor.float = torch.Tensor.double


class Model(torch.nn.Module):
    """Two layers with a bend, so that losses oscillate and boundaries curve."""

    def __init__(self):
        super().__init__()
        draw = torch.Generator().manual_seed(5)
        volume = SHAPE[0] * SHAPE[1] * SHAPE[2]
        self.a = 3.0 * torch.randn(volume, 16, generator=draw) / volume**0.5
        self.b = 2.0 * torch.randn(16, CLASSES, generator=draw) / 4.0
        self.seen = None

    def forward(self, x):
        if self.seen is not None:
            self.seen.append(x.detach().clone())
        return torch.sin(4.0 * (x.flatten(1) - 0.5) @ self.a) @ self.b


def images(model):
    """Images that the model classifies with some lead, with those classes as labels."""
    x = 0.1 + 0.8 * torch.rand(400, *SHAPE, generator=torch.Generator().manual_seed(6))
    x = torch.round(x * 255) / 255
    logits = model(x)
    top = logits.topk(2, dim=1).values
    lead = top[:, 0] - top[:, 1]
    order = lead.argsort(descending=True)
    # From far inside to near a boundary.
    chosen = order[torch.linspace(0, len(order) - 1, SAMPLES + 2).long()[1:-1]]
    return x[chosen], logits[chosen].argmax(1)


def apgd(model, x, y, norm, loss):
    """Images seen [steps + 1, b, ..], losses and gradients there, whether they are classified correctly, and results."""
    kind = APGDAttack_targeted if loss == "dlr-targeted" else APGDAttack
    attack = kind(model, n_iter=100, norm=norm, eps=EPS[norm], eot_iter=1, rho=0.75, seed=0, device="cpu")
    attack.init_hyperparam(x)
    attack.loss = loss
    target = model(x).sort(dim=1)[1][:, -3]
    attack.y_target = target
    draw = torch.Generator().manual_seed(7)
    if norm == "Linf":
        start = x + EPS[norm] * (2 * torch.rand(x.shape, generator=draw) - 1)
    else:
        start = torch.randn(x.shape, generator=draw)
        start = x + EPS[norm] * start / start.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    model.seen = []
    best, _, _, fooling = attack.attack_single_run(x, y, x_init=start.clamp(0, 1))
    seen, model.seen = torch.stack(model.seen), None
    losses, gradients, correct = [], [], []
    for at in seen:
        at = at.clone().requires_grad_()
        logits = model(at)
        each = {
            "ce": lambda: torch.nn.functional.cross_entropy(logits, y, reduction="none"),
            "dlr": lambda: attack.dlr_loss(logits, y),
            "dlr-targeted": lambda: attack.dlr_loss_targeted(logits, y),
        }[loss]()
        losses.append(each.detach())
        gradients.append(torch.autograd.grad(each.sum(), at)[0])
        correct.append(logits.argmax(1) == y)
    return {
        "seen": seen,
        "losses": torch.stack(losses),
        "gradients": torch.stack(gradients),
        "correct": torch.stack(correct).double(),
        "best": best,
        "fooling": fooling,
        "target": target,
        "logits": model(seen[0]).detach(),
    }


def fab(model, x, y, norm):
    """Of every step of FAB-T: the iterate, f and its gradient there, where it leads, and whether that is misclassified."""
    attack = FABAttack_PT(model, n_restarts=1, n_iter=20, eps=EPS[norm], norm=norm, seed=0, targeted=True, device="cpu")
    attack.target_class = 2
    steps = []
    gradient, label = attack.get_diff_logits_grads_batch_targeted, attack._get_predicted_label

    def watched_gradient(at, labels, targets):
        df, dg = gradient(at, labels, targets)
        steps.append({"from": at.detach().clone(), "f": df[:, 0].clone(), "gradient": dg[:, 0].clone()})
        return df, dg

    def watched_label(at):
        found = label(at)
        if steps:
            steps[-1].update({"to": at.detach().clone(), "fools": (found != y).double()})
        return found

    attack.get_diff_logits_grads_batch_targeted, attack._get_predicted_label = watched_gradient, watched_label
    nearest = attack.attack_single_run(x, y, is_targeted=True)
    return {**{key: torch.stack([step[key] for step in steps]) for key in steps[0]}, "nearest": nearest}


def square(size, norm):
    """(first proposal, side) wherever the side of the square changes."""
    attack = SquareAttack(None, p_init=0.8, n_queries=10000, eps=0.1, norm=norm, resc_schedule=False, device="cpu")
    attack.rescale_schedule = False
    sides = []
    for i in range(10000):
        side = int(round((attack.p_selection(i) * size * size) ** 0.5))
        if norm == "Linf":
            side = min(max(side, 1), size)
        else:
            side = max(side, 3)
            side = min(side + (side % 2 == 0), size)
        if not sides or sides[-1][1] != side:
            sides.append((i, side))
    return torch.tensor(sides, dtype=torch.int32)


def pyramid(side):
    """The pyramid of a side, as it is before it may be transposed."""
    attack = SquareAttack(None, eps=0.1, norm="L2", device="cpu")
    upper = attack.eta_rectangles(side // 2, side)
    shape = torch.cat([upper, -attack.eta_rectangles(side - side // 2, side)])
    return shape / shape.norm()


def values():
    model = Model()
    x, y = images(model)
    out = {"images": x, "labels": y.int()}
    for norm, loss in [("Linf", "ce"), ("Linf", "dlr"), ("Linf", "dlr-targeted"), ("L2", "ce")]:
        found = apgd(model, x, y, norm, loss)
        found["target"] = found["target"].int()
        out.update({f"apgd.{norm}.{loss}.{key}": value for key, value in found.items()})
    for norm in EPS:
        out.update({f"fab.{norm}.{key}": value for key, value in fab(model, x, y, norm).items()})
    for size in [8, 28, 32, 224]:
        out.update({f"square.{norm}.{size}": square(size, norm) for norm in EPS})
    out.update({f"pyramid.{side}": pyramid(side) for side in [3, 6, 7, 13]})
    return {key: value.detach().contiguous() for key, value in out.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    made = values()
    for key in made:
        if key.endswith(".correct"):
            print(f"{key}: classified correctly at the end {made[key][-1].int().tolist()}")
        if key.endswith(".fools"):
            print(f"{key}: misclassified iterates per image {made[key].sum(0).int().tolist()}")
    data = save(made)
    if args.check:
        sys.exit(0 if FILE.read_bytes() == data else 1)
    FILE.write_bytes(data)
    print(f"{FILE.name}: {len(data)} bytes")


if __name__ == "__main__":
    main()
