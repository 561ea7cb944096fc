"""Frost: ice crystals laid over the image, made by a procedure or cut from photographs."""

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional

from robustkit.arguments import Number
from robustkit.corruptions.crystals import crystals
from robustkit.corruptions.draws import Draws
from robustkit.corruptions.pixels import grey
from robustkit.errors import DataError

# Mean red, green and blue of the crops of 224 pixels, standard deviation of grey within a crop, and
# standard deviation of its mean, of the five published photographs; the second and third have equal
# pixels.
_KINDS = (
    (0.302, 0.579, 0.644, 0.061, 0.036),
    (0.776, 0.793, 0.829, 0.079, 0.024),
    (0.776, 0.793, 0.829, 0.079, 0.024),
    (0.568, 0.626, 0.677, 0.103, 0.027),
    (0.395, 0.440, 0.487, 0.139, 0.046),
)
_NAMES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")


def frost(
    images: Float[Tensor, "n c h w"],
    draws: Draws,
    image_weight: Number,
    frost_weight: Number,
    photograph_scale: Number,
    *,
    frost_folder: str | os.PathLike[str] | None = None,
) -> Float[Tensor, "n c h w"]:
    """Add ice: the sum of the image and a picture of frost, each with its weight.

    - `images`: in [0, 1]; frost is coloured on three channels, grey on any other number; `draws`:
      uses the name "kind", and "level" and those of `crystals`, or "crop"; `image_weight`,
      `frost_weight`: the two weights; `photograph_scale`: factor by which photographs shrink
      first, at most 1; procedural frost does not depend on it.
    - `frost_folder`: where the published photographs `frost1.png` ... `frost5.jpg` are; by default
      the frost is procedural.

    Procedural frost is not the published one. Each image draws one of the five photographs as its
    kind, and gets crystals of its own in the mean colour of that photograph, with the contrast that
    a crop of it has, and a level that varies as between crops; shapes and spectrum are only alike.
    Photographs are scaled, enlarged where an image would not fit, and cut at a random place. The
    published code draws among five of its six photographs, so the sixth was never used; this keeps
    to the five. Raises `DataError` when a photograph is missing. Source: Hendrycks and Dietterich,
    ICLR 2019, section 3; released code.
    """
    if frost_folder is None:
        ice = _procedural(images, draws)
    else:
        ice = _photographed(images, draws, Path(frost_folder), photograph_scale)
    if images.shape[1] != 3:
        ice = grey(ice)
    return image_weight * images + frost_weight * ice.to(images.dtype)


def _procedural(images: Tensor, draws: Draws) -> Tensor:
    texture = crystals(draws, *images.shape[-2:])[:, None]
    kinds = torch.tensor(_KINDS, device=images.device)[draws.integers("kind", 0, 5, ())]
    color, contrast, spread = kinds[:, :3], kinds[:, 3:4], kinds[:, 4:]
    level = color + spread * draws.normal("level", (1,))
    return (level[..., None, None] + contrast[..., None, None] * texture).clamp(0, 1)


def _photographed(images: Tensor, draws: Draws, folder: Path, scale: Number) -> Tensor:
    height, width = images.shape[-2:]
    pictures, sizes = _pictures(folder.resolve(), scale, height, width, images.device)
    kind = draws.integers("kind", 0, len(_NAMES), ())
    room = sizes[kind] - torch.tensor([height, width], device=images.device)
    start = (draws.uniform("crop", (2,)) * room).long()
    rows = start[:, :1] + torch.arange(height, device=images.device)
    columns = start[:, 1:] + torch.arange(width, device=images.device)
    crops = pictures[kind[:, None, None], rows[:, :, None], columns[:, None, :]]
    return crops.permute(0, 3, 1, 2).float() / 255


@lru_cache(maxsize=4)
def _pictures(
    folder: Path, scale: Number, height: int, width: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the photographs as 8-bit levels `(5, H, W, 3)`, padded below and right, and sizes."""
    pictures = [_fitted(_photograph(folder / name), scale, height, width) for name in _NAMES]
    sizes = torch.tensor([picture.shape[:2] for picture in pictures])
    tall, wide = sizes.amax(0).tolist()
    padded = [
        functional.pad(picture, (0, 0, 0, wide - picture.shape[1], 0, tall - picture.shape[0]))
        for picture in pictures
    ]
    return torch.stack(padded).to(device), sizes.to(device)


def _photograph(path: Path) -> Tensor:
    if not path.is_file():
        raise DataError(
            f"no photograph of frost at {path}: frost_folder must hold {', '.join(_NAMES)}, as the "
            "released code of ImageNet-C does; without frost_folder the frost is procedural."
        )
    with Image.open(path) as picture:
        return torch.from_numpy(np.array(picture.convert("RGB")))


def _fitted(picture: Tensor, scale: Number, height: int, width: int) -> Tensor:
    tall, wide = (round(side * scale) for side in picture.shape[:2])
    if scale != 1:
        rows = _between(picture.float(), tall, scale)
        picture = _between(rows.transpose(0, 1), wide, scale).transpose(0, 1).round().byte()
    growth = max((height + 1) / tall, (width + 1) / wide)
    if growth > 1:
        size = (round(wide * growth * 1.1), round(tall * growth * 1.1))
        picture = torch.from_numpy(
            np.array(Image.fromarray(picture.numpy()).resize(size, Image.Resampling.BICUBIC))
        )
    return picture


def _between(lines: Tensor, size: int, scale: Number) -> Tensor:
    """Shrink the first axis by reading between its two nearest lines, as OpenCV does."""
    places = ((torch.arange(size) + 0.5) / scale - 0.5).clamp(0, len(lines) - 1)
    low = places.long()
    high = (low + 1).clamp(max=len(lines) - 1)
    return torch.lerp(lines[low], lines[high], (places - low)[:, None, None])
