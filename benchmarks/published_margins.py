"""Subspace DeepFool as its authors published it: one subspace, one image and one class at a time.

It stands for the authors' code in the benchmarks, and makes the passes that code makes: for each
pair of an image and a subspace one forward pass to rank the classes, and in each step one forward
pass, one backward pass a class and one more forward pass to see if the step was enough. Projections
are products with a dense basis. Where their code also differentiates the parameters, and keeps
graphs that nobody walks back, this loop spares itself the work; nothing is guarded against NaN.

Source: Ortiz-Jimenez, Modas, Moosavi-Dezfooli and Frossard, Hold me tight! Influence of
discriminative features on deep network boundaries, NeurIPS 2020; constants are those of the
authors' code.
"""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn

from robustkit.margins import Block, idct

_SHORTEST = 1e-4


def dense_basis(block: Block, images: Tensor) -> Tensor:
    """Return the orthonormal basis of a block of DCT coefficients as columns, like the images."""
    places = product(range(block.shape[0]), range(block.height), range(block.width))
    coefficients = torch.zeros(block.dim, *block.shape, dtype=torch.float64)
    for number, (channel, row, column) in enumerate(places):
        coefficients[number, channel, block.top + row, block.left + column] = 1.0
    return idct(coefficients).flatten(1).to(images).mT


def margins(
    network: nn.Module,
    images: Tensor,
    bases: Sequence[Tensor],
    *,
    overshoot: float = 0.02,
    classes: int = 10,
    steps: int = 100,
) -> Tensor:
    """Return a perturbation `(M, N, *shape)` of each image in each subspace, one by one."""
    found = [
        _perturbation(network, image, basis, overshoot, classes, steps)
        for basis in bases
        for image in images.split(1)
    ]
    return torch.cat(found).reshape(len(bases), *images.shape)


def _answer(network: nn.Module, image: Tensor) -> int:
    with torch.no_grad():
        return int(network(image).argmax().item())


def _perturbation(
    network: nn.Module, image: Tensor, basis: Tensor, overshoot: float, classes: int, steps: int
) -> Tensor:
    with torch.no_grad():
        ranked = network(image)[0].argsort(descending=True)[:classes].tolist()
    label = answer = ranked[0]
    travel = torch.zeros_like(image)
    for _ in range(steps):
        if answer != label:
            break
        inputs = (image + travel).requires_grad_()
        logits = network(inputs)[0]
        (own,) = torch.autograd.grad(logits[label], inputs, retain_graph=True)
        nearest, chosen = torch.tensor(torch.inf), torch.zeros_like(own)
        for rival in ranked[1:]:
            (gradient,) = torch.autograd.grad(logits[rival], inputs, retain_graph=True)
            slope = gradient - own
            gap = (logits[rival] - logits[label]).detach().abs()
            distance = gap / (basis.mT @ slope.flatten()).norm()
            if distance.item() < nearest.item():
                nearest, chosen = distance, slope
        inside = (basis @ (basis.mT @ chosen.flatten())).reshape(image.shape)
        travel = travel + nearest.clamp(min=_SHORTEST) * inside / inside.norm()
        answer = _answer(network, image + (1 + overshoot) * travel)
    return (1 + overshoot) * travel
