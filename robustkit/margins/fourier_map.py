"""How often a model errs under noise of a single frequency: the Fourier heat map."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from robustkit import rng
from robustkit.arguments import Number, check_count, check_nonnegative, keys_of
from robustkit.attacks.box import Bounds, check_batch
from robustkit.checks import (
    check_device,
    check_held,
    check_labels,
    check_logits,
    check_model,
    run_model,
)
from robustkit.errors import InputError
from robustkit.progress import progress
from robustkit.shapes import precise
from robustkit.stats import Interval, wilson


@dataclass(frozen=True, eq=False)
class FourierMap:
    """The errors of a model under noise of each frequency, over `count` images.

    - `wrong`: `(H, W)`, images misclassified at each frequency, int64. Centred: entry (H // 2,
      W // 2) is the constant image, rows go up to higher vertical frequencies. The entries of
      (u, v) and (-u, -v) are one measurement: both frequencies have the same noise.
    - `count`: the number of images; `norm`: the Euclidean norm of the noise in each channel.
    """

    wrong: Int[Tensor, "height width"]
    count: int
    norm: float

    @property
    def errors(self) -> Float[Tensor, "height width"]:
        """The share of images misclassified at each frequency, centred, float64."""
        return self.wrong.double() / self.count

    @property
    def frequencies(self) -> tuple[Float[Tensor, " height"], Float[Tensor, " width"]]:
        """The vertical frequency of each row and the horizontal one of each column.

        In cycles a pixel, in [-0.5, 0.5), float64.
        """
        return _centred_frequencies(self.wrong.shape[0]), _centred_frequencies(self.wrong.shape[1])

    def interval(self, vertical: int, horizontal: int, *, level: float = 0.95) -> Interval:
        """Return the error rate at a frequency, in cycles an image, with Wilson's interval.

        Frequencies are integers, and those that differ by H or W are the same.
        """
        height, width = self.wrong.shape
        row, column = (vertical + height // 2) % height, (horizontal + width // 2) % width
        return wilson(int(self.wrong[row, column]), self.count, level=level)

    def folded(self) -> Float[Tensor, "rows columns"]:
        """Return the error rates by absolute frequency; see `fold_frequencies`."""
        return fold_frequencies(self.errors)


def fourier_basis(
    size: tuple[int, int],
    vertical: int,
    horizontal: int,
    *,
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
) -> Float[Tensor, "height width"]:
    """Return the real image of unit norm with one spatial frequency: a cosine, phase 0 at (0, 0).

    `size` is (H, W); `vertical` and `horizontal` are the frequencies in cycles an image, any
    integers: those that differ by H or W are the same, and so are (u, v) and (-u, -v). The Fourier
    transform is zero but at these two, which are one for the constant image and at half a cycle a
    pixel. Raises `InputError` for an empty image.

    Source: Yin et al., A Fourier Perspective on Model Robustness in Computer Vision, NeurIPS 2019,
    section 2; the phase is that of the inverse transform of a real, symmetric spectrum.
    """
    if min(size) < 1:
        raise InputError(f"size must be (H, W), at least 1 each, got {size}.")
    pair = torch.tensor([[vertical, horizontal]], device=check_device(device))
    return _waves(size, pair, dtype)[0]


@torch.inference_mode(False)
@torch.no_grad()
def fourier_error_map(
    model: nn.Module,
    images: Shaped[Tensor, "..."],
    labels: Shaped[Tensor, "..."],
    *,
    norm: Number = 4.0,
    bounds: Bounds | None = (0.0, 1.0),
    seed: int = 0,
    indices: Shaped[Tensor, "..."] | None = None,
    chunk: int = 512,
) -> FourierMap:
    """Return how often the model errs when noise of one frequency is added, for every frequency.

    - `images`: `(N, C, H, W)`, floating point, within `bounds`; `labels`: `(N,)`, the true classes.
    - `norm`: of the noise in each channel, at least 0. The noise is the `fourier_basis` image times
      `norm`, with a random sign for each frequency, image and channel; an image of C channels moves
      by a distance of norm * sqrt(C), before the bounds. Published: 4 on 32 x 32 images.
    - `bounds`: the noisy image is clamped to them, in [0, 1] unless given; None does not clamp.
    - `seed` and `indices`: signs depend on the seed, the frequency and the image's index, int64, by
      default its row, and on nothing else of the batch.
    - `chunk`: most images in one call of the network.

    About N * H * W / 2 images go through the network, as (u, v) and (-u, -v) are measured once. An
    output that is not finite is an error. Raises `InputError` for images, labels, bounds, arguments
    or a model that it cannot work with.

    Source: Yin et al., A Fourier Perspective on Model Robustness in Computer Vision, NeurIPS 2019,
    section 2.
    """
    check_nonnegative("norm", norm)
    check_count("chunk", chunk, 1)
    if images.ndim != 4:
        raise InputError(f"images must be (N, C, H, W), got shape {tuple(images.shape)}.")
    box = check_batch(images, bounds)
    check_model(model)
    example = run_model(model, images[:1])
    check_logits(example, 1)
    check_labels(labels, len(images), example.shape[1])
    keys = keys_of(indices, images)
    count, (height, width) = len(images), images.shape[2:]
    pairs = _half_plane(height, width).to(images.device)
    wrong = torch.zeros(len(pairs), dtype=torch.int64, device=images.device)
    truth = labels.to(wrong)
    total = len(pairs) * count
    with progress(total, "Fourier heat map") as line:
        for start in range(0, total, chunk):
            work = torch.arange(start, min(start + chunk, total), device=images.device)
            which, rows = work // count, work % count
            noise = _noise(pairs, which, keys[rows], seed, images)
            noisy = (images[rows] + norm * noise).to(images.dtype)
            logits = model(noisy if box is None else box.at(rows).clamp(noisy))
            check_logits(logits, len(work))
            right = (logits.argmax(dim=1) == truth[rows]) & logits.isfinite().all(dim=1)
            wrong.index_add_(0, which, (~right).long())
            line.update(len(work))
    table = wrong.new_zeros(height, width)
    for mirror in (1, -1):
        table[mirror * pairs[:, 0] % height, mirror * pairs[:, 1] % width] = wrong
    return FourierMap(torch.fft.fftshift(table), count, float(norm))


def fold_frequencies(
    values: Float[Tensor, "height width"],
) -> Float[Tensor, "rows columns"]:
    """Return the mean of a centred map over the signs of its frequencies, (H//2 + 1, W//2 + 1).

    Entry (i, j) is the mean over the frequencies (i, j), (i, -j), (-i, j) and (-i, -j) in cycles an
    image: i / H and j / W cycles a pixel, from 0 to 0.5. That is the axis on which the DCT
    coefficient i of H lies at i / (2 H), so that the two can be shown side by side.
    """
    if values.ndim != 2 or 0 in values.shape:
        raise InputError(f"a map has shape (H, W) and is not empty, got {tuple(values.shape)}.")
    check_held("values", values)
    plain = torch.fft.ifftshift(values)
    down = plain + plain.flip(0).roll(1, 0)
    both = down + down.flip(1).roll(1, 1)
    height, width = values.shape
    quarter: Tensor = both[: height // 2 + 1, : width // 2 + 1] / 4
    return quarter


def _centred_frequencies(size: int) -> Tensor:
    frequencies: Tensor = torch.fft.fftshift(torch.fft.fftfreq(size, dtype=torch.float64))
    return frequencies


def _half_plane(height: int, width: int) -> Int[Tensor, "pairs 2"]:
    """Return one of each two frequencies (u, v) and (-u, -v), as non-negative indices."""
    everything = torch.cartesian_prod(torch.arange(height), torch.arange(width))
    opposite = -everything % torch.tensor([height, width])
    kept = everything @ torch.tensor([width, 1]) <= opposite @ torch.tensor([width, 1])
    return everything[kept]


def _waves(
    size: tuple[int, int], pairs: Int[Tensor, "pairs 2"], dtype: torch.dtype
) -> Float[Tensor, "pairs height width"]:
    height, width = size
    device = pairs.device
    # Whole turns are taken out in integers: the cosine of a large angle would lose digits.
    turns = [
        (pairs[:, axis, None] * torch.arange(length, device=device) % length).double() / length
        for axis, length in enumerate(size)
    ]
    waves = torch.cos(2 * math.pi * (turns[0][:, :, None] + turns[1][:, None, :]))
    lone = (2 * pairs % torch.tensor([height, width], device=device) == 0).all(dim=1)
    squares = torch.where(lone, 1.0, 0.5).double() * (height * width)
    return (waves / squares.sqrt()[:, None, None]).to(dtype)


def _noise(
    pairs: Int[Tensor, "pairs 2"],
    which: Int[Tensor, " m"],
    keys: Int[Tensor, " m"],
    seed: int,
    images: Float[Tensor, "n c h w"],
) -> Float[Tensor, "m c h w"]:
    """Return the signed waves of pairs `which`, for images with these keys."""
    shape, dtype = (images.shape[1], 1, 1), precise(images)
    used, here = which.unique(return_inverse=True)
    waves = _waves((images.shape[2], images.shape[3]), pairs[used], dtype)
    signs = torch.empty(len(keys), *shape, dtype=dtype, device=keys.device)
    for place, (vertical, horizontal) in enumerate(pairs[used].tolist()):
        rows = here == place
        draws = rng.uniform(seed, f"fourier map/{vertical}/{horizontal}", keys[rows], shape, dtype)
        signs[rows] = torch.where(draws < 0.5, -1.0, 1.0).to(dtype)
    return signs * waves[here, None]
