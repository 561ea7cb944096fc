"""The attacks on real photographs and a published network."""

import pytest
import torch

from robustkit import data, models
from robustkit.attacks import deepfool, pgd


@pytest.fixture
def photographs(real_data):
    dataset = data.load("cifar10", limit=64)
    return models.load("cifar10_resnet20"), data.to_float(dataset.images), dataset.labels


@pytest.mark.parametrize(("norm", "low", "high"), [(2, 0.05, 0.3), ("inf", 0.001, 0.01)])
def test_deepfool_fools_a_plain_network_on_every_photograph(photographs, norm, low, high):
    model, images, _ = photographs
    result = deepfool(model, images, norm=norm)
    assert result.success.all()
    assert low < result.distance(norm).median() < high
    assert result.iterations.max() < 20
    closer = deepfool(model, images, norm=norm, bisection=8)
    assert closer.success.all()
    assert (closer.distance(norm) <= result.distance(norm) + 1e-6).all()


def test_pgd_agrees_with_deepfool(photographs):
    model, images, labels = photographs
    result = deepfool(model, images, labels, bisection=8)
    # Half as far again as DeepFool went, a ball of PGD holds a fooling point too.
    found = pgd(model, images, labels, radius=(1.5 * result.l2).clamp(min=0.01), steps=30)
    assert found.success.all()
    # And nothing fools at a tenth of the way, or DeepFool's distance is no distance.
    assert (
        pgd(model, images, labels, radius=0.1 * result.l2).success.sum() == (result.l2 == 0).sum()
    )
    assert torch.equal(found.labels, labels)
