"""JPEG compression: by Pillow, or the same numbers in tensor code that lets gradients through."""

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from robustkit.corruptions.draws import Draws
from robustkit.corruptions.jpeg_tensor import compress
from robustkit.corruptions.pixels import check_channels
from robustkit.errors import InputError, unknown

_MODES = ("auto", "pil", "tensor")

# Pixels that a thread takes at a time, or one image.
_SHARE = 2**16


def jpeg_compression(
    images: Float[Tensor, "n c h w"], draws: Draws, quality: int, *, mode: str = "auto"
) -> Float[Tensor, "n c h w"]:
    """Compress images as JPEG of this quality with 4:2:0 chroma, and decompress them.

    - `images`: in [0, 1], rounded to 8 bits first, one channel (a grey JPEG) or three (red, green,
      blue); `draws`: unused; `quality`: 1 to 100.
    - `mode`: "pil", Pillow on the CPU, in as many threads as torch has; "tensor", tensor code on
      the images' device, through which gradients pass as if no number were rounded; "auto", the
      faster one: Pillow for images of at least 96 x 96 pixels on the CPU that need no gradient,
      else tensor code.

    Both give equal 8-bit levels: the tensor code repeats the integer arithmetic of the libjpeg that
    Pillow ships. So with any mode results are the same on CPU and GPU. Raises `InputError` for
    another number of channels, a quality out of range or an unknown mode. Source: ITU-T T.81;
    Hendrycks and Dietterich, ICLR 2019, section 3.
    """
    if mode not in _MODES:
        raise unknown("mode", mode, _MODES)
    if not 1 <= quality <= 100:
        raise InputError(f"quality must lie in [1, 100], got {quality}.")
    check_channels("JPEG", images, 1, 3)
    if mode == "tensor" or (mode == "auto" and not _suits_pillow(images)):
        return compress(images, quality)
    levels = (images.detach() * 255).round().to(torch.uint8).cpu()
    return _by_pillow(levels, quality).to(images.device).to(images.dtype) / 255


def _suits_pillow(images: Tensor) -> bool:
    gradient = images.requires_grad and torch.is_grad_enabled()
    large = images.shape[-2] * images.shape[-1] >= 96 * 96
    return images.device.type == "cpu" and large and not gradient


def _by_pillow(levels: UInt8[Tensor, "n c h w"], quality: int) -> UInt8[Tensor, "n c h w"]:
    pictures = levels.permute(0, 2, 3, 1).contiguous().numpy()
    if pictures.shape[-1] == 1:
        pictures = pictures[..., 0]
    result = np.empty_like(pictures)

    def work(share: slice) -> None:
        for picture, target in zip(pictures[share], result[share], strict=True):
            target[...] = _round_trip(picture, quality)

    count = max(1, _SHARE // (pictures.shape[1] * pictures.shape[2]))
    shares = [slice(start, start + count) for start in range(0, len(pictures), count)]
    # Pillow lets other threads run while it codes.
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(work, shares))
    tensor = torch.from_numpy(result)
    return tensor[:, None] if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2)


def _round_trip(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    file = BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))
