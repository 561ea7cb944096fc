"""The same margins on a GPU, up to rounding."""

import pytest
import torch
from margin_toys import conv, images, predicted

from robustkit.margins import (
    Whole,
    dct,
    diagonal_blocks,
    flip,
    fourier_rings,
    low_pass,
    margins,
    random_subspaces,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

SHAPE = (2, 8, 8)
PARTS = [
    *diagonal_blocks(SHAPE, 2, 3),
    fourier_rings(SHAPE, 2)[0],
    Whole(SHAPE),
    *random_subspaces(SHAPE, 3, 2),
]


@pytest.mark.parametrize("transform", [dct, flip, lambda x: low_pass(x, 3)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_transforms_follow_the_device(transform, dtype):
    pixels = images(5, dtype=dtype)
    result = transform(pixels.cuda())
    assert result.is_cuda
    size = 30 * torch.finfo(dtype).eps
    torch.testing.assert_close(result.cpu(), transform(pixels), rtol=size, atol=size)


@pytest.mark.parametrize("one", PARTS, ids=lambda one: one.name)
def test_subspaces_follow_the_device(one):
    batch = images(5)
    inside, norms = one.project(batch.cuda()), one.coefficient_norm(batch.cuda())
    assert inside.is_cuda
    torch.testing.assert_close(inside.cpu(), one.project(batch), rtol=0, atol=1e-12)
    torch.testing.assert_close(norms.cpu(), one.coefficient_norm(batch), rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"refine": "normal"}, {"legacy": True}, {"chunk": 7}])
@pytest.mark.parametrize("parts", [PARTS, PARTS[:3]], ids=["mixed", "blocks"])
def test_margins_agree_with_those_of_the_processor(options, parts):
    model, batch = conv(), images(10)
    labels = predicted(model, batch)
    labels[0] = (labels[0] + 1) % 6
    expected = margins(model, batch, parts, labels, perturbations=True, **options)
    # Labels may stay behind: they follow the images.
    result = margins(model.cuda(), batch.cuda(), parts, labels, perturbations=True, **options)
    assert result.distances.is_cuda
    assert result.perturbations.is_cuda
    torch.testing.assert_close(result.distances.cpu(), expected.distances, rtol=1e-6, atol=1e-9)
    for name in ("success", "iterations", "targets", "labels"):
        assert torch.equal(getattr(result, name).cpu(), getattr(expected, name))
    assert [one.estimate for one in result.medians()] == pytest.approx(
        [one.estimate for one in expected.medians()], rel=1e-6
    )
    assert len(result.frame()) == 10 * len(parts)
