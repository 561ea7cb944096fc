"""Images as texts: small pictures that a page and a record carry with them."""

import base64
import io

import torch
from jaxtyping import Shaped
from PIL import Image
from torch import Tensor

from robustkit.errors import InputError

# The longer side of a picture, in pixels; larger images are reduced.
_SIDE = 112
# Up to this side every pixel counts, and the file is small enough to keep it as it is.
_EXACT = 64


def data_uri(image: Shaped[Tensor, "..."]) -> str:
    """Return an image in [0, 1] with one or three channels as the address `data:image/...`.

    Small images are kept pixel by pixel, as PNG; larger ones are reduced, as JPEG. Images with
    other numbers of channels show the mean of all. Raises `InputError` for what is no image.
    """
    if image.ndim != 3 or image.numel() == 0:
        raise InputError(f"a picture is made of (C, H, W), got shape {tuple(image.shape)}.")
    pixels = image.detach().cpu().float()
    if len(pixels) not in (1, 3):
        pixels = pixels.mean(dim=0, keepdim=True)
    levels = (pixels.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    picture = Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)
    exact = max(picture.size) <= _EXACT
    if not exact:
        picture.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    file = io.BytesIO()
    picture.save(file, **({"format": "PNG"} if exact else {"format": "JPEG", "quality": 85}))
    kind = "png" if exact else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
