"""How often a shift changes the selected crop: closed forms, and the crop for a wanted rate.

All hold for crops selected by the largest of scores that are in random order, as those of a keyed
hash are for any image without repeated crops; scores of photographs come near to it. With repeated
crops it is their contents that count, by the index of `jaccard`. Nothing is assumed of the
classifier: its label can change only where the crop does.
"""

from collections.abc import Iterable
from fractions import Fraction
from typing import overload

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from robustkit.arguments import Number, check_count, whole
from robustkit.checks import check_held
from robustkit.errors import InputError
from robustkit.translation.levels import Size, pair
from robustkit.translation.shifts import check_neighbours

# What a decimal such as 0.05 stands for: the nearest fraction with at most this denominator.
_DENOMINATOR = 10**9


def overlap(candidates: Size, shift: int | tuple[int, ...]) -> float:
    """Return the share of its candidates that a window keeps after a shift.

    - `candidates`: rows and columns of candidate positions, or one number for both: the size of the
      window less that of the crop plus 1.
    - `shift`: rows and columns, or one number for rows alone.

    It is `(1 - |a| / n) (1 - |b| / m)` for a shift `(a, b)` of `(n, m)` candidates, and 0 from n
    rows or m columns on. Raises `InputError` for candidates below 1 or other shifts.
    """
    return float(_kept(pair("candidates", candidates), shift))


def change_probability(candidates: Size, shift: int | tuple[int, ...]) -> float:
    """Return the probability that a shift changes the selected crop: 2 (1 - o) / (2 - o).

    - `candidates`, `shift`: as of `overlap`, whose value is o.

    It is exact if the scores of all crops in both windows are different and in random order: the
    best of them is equally likely to be any, and the crop stays if it is in both windows. For one
    pixel along one axis it is 2 / (n + 1). Raises `InputError` as `overlap`. Source: our own; the
    probability that the crop stays is the Jaccard index of the two windows' candidates, as in
    Broder, On the resemblance and containment of documents, 1997.
    """
    kept = _kept(pair("candidates", candidates), shift)
    return float(2 * (1 - kept) / (2 - kept))


def adversarial_robustness(candidates: Size, radius: int, *, neighbours: int = 8) -> float:
    """Return the probability that no shift of a neighbourhood changes the selected crop.

    - `candidates`: rows and columns of candidate positions, or one number for both.
    - `radius`: the largest shift k, in pixels, at least 0.
    - `neighbours`: 8 for all shifts by up to k rows and k columns, 4 for those with at most k rows
      and columns together, as of `neighbourhood`.

    It is exact under the conditions of `change_probability`: the best of all crops that any of the
    windows holds must be in all of them. With 8 neighbours and n x n candidates it is
    ((n - 2k) / (n + 2k))**2, and 0 from n = 2k down. Raises `InputError` for candidates below 1, a
    negative radius or other neighbours. Source: our own.
    """
    return float(_robust(pair("candidates", candidates), radius, neighbours))


