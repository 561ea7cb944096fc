"""SparseFool as its authors published it: one image, one class and one coordinate at a time.

It stands for the authors' code in the benchmarks, and makes the passes that code makes: one forward
pass and one backward pass a class in each step of DeepFool, and one more forward pass to see if the
step was enough. Gradients are those of the input alone; nothing is guarded against NaN.

Source: Modas, Moosavi-Dezfooli and Frossard, SparseFool: a few pixels make a big difference,
CVPR 2019, Algorithms 1 and 2; constants are those of the authors' code.
"""

import torch
from torch import Tensor, nn

_BEYOND, _SHORTEST, _MARGIN, _DEEPFOOL_STEPS = 0.02, 1e-4, 1e-3, 50


def sparsefool(
    network: nn.Module,
    images: Tensor,
    *,
    reach: float = 3.0,
    overshoot: float = 0.02,
    classes: int = 10,
    steps: int = 20,
) -> Tensor:
    """Return a sparse adversarial image within [0, 1] of each image, one after the other."""
    found = [_attack(network, image, reach, overshoot, classes, steps) for image in images.split(1)]
    return torch.cat(found)


def _attack(
    network: nn.Module, clean: Tensor, reach: float, overshoot: float, classes: int, steps: int
) -> Tensor:
    label = answer = _answer(network, clean)
    point = adversarial = clean
    for _ in range(steps):
        if answer != label:
            break
        normal, on_plane = _plane(network, point, reach, classes)
        point = _solve(point, normal, on_plane)
        adversarial = (clean + (1 + overshoot) * (point - clean)).clamp(0, 1)
        answer = _answer(network, adversarial)
    return adversarial


def _answer(network: nn.Module, image: Tensor) -> int:
    with torch.no_grad():
        return int(network(image).argmax().item())


def _plane(network: nn.Module, image: Tensor, reach: float, classes: int) -> tuple[Tensor, Tensor]:
    """Return the unit normal of the boundary where DeepFool crosses it, and a point to aim at."""
    with torch.no_grad():
        ranked = network(image)[0].argsort(descending=True)[:classes].tolist()
    label = answer = ranked[0]
    travel = torch.zeros_like(image)
    for _ in range(_DEEPFOOL_STEPS):
        if answer != label:
            break
        inputs = (image + travel).requires_grad_()
        logits = network(inputs)[0]
        (own,) = torch.autograd.grad(logits[label], inputs, retain_graph=True)
        nearest, direction = torch.tensor(torch.inf), torch.zeros_like(own)
        for rival in ranked[1:]:
            (gradient,) = torch.autograd.grad(logits[rival], inputs, retain_graph=True)
            slope = gradient - own
            distance = (logits[rival] - logits[label]).detach().abs() / slope.norm()
            if distance.item() < nearest.item():
                nearest, direction = distance, slope
        travel = travel + nearest.clamp(min=_SHORTEST) * direction / direction.norm()
        answer = _answer(network, image + (1 + _BEYOND) * travel)
    inputs = (image + travel).requires_grad_()
    logits = network(inputs)[0]
    (normal,) = torch.autograd.grad(logits[answer] - logits[label], inputs)
    return normal / normal.norm(), image + reach * travel


def _solve(point: Tensor, normal: Tensor, on_plane: Tensor) -> Tensor:
    """Move coordinate after coordinate, the steepest first, until the plane is passed."""
    side = start = _offset(point, normal, on_plane).sign().item()
    left = normal.abs()
    while side == start and len(left.nonzero()) > 0:
        away = (_offset(point, normal, on_plane) + _MARGIN * start).abs()
        chosen = torch.zeros_like(left)
        chosen.view(-1)[left.argmax().item()] = 1.0
        step = (away / left.max()).clamp(min=_SHORTEST)
        point = (point + step * chosen * normal.sign()).clamp(0, 1)
        side = _offset(point, normal, on_plane).sign().item()
        left = left.where(chosen == 0, 0.0)
    return point


def _offset(point: Tensor, normal: Tensor, on_plane: Tensor) -> Tensor:
    return torch.dot(normal.flatten(), (point - on_plane).flatten())
