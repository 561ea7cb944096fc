"""The same results on a GPU, up to rounding."""

import pytest
import torch
from attack_toys import conv, images

from robustkit.attacks import (
    deepfool,
    jsma,
    one_pixel,
    pgd,
    prune,
    quantize,
    sigma_zero,
    sparsefool,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("norm", [2, "inf"])
def test_a_gpu_agrees_with_the_processor(norm):
    model, batch = conv(), images(12)
    labels = torch.arange(12) % 6
    radius = 0.1 if norm == 2 else 0.02
    attacks = (
        lambda m, x, _: deepfool(m, x, norm=norm, bisection=5, chunk=5),
        lambda m, x, y: pgd(m, x, y, norm=norm, radius=radius, steps=5, restarts=2),
    )
    on_processor = [attack(model, batch, labels) for attack in attacks]
    model = model.cuda()
    for attack, expected in zip(attacks, on_processor, strict=True):
        # Labels may stay behind: they follow the images.
        result = attack(model, batch.cuda(), labels)
        assert result.adversarial.is_cuda
        torch.testing.assert_close(
            result.adversarial.cpu(), expected.adversarial, rtol=0, atol=1e-6
        )
        assert torch.equal(result.success.cpu(), expected.success)


@pytest.mark.parametrize(
    "attack",
    [
        lambda m, x, y: sparsefool(m, x, y, chunk=5),
        lambda m, x, y: sparsefool(m, x, y, unit="pixel"),
        lambda m, x, y: sparsefool(m, x, y, candidates=0),
        lambda m, x, y: sparsefool(m, x, y, legacy=True),
        lambda m, x, y: prune(m, pgd(m, x, y, norm="inf", radius=0.3, random_start=False)),
        lambda m, x, y: sigma_zero(m, x, y, steps=20),
        lambda m, x, y: jsma(m, x, y, budget=0.3),
        lambda m, x, y: one_pixel(m, x, y, pixels=3, population=20, generations=5),
        lambda m, x, y: quantize(m, sparsefool(m, x, y, overshoot=0.02)),
    ],
)
def test_sparse_attacks_on_a_gpu_change_the_same_components(attack):
    model, batch = conv(), (images(12) * 255).round() / 255
    with torch.no_grad():
        labels = model(batch).argmax(1)
    labels[:2] = (labels[:2] + 1) % 6
    expected = attack(model, batch, labels)
    result = attack(model.cuda(), batch.cuda(), labels)
    assert result.adversarial.is_cuda
    # Near ties fall either way, in an image or two.
    same = ((result.perturbation != 0).cpu() == (expected.perturbation != 0)).flatten(1).all(1)
    assert same.sum() >= 11
    torch.testing.assert_close(
        result.adversarial.cpu()[same], expected.adversarial[same], rtol=0, atol=1e-6
    )
    assert torch.equal(result.success.cpu(), expected.success)
    assert result.iterations[:2].tolist() == [0, 0]


def test_sparsefool_measures_in_half_precision_on_a_gpu():
    model, batch = conv(dtype=torch.float32).cuda(), images(12, dtype=torch.float32).cuda()
    result = sparsefool(model, batch, precision=torch.bfloat16)
    assert result.success.all()
    with torch.no_grad():
        assert (model(result.adversarial).argmax(1) != result.labels).all()
