"""The noise corruptions: Gaussian, shot, impulse and speckle noise."""

from jaxtyping import Float
from torch import Tensor

from robustkit.arguments import Number
from robustkit.corruptions.draws import Draws
from robustkit.corruptions.poisson import poisson


def gaussian_noise(
    images: Float[Tensor, "n c h w"], draws: Draws, scale: Number
) -> Float[Tensor, "n c h w"]:
    """Add independent normal noise of standard deviation `scale` to every element.

    - `images`: in [0, 1]; the result is not clipped.

    Source: Hendrycks and Dietterich, ICLR 2019, section 3.
    """
    return draws.normal("noise", images.shape[1:]).to(images.dtype).mul_(scale).add_(images)


def shot_noise(
    images: Float[Tensor, "n c h w"], draws: Draws, photons: Number
) -> Float[Tensor, "n c h w"]:
    """Replace every element by a Poisson number of mean `photons` times it, over `photons`.

    - `images`: in [0, 1]; `photons`: what white counts on average, positive.

    The result is not clipped above. Source: Hendrycks and Dietterich, ICLR 2019, section 3.
    """
    return poisson(images, draws, photons).div_(photons)


def impulse_noise(
    images: Float[Tensor, "n c h w"], draws: Draws, amount: Number
) -> Float[Tensor, "n c h w"]:
    """Set every element with chance `amount` to 0 or 1, each as likely: salt and pepper.

    - `images`: in [0, 1]; `amount`: in [0, 1], a multiple of 2**-31 after rounding.

    Channels are hit independently, as published. Source: Hendrycks and Dietterich, ICLR 2019,
    section 3; scikit-image's `random_noise`.
    """
    bits = draws.bits("noise", images.shape[1:])
    half = round(amount * 2**31)
    salted = images.masked_fill(bits < half - 2**31, 1)
    # The two thresholds are equally far from either end, so that the chances are equal too.
    return salted.masked_fill_(bits > 2**31 - 1 - half, 0)


def speckle_noise(
    images: Float[Tensor, "n c h w"], draws: Draws, scale: Number
) -> Float[Tensor, "n c h w"]:
    """Multiply every element by one plus normal noise of standard deviation `scale`.

    - `images`: in [0, 1]; the result is not clipped.

    Source: the held-out corruptions of Hendrycks and Dietterich, ICLR 2019, appendix B.
    """
    noise = draws.normal("noise", images.shape[1:]).to(images.dtype)
    return noise.mul_(scale).add_(1).mul_(images)
