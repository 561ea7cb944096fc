"""The best candidate of every neighbourhood: sliding maxima of scores with content as tie-break."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

LOWEST = torch.iinfo(torch.int64).min
LARGEST = torch.iinfo(torch.int64).max


@dataclass(frozen=True, eq=False)
class Best:
    """The best candidate of each of a grid of neighbourhoods; all are int64 `(N, rows, columns)`.

    - `scores`, `hashes`: of the candidate that is ahead: by score, of equal scores by hash.
    - `places`: its number in the whole map, row by row; of equal candidates the first one's.
    - `others`: the best score of a candidate with another score or hash; the smallest int64 where
      there is none.
    """

    scores: Int[Tensor, "n rows columns"]
    hashes: Int[Tensor, "n rows columns"]
    places: Int[Tensor, "n rows columns"]
    others: Int[Tensor, "n rows columns"]

    def cut(self, axis: int, start: int, length: int) -> "Best":
        """Return the part of the grid from `start` along an axis."""
        fields = (self.scores, self.hashes, self.places, self.others)
        return Best(*(values.narrow(axis, start, length) for values in fields))


def sliding_best(
    scores: Int[Tensor, "n h w"], hashes: Int[Tensor, "n h w"], size: tuple[int, int]
) -> Best:
    """Return the best candidate of every `size` (rows, columns) block of a map, by its corner.

    The grid has `(H - rows + 1, W - columns + 1)` blocks, of which none may be negative. Runs of
    doubling length are merged, so the cost grows with the logarithm of the size.
    """
    places = torch.arange(scores[0].numel(), device=scores.device).reshape(scores.shape[1:])
    best = Best(scores, hashes, places.expand_as(scores), torch.full_like(scores, LOWEST))
    for axis, length in ((1, size[0]), (2, size[1])):
        run = 1
        while run < length:
            # The last merge overlaps: a candidate seen twice counts once.
            step = min(run, length - run)
            count = best.scores.shape[axis] - step
            best = _merge(best.cut(axis, 0, count), best.cut(axis, step, count))
            run += step
    return best


def positions_of(places: Int[Tensor, "..."], width: int) -> Int[Tensor, "... 2"]:
    """Return the rows and columns of numbers in maps of so many columns, numbered row by row."""
    return torch.stack([places // width, places % width], dim=-1)


def gap_of(best: Int[Tensor, "..."], others: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
    """Return `best - others`; the largest int64 where there are no others, or where that is more.

    Both broadcast; `others` are at most `best`, and the smallest int64 stands for none.
    """
    gaps = best - others
    return torch.where((gaps < 0) | (others == LOWEST), LARGEST, gaps)


def _merge(first: Best, second: Best) -> Best:
    tied = first.scores == second.scores
    same = tied & (first.hashes == second.hashes)
    ahead = (first.scores > second.scores) | (tied & (first.hashes >= second.hashes))
    places = torch.where(ahead, first.places, second.places)
    return Best(
        torch.maximum(first.scores, second.scores),
        torch.where(ahead, first.hashes, second.hashes),
        torch.where(same, torch.minimum(first.places, second.places), places),
        torch.maximum(
            torch.where(ahead, first.others, first.scores),
            torch.where(ahead & ~same, second.scores, second.others),
        ),
    )
