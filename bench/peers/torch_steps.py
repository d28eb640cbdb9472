"""Whole steps of Vision Transformers in PyTorch: training, PGD-10 adversarial training, inference. Used by torch_gpu.py."""

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer

EPS, ALPHA, PGD_STEPS = 8 / 255, 2 / 255, 10


def compiled(function, mode="default"):
    return torch.compile(function, dynamic=False, mode=mode)


class Scale(torch.nn.Module):
    """Random scales that all tokens of all images share."""

    def __init__(self, width):
        super().__init__()
        self.width = width

    def forward(self, x):
        return x * (0.5 + torch.rand(self.width, device=x.device)).to(x.dtype)


class Normalised(torch.nn.Module):
    """Takes images in [0, 1] as Vitrum's models do."""

    def __init__(self, shape):
        super().__init__()
        m = shape["model"]
        sizes = {"embed_dim": m["width"], "depth": m["depth"], "num_heads": m["heads"], "num_classes": m["classes"]}
        self.model = VisionTransformer(img_size=m["image"], patch_size=m["patch"], **sizes)
        if m["scaled"]:
            for block in self.model.blocks:
                block.mlp.fc1 = torch.nn.Sequential(block.mlp.fc1, Scale(4 * m["width"]))
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, images):
        return self.model((images - self.mean) / self.std)


class Training:
    """A step with fused AdamW, parameters in f32 and autocast; with `attack`, on adversarial images made first."""

    def __init__(self, place, shape, mode=None, graph=False):
        self.place, self.graph, self.mode = place, graph, mode
        self.attack = shape["pass"] == "pgd10"
        model = Normalised(shape).to(place.device)
        self.parameters = list(model.parameters())
        size = shape["model"]["image"]
        self.images = torch.rand(shape["batch"], 3, size, size, device=place.device)
        self.labels = torch.arange(shape["batch"], device=place.device) % shape["model"]["classes"]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-4, weight_decay=0.05, fused=True, capturable=graph and place.cuda)
        self.loss_of = compiled(self.loss(model), mode) if mode else self.loss(model)

    def loss(self, model):
        def loss(images):
            # A captured graph must not read casts that autocast made outside of it.
            with self.place.autocast(cached=not self.graph):
                return F.cross_entropy(model(images).float(), self.labels)

        return loss

    def trainable(self, yes):
        # A compiled backward pass computes all gradients that it could: without this, those of the weights in each step of the attack.
        if self.mode:
            for parameter in self.parameters:
                parameter.requires_grad_(yes)

    def pgd(self):
        self.trainable(False)
        delta = torch.empty_like(self.images).uniform_(-EPS, EPS)
        adversarial = (self.images + delta).clamp(0, 1)
        for _ in range(PGD_STEPS):
            adversarial.requires_grad_()
            (gradient,) = torch.autograd.grad(self.loss_of(adversarial), adversarial)
            with torch.no_grad():
                delta = (adversarial + ALPHA * gradient.sign() - self.images).clamp(-EPS, EPS)
                adversarial = (self.images + delta).clamp(0, 1)
        self.trainable(True)
        return adversarial

    def __call__(self):
        images = self.pgd() if self.attack else self.images
        self.optimizer.zero_grad(set_to_none=True)
        self.loss_of(images).backward()
        self.optimizer.step()


def inference(place, shape, mode=None):
    size = shape["model"]["image"]
    model = Normalised(shape).to(place.device, place.dtype).eval()
    images = torch.rand(shape["batch"], 3, size, size, device=place.device, dtype=place.dtype)
    forward = compiled(model, mode) if mode else model

    def run():
        with torch.inference_mode():
            return forward(images)

    return run


def step(place, shape):
    if shape["pass"] == "infer":
        modes = {"eager": None, "compile": "default", "max-autotune": "max-autotune"}
        return {name: (lambda mode=mode: (inference(place, shape, mode), None)) for name, mode in modes.items()}
    variants = {
        "eager": lambda: (Training(place, shape), None),
        "compile": lambda: (Training(place, shape, "default"), None),
    }
    if shape["model"]["image"] <= 32:
        # The whole step, optimizer and attack included, as one graph: less for the host to do than in any mode of torch.compile.
        variants["compile, graph"] = lambda: (place.graphed(Training(place, shape, "default", graph=True)), None)
    if shape["pass"] == "train":
        variants["max-autotune"] = lambda: (Training(place, shape, "max-autotune"), None)
    return variants
