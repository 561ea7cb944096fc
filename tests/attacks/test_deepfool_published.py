"""DeepFool against a literal loop over images, classes and steps, written from the paper."""

import pytest
import torch
from attack_toys import conv, images

from robustkit.attacks import deepfool


def published(model, image, *, norm=2, classes=10, overshoot=0.02, steps=50, extra=0.0):
    """Algorithm 2 for one image, as the authors run it; they add `extra` = 1e-4 to each step."""
    start = image[None]
    logits = model(start)[0].detach()
    ranks = logits.argsort(descending=True)[:classes]
    total = torch.zeros_like(start)
    for step in range(steps):
        point = (start + (1 + overshoot) * total).requires_grad_()
        logits = model(point)[0]
        if logits.argmax() != ranks[0]:
            return point.detach()[0], step
        gradients = [torch.autograd.grad(logits[k], point, retain_graph=True)[0] for k in ranks]
        best = None
        for rank in range(1, len(ranks)):
            normal = gradients[rank] - gradients[0]
            steepness = normal.norm() if norm == 2 else normal.abs().sum()
            distance = (logits[ranks[rank]] - logits[ranks[0]]).abs().detach() / steepness
            if best is None or distance < best[0]:
                direction = normal / steepness if norm == 2 else normal.sign()
                best = distance, direction
        total = total + (best[0] + extra) * best[1]
    return (start + (1 + overshoot) * total)[0], steps


@pytest.mark.parametrize("norm", [2, "inf"])
@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("classes", [3, 6])
def test_every_step_of_every_image_is_the_published_one(norm, smooth, classes):
    model, batch = conv(smooth=smooth), images(16)
    result = deepfool(model, batch, norm=norm, candidates=classes, bounds=None)
    assert result.iterations.max() > 1
    for row, image in enumerate(batch):
        point, steps = published(model, image, norm=norm, classes=classes)
        assert result.iterations[row] == steps
        torch.testing.assert_close(result.adversarial[row], point, rtol=1e-9, atol=1e-10)


def test_the_constant_of_the_published_code_inflates_short_distances():
    model, batch = conv(), images(8)
    # Images moved to just before the boundary.
    crossing = deepfool(model, batch, bounds=None, bisection=30)
    near = crossing.images + 0.9999 * crossing.perturbation
    ours = deepfool(model, near, crossing.labels, bounds=None)
    theirs = torch.stack([published(model, image, extra=1e-4)[0] for image in near])
    lengths = torch.linalg.vector_norm((theirs - near).flatten(1), dim=1)
    exact = torch.linalg.vector_norm((crossing.adversarial - near).flatten(1), dim=1)
    assert ours.success.all()
    assert (ours.l2 <= 1.03 * exact).all()
    assert (lengths > ours.l2 + 0.9e-4).all()
    assert (lengths > 1.5 * exact).any()
