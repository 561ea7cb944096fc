"""SparseFool as published: a literal loop for one image, and what the authors' code gave."""

import math

import numpy as np
import pytest
import torch
from attack_toys import conv, images

from robustkit import data, models
from robustkit.attacks import sparsefool

SHORTEST, MARGIN = 1e-4, 1e-3


def predicted(model, image):
    with torch.no_grad():
        return model(image[None])[0].argmax().item()


def gradient_of(model, image, up, down):
    point = image.clone().requires_grad_()
    logits = model(point[None])[0]
    (gradient,) = torch.autograd.grad(logits[up] - logits[down], point)
    return (logits[up] - logits[down]).item(), gradient


def tangent(model, image, classes):
    """DeepFool: the unit normal of the boundary where it crosses, and the way there."""
    with torch.no_grad():
        ranks = model(image[None])[0].argsort(descending=True)[:classes].tolist()
    label, rivals = ranks[0], ranks[1:]
    travel, answer = torch.zeros_like(image), label
    for _ in range(50):
        best, direction = math.inf, None
        for rival in rivals:
            gap, normal = gradient_of(model, image + travel, rival, label)
            distance = abs(gap) / normal.norm().item()
            if distance < best:
                best, direction = distance, normal / normal.norm()
        travel = travel + max(best, SHORTEST) * direction
        answer = predicted(model, image + 1.02 * travel)
        if answer != label:
            break
    _, normal = gradient_of(model, image + travel, answer, label)
    return normal / normal.norm(), travel


def onto_plane(point, normal, anchor, lower, upper):
    """Algorithm 1: component by component, the steepest first, until the plane is reached.

    Steps aim beyond the plane by the margin of the authors' code; the sign is asked of the plane
    itself, as the paper does.
    """
    point, unused = point.clone().flatten(), set(range(point.numel()))
    normal, anchor = normal.flatten(), anchor.flatten()
    lower, upper = lower.flatten(), upper.flatten()
    side = torch.sign(normal @ (point - anchor))
    while unused and torch.sign(normal @ (point - anchor)) == side:
        steepest = max(unused, key=lambda j: normal[j].abs().item())
        missing = (normal @ (point - anchor)).abs() + MARGIN
        step = missing / normal[steepest].abs() * normal[steepest].sign()
        point[steepest] = (point[steepest] + step).clamp(lower[steepest], upper[steepest])
        unused.remove(steepest)
    return point


def published(model, image, lower, upper, *, reach, overshoot=0.02, classes=10, steps=50):
    """Algorithm 2 for one image."""
    label, point, fooling, loops = predicted(model, image), image, image, 0
    while predicted(model, fooling) == label and loops < steps:
        normal, travel = tangent(model, point, classes)
        anchor = point + reach * travel
        point = onto_plane(point, normal, anchor, lower, upper).reshape(image.shape)
        fooling = (image + (1 + overshoot) * (point - image)).clamp(lower, upper)
        loops += 1
    return fooling, loops


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize(("reach", "classes"), [(1, 10), (3, 10), (1, 3)])
def test_every_image_is_that_of_the_published_algorithm(reach, classes, smooth):
    model, batch = conv(smooth=smooth), images(10)
    lower, upper = torch.zeros_like(batch), torch.ones_like(batch)
    # Every other image has less room than the rest.
    lower[::2], upper[::2] = (batch[::2] - 0.3).clamp(min=0), (batch[::2] + 0.3).clamp(max=1)
    result = sparsefool(
        model, batch, legacy=True, reach=reach, classes=classes, bounds=(lower, upper)
    )
    assert result.iterations.max() > 1 or reach > 1
    for row, image in enumerate(batch):
        expected, loops = published(
            model, image, lower[row], upper[row], reach=reach, classes=classes
        )
        assert result.iterations[row] == loops
        assert torch.equal(result.adversarial[row] != image, expected != image)
        torch.testing.assert_close(result.adversarial[row], expected, rtol=1e-8, atol=1e-9)
    assert result.components.max() > 5


def test_the_defaults_are_those_of_the_paper():
    model, batch = conv(), images(3)
    explicit = sparsefool(
        model, batch, legacy=True, reach=3, overshoot=0.02, classes=10, steps=50, bounds=(0, 1)
    )
    assert torch.equal(sparsefool(model, batch, legacy=True).adversarial, explicit.adversarial)


def test_the_outputs_of_the_published_code_are_met(real_data):
    file = real_data.parent / "reference" / "sparsefool_cifar10_resnet20.npz"
    if not file.is_file():
        pytest.skip("no outputs of the published code beside the data")
    reference = {name: torch.as_tensor(values) for name, values in np.load(file).items()}
    photographs = data.to_float(data.load("cifar10").images[reference["index"]])
    result = sparsefool(models.load("cifar10_resnet20"), photographs, legacy=True)
    assert torch.equal(result.labels, reference["label"])
    assert result.success.all()
    assert (result.predictions == reference["fooled"]).double().mean() >= 0.95
    assert (result.iterations == reference["loops"]).double().mean() >= 0.95
    assert (result.pixels == reference["pixels"]).double().mean() >= 0.95
    assert (result.components == reference["components"]).double().mean() >= 0.95
    assert result.pixels.median() == reference["pixels"].median()
    same = result.components == reference["components"]
    support = (reference["adv"] != photographs) == (result.adversarial != photographs)
    assert support[same].flatten(1).all(1).double().mean() >= 0.95
    offsets = (result.adversarial - reference["adv"])[same].flatten(1).abs().amax(1)
    assert offsets.median() < 1e-3
