"""Floating images that stand for levels: whatever their rounding, the model is given the levels."""

import pytest
import torch
from selection_references import levels
from torch import nn

from robustkit.data import to_float
from robustkit.errors import InputError
from robustkit.translation import (
    RICS,
    CircularShift,
    CropShift,
    SubpixelShift,
    adversary,
    canonical,
    certified_radius,
    neighbourhood,
)

SIDE = 16


def shaken(images, seed=0, dtype=torch.float32):
    """Floats of these levels, each off by its own part of the tolerance."""
    generator = torch.Generator().manual_seed(seed)
    noise = (torch.rand(images.shape, generator=generator, dtype=torch.float64) - 0.5) * 1.8e-4
    return (images.double() / 255 + noise).clamp(0, 1).to(dtype)


def rolls(image):
    return torch.stack(
        [image.roll((y, x), (1, 2)) for y in range(image.shape[1]) for x in range(image.shape[2])]
    )


class Sharp(nn.Module):
    """The class is the last bits of the first pixel: no rounding goes unseen."""

    def __init__(self):
        super().__init__()
        self.eval()

    def forward(self, pixels):
        value = (pixels[:, 0, 0, 0].double() * 1e9).round().long()
        return torch.nn.functional.one_hot(value % 7, 7).double()


def tiles():
    return levels(3, 8, 8, seed=1).tile(1, 2, 2)


@pytest.mark.parametrize("score", ["seam", "hash"])
@pytest.mark.parametrize("make", [tiles, lambda: torch.full((3, SIDE, SIDE), 70).byte()])
def test_every_roll_of_shaken_floats_has_the_same_pixels_and_logits(make, score):
    image = shaken(make()[None])[0]
    every = rolls(image)
    rics = RICS(Sharp(), None, mode="circular", score=score)
    crops = rics.crops(every)
    assert (crops == crops[0]).all()
    assert torch.equal(crops[:1], to_float(canonical(make()[None], score=score)))
    assert (rics(every) == rics(every[:1])).all()
    # The control: the same selection, cut from the floats themselves, differs.
    positions = rics.select(every).positions
    own = every[torch.arange(len(every)), 0, positions[:, 0], positions[:, 1]]
    assert len(own.unique()) > 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("how", ["argmax", "landmark", "bottomk"])
def test_crops_are_exactly_their_levels(how, dtype):
    images = levels(3, 3, 14, 13)
    rics = RICS(nn.Flatten(), 9, select=how, radius=1, count=2)
    crops = rics.crops(shaken(images, dtype=dtype))
    assert torch.equal(crops, to_float(rics.crops(images), dtype))
    assert torch.equal(rics(shaken(images)), rics(images))


@pytest.mark.parametrize("shift_model", [CropShift(12), CircularShift()])
def test_memory_changes_no_label_of_shaken_floats(shift_model):
    images = shaken(torch.stack([tiles(), torch.full((3, SIDE, SIDE), 9).byte()]))
    mode = "circular" if shift_model == CircularShift() else "crop"
    rics = RICS(Sharp(), 9, score="hash", mode=mode)
    found = adversary(rics, images, None, shift_model, 2)
    naive = adversary(rics, images, None, shift_model, 2, memoise=False)
    assert torch.equal(found.labels, naive.labels)
    assert torch.equal(found.base, naive.base)
    assert found.calls.sum() < naive.calls.sum()


def test_a_safe_shift_changes_no_logit_of_shaken_floats():
    scenes = shaken(torch.full((1, 3, 24, 24), 102).byte())
    rics = RICS(Sharp(), 12, score="hash")
    found = certified_radius(rics, scenes, 18, limit=3)
    assert found.radii.tolist() == [3]
    seen = CropShift(18).apply(scenes, neighbourhood(3))[0]
    assert len(rics(seen).unique(dim=0)) == 1
    assert len(Sharp()(seen).unique(dim=0)) > 1


@pytest.mark.parametrize("how", ["argmax", "bottomk"])
def test_gradients_pass_as_through_a_copy(how):
    images = shaken(levels(2, 3, 12, 12)).requires_grad_()
    rics = RICS(nn.Flatten(), 9, select=how, count=2)
    crops = rics.crops(images)
    assert torch.equal(crops.detach(), rics.crops(images.detach()))
    (gradient,) = torch.autograd.grad(crops.sum(), images)
    covered = torch.zeros_like(gradient)
    positions = rics.select(images).positions.reshape(2, -1, 2)
    for row in range(2):
        for y, x in positions[row].tolist():
            covered[row, :, y : y + 9, x : x + 9] += 1
    assert torch.equal(gradient, covered)


def test_half_precision_can_be_resized():
    images = levels(2, 3, 12, 12)
    rics = RICS(nn.Flatten(), 9, size=6)
    found = rics(to_float(images, torch.float16))
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.float(), rics(images), rtol=0, atol=2e-3)


def test_ringing_is_refused_with_a_way_out():
    image = torch.zeros(1, 3, 16, 16)
    image[:, :, :, 8:] = 1
    with pytest.raises(InputError, match="shift uint8 images"):
        adversary(RICS(Sharp(), 7), image, None, SubpixelShift(10), shifts=torch.tensor([[0, 0.5]]))
    half = SubpixelShift(10, "bilinear")
    with pytest.raises(InputError, match="quantise"):
        adversary(RICS(Sharp(), 7), image, None, half, shifts=torch.tensor([[0, 0.3]]))
    for value in (-0.01, 1.01, float("inf"), float("nan")):
        image[0, 0, 0, 0] = value
        with pytest.raises(InputError, match=r"\[0, 1\]|NaN"):
            RICS(Sharp(), 7)(image)
