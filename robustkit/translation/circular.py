"""The torus: one canonical roll of an image, the same for each of its circular shifts, exactly."""

import torch
from jaxtyping import Int, Shaped, UInt8
from torch import Tensor

from robustkit.errors import unknown
from robustkit.translation.content_hash import hash_score
from robustkit.translation.level_crops import level_crops
from robustkit.translation.levels import Size, as_levels, check_fits, pair
from robustkit.translation.ranking import LOWEST, gap_of, positions_of
from robustkit.translation.scores import Score, resolve_score, scores_of
from robustkit.translation.seam import seam_profiles
from robustkit.translation.selection import Selection, check_scores, crops_at

_NAMES = ("filter", "hash", "laplacian", "seam")
# Levels packed into one integer, above which there is room for a rank.
_PACKED = 4


def roll(
    images: Shaped[Tensor, "..."], positions: Shaped[Tensor, "..."]
) -> Shaped[Tensor, "n c h w"]:
    """Roll each image so that its pixel at a position becomes the first one.

    - `images`: `(N, C, H, W)`, of any type; gradients pass.
    - `positions`: int64 `(N, 2)`, row and column, of any size: they count modulo the sides.

    Raises `InputError` for other images or positions.
    """
    check_fits(images, (1, 1))
    return crops_at(images, positions, (images.shape[2], images.shape[3]), wrap=True)


def circular_scores(
    images: Shaped[Tensor, "..."],
    crop: Size | None = None,
    score: str | Score = "seam",
    key: int = 0,
) -> Int[Tensor, "n h w"]:
    """Return the score of the crop at every position of images that go on at the other side.

    - `images`, `crop`, `score`, `key`: as of `select_circular`. The position is that of the crop's
      first pixel; the result is int64 `(N, H, W)` and rolls with the image.

    Raises `InputError` as `select_circular`.
    """
    levels = as_levels(images)
    return _scores(levels, _crop_of(levels, crop), score, key)


@torch.no_grad()
def select_circular(
    images: Shaped[Tensor, "..."],
    crop: Size | None = None,
    *,
    score: str | Score = "seam",
    key: int = 0,
) -> Selection:
    """Select the one crop of each image that all its circular shifts have in common.

    - `images`: `(N, C, H, W)`, uint8, or floating point that holds 8-bit levels (`as_levels`).
    - `crop`: rows and columns, or one number for both, in pixels; crops go on at the other side, so
      that every pixel begins one. By default the whole image, rolled.
    - `score`: "seam" looks for the border that a circular shift moved into the image
      (`seam_profiles`), so that a photograph is rolled back; a smaller crop is the middle of that,
      rounded down. "filter", "hash" and "laplacian" score the pixels of the crop (`resolve_score`),
      and so does a function of uint8 images and (rows, columns) that returns int64.
    - `key`: of the score and of the hash that is returned.

    The candidates of an image and of its shifts are the same, and scores are integers, so that all
    have the same best ones. Of crops with equal scores the last one in the order of their pixels is
    taken, compared as a whole and without a hash: the pixels selected are the same for every shift
    and image, constant, periodic and tied ones included. Only how far they are from the first pixel
    differs. The gap is to the best other position whose crop has other pixels.

    Raises `InputError` for other images, crops that do not fit, or other scores. Source: our
    reading of the circular variant in Shifman and Weiss, Lost in translation, ECCV 2024; the score
    by the border is ours.
    """
    levels = as_levels(images)
    size, width = _crop_of(levels, crop), levels.shape[3]
    scores = _scores(levels, size, score, key).flatten(1)
    check_scores(scores)
    best = scores.amax(dim=1, keepdim=True)
    same = scores == best
    (rows,) = (same.sum(dim=1) > 1).nonzero(as_tuple=True)
    if len(rows) > 0:
        ranks = content_ranks(levels[rows], size).flatten(1)
        last = torch.where(same[rows], ranks, -1).amax(dim=1, keepdim=True)
        same[rows] &= ranks == last
    others = torch.where(same, LOWEST, scores).amax(dim=1)
    places = same.to(torch.uint8).argmax(dim=1)
    positions = positions_of(places, width)
    hashes = hash_score(key)(crops_at(levels, positions, size, wrap=True), size)
    return Selection(positions, best[:, 0], gap_of(best[:, 0], others), hashes[:, 0, 0])


def canonical(
    images: Shaped[Tensor, "..."],
    crop: Size | None = None,
    *,
    score: str | Score = "seam",
    key: int = 0,
) -> Shaped[Tensor, "n c rows columns"]:
    """Return the selected crop of each image, the same for all its circular shifts.

    - `images`, `crop`, `score`, `key`: as of `select_circular`; the result is
      `(N, C, rows, columns)` in the type of the images, by default of their size. Floating values
      are exactly those of their levels, k / 255. Gradients pass.

    Whatever follows, any classifier of images, is invariant to circular shifts by whole pixels.
    Raises `InputError` as `select_circular`.
    """
    levels = as_levels(images)
    chosen = select_circular(levels, crop, score=score, key=key)
    return level_crops(images, levels, chosen.positions, _crop_of(levels, crop), wrap=True)


@torch.no_grad()
def content_ranks(levels: UInt8[Tensor, "n c h w"], crop: tuple[int, int]) -> Int[Tensor, "n h w"]:
    """Number the crops of each image by their pixels: equal numbers for equal pixels only.

    - `levels`: 8-bit images that go on at the other side; `crop`: rows and columns, at most theirs.

    The numbers, int64 from 0, are in an order of the pixels that is the same for all circular
    shifts of an image. Runs of doubling length are numbered from pairs of shorter ones, by sorting,
    so that nothing can collide. Source: Karp, Miller and Rosenberg, STOC 1972.
    """
    ranks = torch.zeros_like(levels[:, 0], dtype=torch.int64)
    for packed in levels.to(torch.int64).split(_PACKED, dim=1):
        for channel in range(packed.shape[1]):
            ranks = ranks * 256 + packed[:, channel]
        ranks = _numbered(ranks)
    for axis, length in ((2, crop[1]), (1, crop[0])):
        run = 1
        while run < length:
            # The last pair overlaps: together they are of the length asked for.
            step = min(run, length - run)
            ranks = _numbered(ranks * levels[0, 0].numel() + ranks.roll(-step, axis))
            run += step
    return ranks


def _numbered(keys: Tensor) -> Tensor:
    ordered, order = keys.flatten(1).sort(dim=1)
    new = torch.zeros_like(order)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return torch.empty_like(order).scatter_(1, order, new.cumsum(dim=1)).reshape(keys.shape)


def _crop_of(images: Tensor, crop: Size | None) -> tuple[int, int]:
    size = (images.shape[2], images.shape[3]) if crop is None else pair("crop", crop)
    check_fits(images, size)
    return size


def _scores(levels: Tensor, size: tuple[int, int], score: str | Score, key: int) -> Tensor:
    height, width = levels.shape[2:]
    if score == "seam":
        rows, columns = seam_profiles(levels)
        # A sum keeps the order of either: its best are all pairs of a best row and a best column.
        whole = rows[:, :, None] + columns[:, None, :]
        middle = (height - size[0]) // 2, (width - size[1]) // 2
        return whole.roll(middle, (1, 2))
    if isinstance(score, str) and score not in _NAMES:
        raise unknown("score", score, _NAMES)
    down = torch.arange(height + size[0] - 1, device=levels.device) % height
    across = torch.arange(width + size[1] - 1, device=levels.device) % width
    around = levels.index_select(2, down).index_select(3, across)
    return scores_of(around, size, resolve_score(score, key))
