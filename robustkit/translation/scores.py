"""Scores of crops: integers that depend on a crop's own pixels, and not on where it lies."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Int, Shaped, UInt8
from torch import Tensor

from robustkit.arguments import whole
from robustkit.errors import InputError, unknown
from robustkit.translation.content_hash import hash_score
from robustkit.translation.levels import check_fits, check_levels, in_parts

Score = Callable[[UInt8[Tensor, "n c h w"], tuple[int, int]], Int[Tensor, "n rows columns"]]


@dataclass(frozen=True)
class FilterScore:
    """Score every crop of `(N, C, H, W)` 8-bit images by the response of a filter at its centre.

    - `kernel`: integers, rows of one length; the response is summed over the channels and then
      taken absolutely.

    Calling it with images and the size (rows, columns) of crops returns int64 of shape
    `(N, H - rows + 1, W - columns + 1)`. Of the two middles of an even size the filter sits at the
    upper or left one if its own size is odd. Integers are added, so the scores are exact.

    Raises `InputError` for a kernel that is not so, images that are not uint8, a crop that does not
    fit or is smaller than the kernel, and weights whose sums doubles cannot hold.
    """

    kernel: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        lengths = {len(row) for row in self.kernel}
        weights = [whole(weight) for row in self.kernel for weight in row]
        if len(lengths) != 1 or len(weights) == 0 or None in weights:
            raise InputError(
                "a kernel must be rows of integers, all of one length, such as ((-1, 1), (1, -1)), "
                f"got {self.kernel!r}."
            )

    @property
    def gain(self) -> int:
        """The sum of the absolute values of the kernel.

        Noise of at most `e` in every level changes a score by at most `channels * gain * e`.
        """
        return sum(abs(weight) for row in self.kernel for weight in row)

    def __call__(
        self, images: Shaped[Tensor, "..."], crop: tuple[int, int]
    ) -> Int[Tensor, "n rows columns"]:
        """Return the score of every crop, placed as the crops are."""
        check_levels(images)
        check_fits(images, crop)
        height, width = len(self.kernel), len(self.kernel[0])
        if crop[0] < height or crop[1] < width:
            raise InputError(
                f"a crop of {crop[0]} x {crop[1]} pixels is smaller than the {height} x {width} "
                "filter that scores it; use a larger crop or score='hash'."
            )
        bound = 255 * images.shape[1] * self.gain
        if bound >= 2**53:
            raise InputError(f"scores of up to {bound:.2g} are too large; take smaller weights.")
        parts = in_parts(images, 2**23, most_on_cpu=2**18)
        return torch.cat([self._responses(part, crop) for part in parts])

    def _responses(self, images: Tensor, crop: tuple[int, int]) -> Tensor:
        height, width = len(self.kernel), len(self.kernel[0])
        rows, columns = (images.shape[2 + axis] - crop[axis] + 1 for axis in (0, 1))
        top, left = (crop[0] - height) // 2, (crop[1] - width) // 2
        seen = images[:, :, top : top + rows + height - 1, left : left + columns + width - 1]
        # All sums are whole and below 2**53: doubles hold them exactly, in any order of adding.
        runs = seen.sum(dim=1, dtype=torch.float64).unfold(2, width, 1)
        parts = runs.reshape(-1, width) @ _weights(self.kernel, images.device)
        # Row i of the kernel meets row y + i of the image: a diagonal.
        parts = parts.reshape(len(images), -1, columns, height).unfold(1, height, 1)
        return parts.diagonal(dim1=-2, dim2=-1).sum(dim=-1).abs().to(torch.int64)


@lru_cache(maxsize=64)
def _weights(kernel: tuple[tuple[int, ...], ...], device: torch.device) -> Tensor:
    with torch.inference_mode(False), torch.no_grad():
        return torch.tensor(kernel, dtype=torch.float64, device=device).mT.contiguous()


def filter_score(key: int = 0) -> FilterScore:
    """Return the score by a random 7 x 7 filter of zero mean, drawn by `key`.

    Neighbouring crops differ widely in it, so that the best one is rarely at the border of the
    candidates, where a shift loses it; and unlike a hash it changes little with small noise. Our
    choice: the score of Shifman and Weiss is not known to us.
    """
    drawn = hashlib.shake_256(f"{key}/translation/filter".encode()).digest(49)
    # Integers times 49, less their sum: the mean is zero exactly.
    weights = [49 * byte - sum(drawn) for byte in drawn]
    return FilterScore(tuple(tuple(weights[start : start + 7]) for start in range(0, 49, 7)))


def laplacian_score() -> FilterScore:
    """Return the score by the Laplacian of the four neighbours, which has no key."""
    return FilterScore(((0, 1, 0), (1, -4, 1), (0, 1, 0)))


_SCORES: dict[str, Callable[[int], Score]] = {
    "filter": filter_score,
    "hash": hash_score,
    "laplacian": lambda key: laplacian_score(),
}


def resolve_score(score: str | Score, key: int = 0) -> Score:
    """Return the score of a name, "filter", "hash" or "laplacian", or a function as it is.

    - `key`: of the filter's weights or of the hash.

    Raises `InputError` for an unknown name, and what is no function.
    """
    if not isinstance(score, str):
        if not callable(score):
            raise InputError(
                f"score must be one of {', '.join(_SCORES)}, or a function of images and the size "
                f"of crops, got {score!r}."
            )
        return score
    if score == "seam":
        raise InputError(
            "the score 'seam' looks for the border of a circular shift: use it with "
            "mode='circular', or in canonical."
        )
    if score not in _SCORES:
        raise unknown("score", score, _SCORES)
    return _SCORES[score](key)


def scores_of(
    levels: UInt8[Tensor, "n c h w"], crop: tuple[int, int], rate: Score
) -> Int[Tensor, "n rows columns"]:
    """Return the scores of all crops of 8-bit images.

    Raises `InputError` when a crop does not fit, and for a function that returns something else.
    """
    check_fits(levels, crop)
    scores = rate(levels, crop)
    shape = len(levels), levels.shape[2] - crop[0] + 1, levels.shape[3] - crop[1] + 1
    if scores.shape != shape or scores.dtype != torch.int64:
        raise InputError(
            f"the score must return int64 of shape {shape}, got {scores.dtype} of shape "
            f"{tuple(scores.shape)}."
        )
    return scores
