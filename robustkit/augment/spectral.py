"""The spectral primitive: each image is filtered with its own random kernel."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from robustkit.augment.operation import (
    check_augmentable,
    on_device,
    without_autocast,
    working_dtype,
)
from robustkit.errors import InputError


@dataclass(frozen=True)
class Spectral:
    """A filter that is the identity plus white noise: `delta + strength * N(0, 1)` at every tap.

    The kernel is one for all channels of an image, what leaves the frame is taken as 0, and the
    result is clipped to [0, 1]. At every frequency the transfer function has mean 1 and variance
    `strength^2 * size^2`: no band is preferred.

    - `sigma`: the largest strength; strengths are uniform on [0, sigma].
    - `size`: the side of the kernel, odd.
    - `shared`: one strength for all images of a call, as in the published code.
    - `centered`: False puts the delta where the published code has it, one tap below and to the
      right of the centre, so that without noise the image moves by a pixel up and to the left.

    Raises `InputError` for a negative sigma, or a size that is even or too small.

    Source: Modas et al., PRIME: A few primitives can boost robustness to common corruptions, ECCV
    2022, and its published code.
    """

    sigma: int | float = 4.0
    size: int = 3
    shared: bool = False
    centered: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.sigma < float("inf"):
            raise InputError(f"sigma must be a finite number of at least 0, got {self.sigma}.")
        least = 1 if self.centered else 3
        if self.size < least or self.size % 2 == 0:
            raise InputError(f"size must be odd and at least {least}, got {self.size}.")

    def sample(
        self,
        count: int,
        shape: tuple[int, int, int],
        *,
        generator: torch.Generator,
        dtype: torch.dtype,
        device: torch.device,
    ) -> Float[Tensor, "n size size"]:
        """Draw a kernel for each image; see `Operation`."""
        generator, dtype = on_device(generator, device), working_dtype(dtype)
        strengths = torch.rand(
            1 if self.shared else count, 1, 1, generator=generator, dtype=dtype, device=device
        )
        kernels = torch.randn(
            count, self.size, self.size, generator=generator, dtype=dtype, device=device
        )
        kernels *= self.sigma * strengths
        origin = self.size // 2 if self.centered else (self.size + 1) // 2
        kernels[:, origin, origin] += 1
        return kernels

    def apply(
        self, images: Float[Tensor, "n c h w"], parameters: Float[Tensor, "n size size"]
    ) -> Float[Tensor, "n c h w"]:
        """Filter each image with its kernel and clip; see `Operation`."""
        return filter_images(images, parameters).clamp_(0, 1)


def filter_images(
    images: Shaped[Tensor, "..."], kernels: Shaped[Tensor, "..."]
) -> Float[Tensor, "n c h w"]:
    """Correlate every channel of image i with kernel i; zeros lie around the image.

    `images` are `(N, C, H, W)` and `kernels` `(N, size, size)` of odd size, whose middle tap keeps
    a pixel in place. Nothing is clipped; half precision is computed in float32 and returned as it
    came. Raises `InputError` for anything else than one square kernel an image.

    Source: Modas et al., ECCV 2022.
    """
    check_augmentable(images)
    count, channels, height, width = images.shape
    side = kernels.shape[-1] if kernels.ndim else 0
    if kernels.shape != (count, side, side) or side % 2 == 0:
        raise InputError(
            f"kernels must be ({count}, size, size), one an image, square and of odd size, got "
            f"{tuple(kernels.shape)}."
        )
    dtype = working_dtype(images.dtype)
    weights = kernels.to(dtype)[:, None, None].expand(-1, channels, -1, -1, -1).flatten(0, 1)
    planes = images.to(dtype).reshape(1, count * channels, height, width)
    with without_autocast(images.device):
        filtered = F.conv2d(planes, weights, padding=side // 2, groups=count * channels)
    return filtered.reshape(images.shape).to(images.dtype)
