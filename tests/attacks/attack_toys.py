"""Small classifiers whose decision boundaries are known, and one whose are not."""

import math

import torch
from torch import Tensor, nn
from toys import Linear

from robustkit.attacks import AttackResult


class Affine(Linear):
    """A linear classifier that knows its margins."""

    def boundary_distances(self, images: Tensor, norm: float | str, project=None) -> Tensor:
        """The closed form min_k |f_k - f_0| / ||w_k - w_0||_q, with q dual to the norm."""
        with torch.no_grad():
            logits = self(images)
            top = logits.argmax(1)
            gaps = logits.gather(1, top[:, None]) - logits
            normals = self.weight - self.weight[top][:, None]
            if project is not None:
                normals = project(normals)
            steep = torch.linalg.vector_norm(normals, 2 if norm == 2 else 1, dim=2)
            return (gaps / steep).scatter(1, top[:, None], math.inf).amin(1)


class Sphere(nn.Module):
    """Class 1 outside the sphere of the given radius around the origin, class 0 inside."""

    def __init__(self, radius: float) -> None:
        super().__init__()
        self.radius = radius
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        excess = images.flatten(1).square().sum(1) - self.radius**2
        return torch.stack([-excess, excess], dim=1)


class Lambda(nn.Module):
    """Any function as a model in eval mode, counting its calls and the images it saw."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function, self.calls, self.images = function, 0, 0
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        self.images += len(images)
        return self.function(images)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def affine(classes: int, shape=(1, 4, 5), *, seed: int = 0, dtype=torch.float64) -> Affine:
    draw = generator(seed)
    weight = torch.randn(classes, math.prod(shape), generator=draw, dtype=torch.float64)
    bias = 0.3 * torch.randn(classes, generator=draw, dtype=torch.float64)
    return Affine(weight.to(dtype), bias.to(dtype))


def conv(classes: int = 6, *, seed: int = 0, dtype=torch.float64, smooth: bool = True) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        activation = nn.Softplus(beta=5) if smooth else nn.ReLU()
        network = nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1),
            activation,
            nn.Conv2d(6, 8, 3, stride=2),
            nn.BatchNorm2d(8),
            activation,
            nn.Flatten(),
            nn.Linear(8 * 9, classes),
        )
        nn.init.normal_(network[-1].weight, std=0.5)
    return network.to(dtype).eval()


def images(count: int, shape=(2, 8, 8), *, seed: int = 1, dtype=torch.float64) -> Tensor:
    return torch.rand(count, *shape, generator=generator(seed), dtype=torch.float64).to(dtype)


def judged_anew(model: nn.Module, result: AttackResult) -> Tensor:
    """Success by a forward pass of the test's own."""
    with torch.no_grad():
        logits = model(result.adversarial)
    finite = logits.isfinite().all(1)
    return (logits.argmax(1) != result.labels) & finite & (result.labels >= 0)
