"""Small classifiers whose margins are known, one whose are not, and dense bases to check by."""

import math

import scipy.fft
import torch
from torch import Tensor, nn
from toys import Linear

from robustkit.margins import Block, Subspace


class Function(nn.Module):
    """Any function as a model in eval mode; it notes how many images each call brought."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function, self.calls = function, []
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        self.calls.append(len(images))
        return self.function(images)


class Affine(Linear):
    """A linear classifier that knows its margins."""

    def margins(self, images: Tensor, subspaces: list[Subspace]) -> tuple[Tensor, Tensor]:
        """The closed form min_k (f_0 - f_k) / ||P_S (w_k - w_0)|| and its class, M x N."""
        with torch.no_grad():
            logits = self(images)
            top = logits.argmax(1)
            gaps = logits.gather(1, top[:, None]) - logits
            normals = self.weight - self.weight[top][:, None]
            found = []
            for one in subspaces:
                steep = torch.linalg.vector_norm(normals @ dense(one, images).mT, dim=2)
                found.append((gaps / steep).scatter(1, top[:, None], math.inf).min(1))
        return torch.stack([one.values for one in found]), torch.stack([o.indices for o in found])


class Sphere(nn.Module):
    """Class 1 outside the sphere of the given radius around the origin, class 0 inside."""

    def __init__(self, radius: float) -> None:
        super().__init__()
        self.radius = radius
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        excess = images.flatten(1).square().sum(1) - self.radius**2
        return torch.stack([-excess, excess], dim=1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draws(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64).to(dtype)


def images(count: int, shape=(2, 8, 8), *, seed: int = 1, dtype=torch.float64) -> Tensor:
    return torch.rand(count, *shape, generator=generator(seed), dtype=torch.float64).to(dtype)


def affine(classes: int, shape=(2, 8, 8), *, seed: int = 0, dtype=torch.float64) -> Affine:
    size = math.prod(shape)
    weight, bias = draws(classes, size, seed=seed), 0.3 * draws(classes, seed=seed + 1000)
    return Affine(weight.to(dtype), bias.to(dtype))


def conv(classes: int = 6, *, seed: int = 0, dtype=torch.float64, smooth: bool = True) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1),
            nn.Softplus(beta=5) if smooth else nn.ReLU(),
            nn.Conv2d(6, 8, 3, stride=2),
            nn.BatchNorm2d(8),
            nn.Tanh() if smooth else nn.ReLU(),
            nn.Flatten(),
            nn.Linear(8 * 9, classes),
        )
        # Curved enough that DeepFool needs several steps.
        for layer, deviation in [(0, 0.25), (2, 0.2), (6, 0.5)]:
            nn.init.normal_(network[layer].weight, std=deviation)
        nn.init.normal_(network[6].bias)
    return network.to(dtype).eval()


def predicted(model: nn.Module, batch: Tensor) -> Tensor:
    with torch.no_grad():
        return model(batch).argmax(1)


def dense(subspace: Subspace, like: Tensor) -> Tensor:
    """An orthonormal basis as rows (dim, D): of a block from SciPy, of others by eigenvectors."""
    shape = tuple(like.shape[1:])
    if isinstance(subspace, Block):
        rows = []
        for channel in range(shape[0]):
            for i in range(subspace.top, subspace.top + subspace.height):
                for j in range(subspace.left, subspace.left + subspace.width):
                    hot = torch.zeros(shape, dtype=torch.float64)
                    hot[channel, i, j] = 1
                    inverse = scipy.fft.idctn(hot.numpy(), norm="ortho", axes=(1, 2))
                    rows.append(torch.from_numpy(inverse).flatten())
        return torch.stack(rows).to(like)
    size = math.prod(shape)
    identity = torch.eye(size, dtype=torch.float64).reshape(size, *shape)
    values, vectors = torch.linalg.eigh(subspace.project(identity).reshape(size, size))
    return vectors[:, values > 0.5].mT.to(like)
