"""Brightness, saturation and contrast in closed form, without a trip to another colour space."""

import torch
from jaxtyping import Float
from torch import Tensor

from robustkit.arguments import Number
from robustkit.corruptions.draws import Draws


def brightness(
    images: Float[Tensor, "n c h w"], draws: Draws, amount: Number
) -> Float[Tensor, "n c h w"]:
    """Raise the value of hue-saturation-value by `amount`, up to 1.

    - `images`: in [0, 1], any number of channels; `draws`: unused; `amount`: in [0, 1].

    Hue and saturation stay, so a pixel with largest component V is multiplied by
    `min(V + amount, 1) / V`, and a black one becomes grey. One channel is its own value. Source:
    Hendrycks and Dietterich, ICLR 2019, section 3; released code.
    """
    value = images.amax(dim=1, keepdim=True)
    raised = (value + amount).clamp(max=1)
    return torch.where(value > 0, images * (raised / value), raised)


def saturate(
    images: Float[Tensor, "n c h w"], draws: Draws, factor: Number, offset: Number
) -> Float[Tensor, "n c h w"]:
    """Map the saturation S of hue-saturation-value to `factor * S + offset`, clipped to [0, 1].

    - `images`: in [0, 1], any number of channels; `draws`: unused; `factor`, `offset`: at least 0.

    Hue and value V stay, so a component x becomes `V - (V - x) S' / S`. A grey pixel has hue 0: its
    first component stays and the others become `V (1 - S')`. One channel does not change. Source:
    Hendrycks and Dietterich, ICLR 2019, released code.
    """
    value = images.amax(dim=1, keepdim=True)
    range_ = value - images.amin(dim=1, keepdim=True)
    saturation = torch.where(value > 0, range_ / value, 0)
    mapped = (factor * saturation + offset).clamp(0, 1)
    grey = torch.cat([value, (value * (1 - mapped)).expand_as(images[:, 1:])], dim=1)
    return torch.where(range_ > 0, value - (value - images) * (mapped / saturation), grey)


def contrast(
    images: Float[Tensor, "n c h w"], draws: Draws, factor: Number
) -> Float[Tensor, "n c h w"]:
    """Shrink each channel of each image towards its own mean by `factor`.

    - `images`: in [0, 1], any number of channels; `draws`: unused; `factor`: in [0, 1].

    Source: Hendrycks and Dietterich, ICLR 2019, section 3; released code.
    """
    means = images.mean(dim=(-2, -1), keepdim=True)
    return (images - means) * factor + means
