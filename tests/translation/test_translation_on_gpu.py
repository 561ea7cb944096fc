"""Selection on a GPU: the same integers, and so the same crops."""

import pytest
import torch
from selection_references import levels, photographs
from torch import nn

from robustkit.data import to_float
from robustkit.translation import RICS, score_maps

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("score", ["filter", "hash", "laplacian"])
def test_scores_and_hashes_are_those_of_the_processor(score):
    for images in (levels(9, 3, 70, 61), levels(5, 4, 40, 43, most=2), photographs(256)):
        crop = (33, 30)
        for seen in (images.cuda(), to_float(images.cuda())):
            found = score_maps(seen, crop, score)
            for there, here in zip(found, score_maps(images, crop, score), strict=True):
                assert there.is_cuda
                assert torch.equal(there.cpu(), here)


@pytest.mark.parametrize("how", ["argmax", "landmark", "bottomk"])
@pytest.mark.parametrize("score", ["filter", "hash", "laplacian"])
def test_selections_are_those_of_the_processor(how, score):
    images = torch.cat([levels(40, 3, 32, 30), levels(40, 3, 32, 30, most=2)])
    images[7], images[50] = 3, images[49]
    rics = RICS(nn.Flatten(), (17, 16), score=score, select=how, radius=2, count=4)
    here, there = rics.select(images), rics.select(images.cuda())
    for name in ("positions", "scores", "gaps", "hashes"):
        assert torch.equal(getattr(there, name).cpu(), getattr(here, name)), name
    assert torch.equal(rics.crops(images.cuda()).cpu(), rics.crops(images))


@pytest.mark.parametrize("score", ["seam", "filter"])
def test_rolls_have_one_canonical_image_there_too(score):
    images = torch.cat([levels(3, 3, 24, 20), levels(2, 3, 24, 20, most=2)])
    rics = RICS(nn.Flatten(), None, mode="circular", score=score)
    expected = rics.crops(images)
    for shift in ((0, 0), (5, 0), (-3, 7)):
        assert torch.equal(rics.crops(images.roll(shift, (2, 3)).cuda()).cpu(), expected)
