"""PRIME as its authors published it: every primitive on every chain at every step, then masks.

It stands for the authors' code in the benchmarks, and does the work that code does: the tone curve
takes the sine of each pixel at each frequency, the warp gathers the four neighbours of each pixel
by index, the filter is a convolution with a group an image, and at each step one of the three
results is kept and two are dropped. Strengths and warps are one for all chains of a step, and the
filter is off-centre. Draws come from torch's default generators.

Source: Modas et al., PRIME: A few primitives can boost robustness to common corruptions, ECCV 2022;
constants are those of the authors' code.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Beta, Dirichlet

_SETTINGS = {"cifar": (100, 100, 0.01, None), "imagenet": (500, 500, 0.05, 20)}


@torch.no_grad()
def prime(images: Tensor, preset: str = "cifar", width: int = 3, depth: int = 3) -> Tensor:
    """Return the mixtures of square images (N, C, H, H) in [0, 1] with their chains."""
    cutoff, frequencies, temperature, band = _SETTINGS[preset]
    count, device = len(images), images.device
    chains = images.repeat(width, 1, 1, 1)
    allowed = torch.tril(torch.ones(depth, depth, device=device))
    steps = allowed[torch.randint(depth, (len(chains),))]
    for step in range(depth):
        choice = F.one_hot(torch.randint(3, (len(chains),), device=device), 3).to(images.dtype)
        choice = choice * steps[:, step, None]
        results = torch.stack(
            [
                chains,
                diffeomorphism(chains, cutoff),
                color(chains, frequencies, temperature, band),
                spectral(chains),
            ]
        )
        keep = torch.cat([1 - choice.sum(1, keepdim=True), choice], dim=1)
        chains = (keep.T[..., None, None, None] * results).sum(0)
    weights = Dirichlet(torch.ones(width, device=device)).sample((count,))
    share = Beta(1.0, 1.0).sample((count,)).to(device)[:, None, None, None]
    mixed = torch.einsum("nk,knchw->nchw", weights, chains.reshape(width, *images.shape))
    return (1 - share) * images + share * mixed


def diffeomorphism(images: Tensor, cutoff: int) -> Tensor:
    """Warp all images by one displacement."""
    side, device = images.shape[-1], images.device
    largest = int(torch.randint(3, cutoff + 1, ()).item())
    arcsine = Beta(0.5, 0.5)
    c = min(int(arcsine.sample().item() * (largest - 1) + 2), largest)
    lowest = 1 / (math.pi * side**2 * math.log(c))
    highest = max(lowest, 4 / (math.pi**3 * c**2 * math.log(c)))
    root = math.sqrt(lowest + arcsine.sample().item() * (highest - lowest))
    modes = torch.arange(1, c + 1, dtype=images.dtype, device=device)
    radius = (modes[:, None].square() + modes.square()).sqrt()
    inside = (radius < c + 0.5) / radius
    waves = torch.sin(math.pi * torch.outer(torch.linspace(0, 1, side, device=device), modes))
    right, down = (
        root * side * torch.einsum("ij,yi,xj->yx", torch.randn_like(radius) * inside, waves, waves)
        for _ in range(2)
    )
    y, x = torch.meshgrid(*[torch.arange(side, device=device)] * 2, indexing="ij")
    y, x = (y - down).clamp(0, side - 1), (x - right).clamp(0, side - 1)
    top, left = y.floor().long(), x.floor().long()
    bottom, far = y.ceil().long(), x.ceil().long()
    y, x = y - top, x - left
    return (
        (1 - y) * (1 - x) * images[..., top, left]
        + (1 - y) * x * images[..., top, far]
        + y * (1 - x) * images[..., bottom, left]
        + y * x * images[..., bottom, far]
    )


def color(images: Tensor, cutoff: int, temperature: float, band: int | None) -> Tensor:
    """Put each channel of each image through its tone curve; frequencies are shared."""
    count, channels = images.shape[:2]
    last = int(torch.randint(1, cutoff + 1, ()).item())
    first = 1
    if band is not None:
        first = int(torch.randint(1, last + 1, ()).item())
        last = min(last, first + band - 1)
    root = math.sqrt(torch.rand(()).item() * temperature)
    frequencies = torch.arange(first, last + 1, dtype=images.dtype, device=images.device)
    coefficients = root * torch.randn(count, channels, 1, len(frequencies), device=images.device)
    waves = torch.sin(math.pi * images.flatten(2)[..., None] * frequencies)
    return (images + (coefficients * waves).sum(-1).reshape(images.shape)).clamp(0, 1)


def spectral(images: Tensor, sigma: float = 4.0, size: int = 3) -> Tensor:
    """Filter each image with its kernel; the strength is shared."""
    strength = torch.rand(()).item() * sigma
    kernels = strength * torch.randn(len(images), 1, size, size, device=images.device)
    kernels[:, :, (size + 1) // 2, (size + 1) // 2] += 1
    filtered = F.conv2d(images.transpose(0, 1), kernels, padding="same", groups=len(images))
    filtered[filtered.isnan()] = 1
    return filtered.transpose(0, 1).clamp(0, 1)
