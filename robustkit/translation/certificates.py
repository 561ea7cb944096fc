"""What a known scene says of a selection: the shifts and the noise that cannot change it."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from robustkit.arguments import check_count
from robustkit.errors import InputError
from robustkit.translation.levels import Size, check_batch, pair
from robustkit.translation.rics import RICS
from robustkit.translation.scores import FilterScore, Score
from robustkit.translation.selection import Selection
from robustkit.translation.windows import middle_of


@dataclass(frozen=True, eq=False)
class ShiftCertificate:
    """The shifts of a window that leave its selected crop as it is; row i is about image i.

    - `limit`: the largest shift looked at, in pixels.
    - `safe`: `(N, 2 * limit + 1, 2 * limit + 1)`, whether the crop selected after the shift
      `(row - limit, column - limit)` has the pixels of the one selected before.
    - `radii`: the largest radius up to `limit` within which every shift is safe, int64.
    - `limited`: whether all shifts looked at are safe: then a larger radius may be as well, and
      else some shift of `radii + 1` pixels is not.
    """

    limit: int
    safe: Bool[Tensor, "n shifts shifts"]
    radii: Int[Tensor, " n"]
    limited: Bool[Tensor, " n"]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.radii)


@torch.no_grad()
def safe_shifts(
    selector: RICS,
    source: Shaped[Tensor, "..."],
    window: Size,
    *,
    position: tuple[int, int] | None = None,
    limit: int | None = None,
) -> Bool[Tensor, "n shifts shifts"]:
    """Return which shifts of a window select the same pixels, exactly, from one map of scores.

    - `selector`: its crops, scores and way to select count; its model is not called.
    - `source`: the whole scenes `(N, C, H, W)`, 8-bit levels as for the selector.
    - `window`: rows and columns of the window, or one number for both, in pixels.
    - `position`: row and column of its first pixel; by default it lies in the middle, rounded down.
    - `limit`: the largest shift along an axis, k, in pixels; by default as far as the scene goes
      on all four sides.

    The result is `(N, 2k + 1, 2k + 1)`; its element `(k + a, k + b)` is about the shift by a rows
    and b columns, and that of no shift is true. Of several selected crops ("bottomk") all must be
    the same. Pixels are compared by score and by content hash.

    Any model gives the same output for the same pixels, as far as its arithmetic does not depend on
    the batch: so a safe shift changes no prediction of `selector`.

    Raises `InputError` for a window or a limit that reaches outside the scenes, a selector that has
    no windows, and as the selector does. Source: our own; our reading of the selection of
    Shifman and Weiss, Lost in translation, ECCV 2024.
    """
    mode = getattr(selector, "mode", None)
    if mode == "circular":
        raise InputError(
            "a circular selector keeps its crop under all circular shifts, and a window that moves "
            "over a scene has no certificate for it; use a RICS with mode='crop'."
        )
    if mode != "crop":
        raise InputError("selector must select crops: wrap the network, RICS(network, crop).")
    check_batch(source)
    size = pair("window", window)
    top, left = middle_of(source, size) if position is None else position
    height, width = source.shape[-2:]
    margin = min(top, left, height - size[0] - top, width - size[1] - left)
    if margin < 0:
        raise InputError(
            f"a window of {size[0]} x {size[1]} at {(top, left)} reaches outside the scene of "
            f"{height} x {width} pixels; nothing is padded."
        )
    reach = margin if limit is None else limit
    check_count("limit", reach, 0)
    if reach > margin:
        raise InputError(
            f"the scene goes on for {margin} pixels around the window, but limit is {reach}; take "
            "a smaller limit, a smaller window or larger scenes: nothing is padded."
        )
    seen = source[:, :, top - reach : top + size[0] + reach, left - reach : left + size[1] + reach]
    steps = torch.arange(2 * reach + 1, device=source.device)
    positions = torch.cartesian_prod(steps, steps).reshape(-1, 2)
    same = _unchanged(selector, seen, size, positions)
    return same.reshape(len(source), len(steps), len(steps))


def certified_radius(
    selector: RICS,
    source: Shaped[Tensor, "..."],
    window: Size,
    *,
    position: tuple[int, int] | None = None,
    limit: int | None = None,
) -> ShiftCertificate:
    """Return the largest radius within which no shift changes the selected pixels, for each image.

    Arguments, errors and source are those of `safe_shifts`. The radius counts rows and columns
    alone: radius k stands for all `(2k + 1)**2 - 1` shifts by at most k of both. It is exact, not
    a bound, except where the scene or `limit` ends before a change (`limited`).
    """
    safe = safe_shifts(selector, source, window, position=position, limit=limit)
    reach = safe.shape[1] // 2
    radii = radii_of(safe)
    return ShiftCertificate(reach, safe, radii, radii == reach)


def radii_of(safe: Bool[Tensor, "n shifts shifts"]) -> Int[Tensor, " n"]:
    """Return the largest radius of each map up to which all shifts are safe, int64.

    - `safe`: `(N, 2k + 1, 2k + 1)`, about all shifts by up to k, the one of none in the middle;
      where that is not safe, the radius is -1.
    """
    reach = safe.shape[1] // 2
    steps = torch.arange(-reach, reach + 1, device=safe.device).abs()
    rings = torch.maximum(steps[:, None], steps)
    return torch.where(safe, reach + 1, rings).amin(dim=(1, 2)) - 1


def noise_radius(selection: Selection, score: Score, channels: int) -> Int[Tensor, "..."]:
    """Return the largest noise, in 8-bit levels, that cannot change the selected pixels, int64.

    - `selection`: by "argmax", of one crop an image, scored by `score`. For a landmark the result
      holds as well if no two candidates have the same pixels.
    - `score`: a filter, `filter_score(key)` for one; `selector.score` of a `RICS`.
    - `channels`: of the images.

    The result has the shape of `selection.gaps`. Whatever changes each level by at most so much,
    clipped to 0 to 255 or not, leaves the crop selected where a crop with the pixels of the old one
    was: it changes a score by at most its size times `channels * score.gain`, the sum of the
    absolute weights K over all channels, and twice that must stay strictly below the gap. A gap
    of g gives the largest integer below g / (2 K), at least 0 and at most 255. More noise may
    change nothing: the bound is reached where the filters of two crops share no pixel.

    Raises `InputError` for a score that is no filter, several selected crops, or `channels` below
    1. Source: our own.
    """
    if not isinstance(score, FilterScore):
        raise InputError(
            "only a filter bounds what noise does to a score, and any noise may change a hash; "
            "select with score='filter' or 'laplacian'."
        )
    check_count("channels", channels, 1)
    if selection.hashes.shape != selection.gaps.shape:
        raise InputError("noise has a radius for one selected crop; use how='argmax'.")
    # A filter of zeros leaves the choice to the hash: its gap is 0, or there is one content alone.
    slope = max(1, 2 * channels * score.gain)
    return ((selection.gaps - 1) // slope).clamp(0, 255)


def _unchanged(
    selector: RICS, source: Tensor, window: tuple[int, int], positions: Tensor
) -> Tensor:
    """Return whether windows at positions select what the one in the middle does, `(N, P)`."""
    found = selector.select_windows(source, window, positions)
    middle = slice(len(positions) // 2, len(positions) // 2 + 1)
    same = found.scores == found.scores[:, middle]
    same &= found.hashes == found.hashes[:, middle]
    return same.flatten(2).all(dim=2) if same.ndim == 3 else same
