"""A random crop of the reflected image, perhaps mirrored, for every image on its own."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from robustkit.errors import InputError
from robustkit.training import crop_and_flip


def images(count: int = 40) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, 9, 12), dtype=torch.uint8, generator=generator)


def crops(image: Tensor) -> list[Tensor]:
    padded = F.pad(image[None].float(), (4, 4, 4, 4), mode="reflect")[0].to(torch.uint8)
    plain = [padded[:, i : i + 9, j : j + 12] for i in range(9) for j in range(9)]
    return plain + [crop.flip(2) for crop in plain]


def test_each_result_is_one_of_the_crops_of_the_reflected_image() -> None:
    batch = images()
    found = crop_and_flip(batch, torch.arange(len(batch)), seed=1, epoch=2)
    chosen = []
    for image, result in zip(batch, found, strict=True):
        matches = [k for k, crop in enumerate(crops(image)) if torch.equal(crop, result)]
        assert len(matches) == 1
        chosen += matches
    # 40 draws out of 162: about 36 distinct ones, and half of them mirrored.
    assert len(set(chosen)) > 25
    assert 8 < sum(k >= 81 for k in chosen) < 32


def test_every_shift_occurs() -> None:
    ramp = torch.arange(16, dtype=torch.uint8).repeat(4000, 1, 16, 1)
    found = crop_and_flip(ramp, torch.arange(4000), seed=0, epoch=0)
    # Column 8 of the ramp shows the shift (8 + s), or 15 - 8 + s where it is mirrored.
    seen = found[:, 0, 0, 8].unique().tolist()
    assert seen == list(range(3, 13))


def test_the_draw_depends_on_image_seed_and_epoch_but_not_on_the_batch() -> None:
    batch, indices = images(), torch.arange(40)
    whole = crop_and_flip(batch, indices, seed=1, epoch=2)
    part = indices[[30, 4, 17]]
    assert torch.equal(crop_and_flip(batch[part], part, seed=1, epoch=2), whole[part])
    assert not torch.equal(crop_and_flip(batch, indices, seed=2, epoch=2), whole)
    assert not torch.equal(crop_and_flip(batch, indices, seed=1, epoch=3), whole)


def test_images_too_small_to_reflect_are_refused() -> None:
    with pytest.raises(InputError, match="4 x 8 are too small"):
        crop_and_flip(torch.zeros(1, 1, 4, 8, dtype=torch.uint8), torch.arange(1), seed=0, epoch=0)