@overload
def crop_for(
    epsilon: Number, size: int, radius: int | None = None, *, neighbours: int = 8
) -> int: ...
@overload
def crop_for(
    epsilon: Number, size: tuple[int, int], radius: int | None = None, *, neighbours: int = 8
) -> tuple[int, int]: ...
def crop_for(
    epsilon: Number, size: Size, radius: int | None = None, *, neighbours: int = 8
) -> Size:
    """Return the largest crop whose selection changes with a probability of at most `epsilon`.

    - `epsilon`: in (0, 1].
    - `size`: of the window, rows and columns or one number for both, in pixels; the crop is as many
      pixels smaller along either axis.
    - `radius`: None for a shift by one pixel along one axis; else the probability that some shift
      of the neighbourhood changes the crop, as of `adversarial_robustness`.
    - `neighbours`: of the neighbourhood, 8 or 4.

    The result is a number for a number, and (rows, columns) for two. It holds under the conditions
    of `change_probability`, of images without repeated crops; a flat or periodic one has another
    rate, that of `jaccard`. Raises `InputError` when even a crop of one pixel changes more often.
    """
    rows, columns = pair("size", size)
    if not 0 < epsilon <= 1:
        raise InputError(f"epsilon must lie in (0, 1], got {epsilon}.")
    check_neighbours(neighbours)
    if radius is not None:
        check_count("radius", radius, 0)
    # A rate too small for that denominator is meant as it is.
    most = Fraction(epsilon).limit_denominator(_DENOMINATOR) or Fraction(epsilon)

    def changes(count: int) -> Fraction:
        if radius is not None:
            return 1 - _robust((count, count), radius, neighbours)
        return Fraction(2, count + 1)

    smallest = min(rows, columns)
    for count in range(1, smallest + 1):
        if changes(count) <= most:
            crop = rows - count + 1, columns - count + 1
            return crop if isinstance(size, tuple) else crop[0]
    raise InputError(
        f"no crop of a window of {rows} x {columns} pixels changes with a probability of at most "
        f"{epsilon:g}: with a crop of one pixel it is {float(changes(smallest)):.4g}. Take larger "
        "windows, a smaller radius, or a larger epsilon."
    )


def jaccard(first: Shaped[Tensor, "..."], second: Shaped[Tensor, "..."]) -> Float[Tensor, "*rows"]:
    """Return the Jaccard index of sets of content hashes: what they share, of what either holds.

    - `first`, `second`: int64 `(*rows, P)` and `(*rows, Q)`, the hashes of all crops of two windows
      in any order; an element that is there twice counts once. The result is float64 `(*rows,)`.

    If the score is a keyed hash, this is the probability over its keys that RICS selects the same
    pixels in both windows, whatever the image and whatever a shift brought in, up to collisions of
    the hash: the selection is MinHash. Raises `InputError` for other tensors.

    Source: Broder, On the resemblance and containment of documents, 1997.
    """
    for name, values in (("first", first), ("second", second)):
        if values.dtype != torch.int64 or values.ndim < 1 or values.shape[-1] == 0:
            raise InputError(
                f"{name} must hold int64 hashes along its last axis, got {values.dtype} of shape "
                f"{tuple(values.shape)}."
            )
        check_held(name, values)
    if first.shape[:-1] != second.shape[:-1]:
        raise InputError(
            f"first {tuple(first.shape)} and second {tuple(second.shape)} must have as many sets."
        )
    either = _distinct(torch.cat([first, second], dim=-1))
    return (_distinct(first) + _distinct(second) - either).double() / either


def _steps(shift: object) -> tuple[int, int]:
    one = whole(shift)
    every = tuple(shift) if one is None and isinstance(shift, Iterable) else (one, 0)
    rows, columns = (whole(step) for step in every) if len(every) == 2 else (None, None)
    if rows is None or columns is None:
        raise InputError(
            f"shift must be (rows, columns) or a number of rows, in whole pixels, got {shift!r}."
        )
    return rows, columns


def _kept(candidates: tuple[int, int], shift: int | tuple[int, ...]) -> Fraction:
    kept = Fraction(1)
    for count, step in zip(candidates, _steps(shift), strict=True):
        kept *= max(Fraction(0), 1 - Fraction(abs(step), count))
    return kept


def _robust(candidates: tuple[int, int], radius: int, neighbours: int) -> Fraction:
    check_count("radius", radius, 0)
    check_neighbours(neighbours)
    rows, columns = candidates
    inside = max(0, rows - 2 * radius) * max(0, columns - 2 * radius)
    if neighbours == 8:
        return Fraction(inside, (rows + 2 * radius) * (columns + 2 * radius))
    # The union lacks the corners: 2 * radius * (radius + 1) positions of the full rectangle.
    corners = 2 * radius * (radius + 1)
    return Fraction(inside, (rows + 2 * radius) * (columns + 2 * radius) - corners)


def _distinct(values: Tensor) -> Tensor:
    ordered = values.sort(dim=-1).values
    return 1 + (ordered[..., 1:] != ordered[..., :-1]).sum(dim=-1)
