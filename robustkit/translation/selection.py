"""Selection of one crop, or a few, by scores and content: where a crop lies never decides."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from robustkit.arguments import check_count
from robustkit.checks import check_held
from robustkit.errors import InputError, unknown
from robustkit.translation.levels import Size, check_fits, pair
from robustkit.translation.ranking import LARGEST, LOWEST, gap_of, positions_of, sliding_best

_WAYS = ("argmax", "landmark", "bottomk")


@dataclass(frozen=True, eq=False)
class Selection:
    """Which crop was selected in each image; all tensors are int64.

    - `positions`: `(*n, 2)`, row and column of the crop's first pixel, in the frame of the image or
      window that it was selected in.
    - `scores`, `hashes`: `(*n)`, the score and the content hash of the crop.
    - `gaps`: `(*n)`, by how much the score is ahead of the best crop with other pixels; the largest
      int64 where all candidates have the same pixels. Changes of the scores by less than half of
      it, equal for equal pixels, leave the selected pixels as they are.

    The first dimensions are (N,) for images, (N, P) for P windows of each. Of "bottomk" all but
    `gaps` have one more, for the crops in falling order; an image of fewer different crops repeats
    the first, with the hash -1. There the gap is from the last selected score to the best one left
    over; of a "landmark" it is the smallest one among all comparisons that made it the nearest.
    """

    positions: Int[Tensor, "*n 2"]
    scores: Int[Tensor, "*n"]
    gaps: Int[Tensor, "..."]
    hashes: Int[Tensor, "*n"]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.positions)

    @staticmethod
    def joined(parts: Sequence["Selection"], axis: int = 0) -> "Selection":
        """Return the selections of parts of a batch as one, or of parts of the windows (axis 1).

        Raises `InputError` for no parts, and another axis than 0 or 1.
        """
        if not parts or axis not in (0, 1):
            raise InputError(f"join at least one part, along axis 0 or 1, got {axis}.")
        every = [(part.positions, part.scores, part.gaps, part.hashes) for part in parts]
        return Selection(*(torch.cat(fields, dim=axis) for fields in zip(*every, strict=True)))


def select(
    scores: Shaped[Tensor, "..."],
    hashes: Shaped[Tensor, "..."],
    *,
    how: str = "argmax",
    radius: int = 8,
    count: int = 8,
) -> Selection:
    """Select crops by their scores; of equal scores the larger content hash is ahead.

    - `scores`, `hashes`: int64 `(N, rows, columns)`, of the crop at each candidate position: scores
      above the smallest int64, and hashes from 0 on. Candidates that are equal in both have the
      same pixels, and the first of them is taken.
    - `how`: "argmax" takes the largest score. "landmark" takes, among the candidates that are
      ahead of all others up to `radius` rows and columns away, the one nearest to the middle of the
      candidates, and of equally near ones the one ahead; where there is no such candidate, the
      largest score. "bottomk" takes the `count` largest scores of different pixels.
    - `radius`: at least 1. All neighbours of a landmark must be candidates, or it could cease to be
      one when the window moves.

    Raises `InputError` for other tensors, ways, radii or counts. Sources: our reading of Shifman
    and Weiss, Lost in translation, ECCV 2024, whose idea is the selection of one crop; landmarks
    and several crops are ours, after minimizers (Schleimer, Wilkerson and Aiken, SIGMOD 2003) and
    bottom-k sketches (Cohen and Kaplan, PODC 2007).
    """
    check_way(how, radius, count)
    check_maps(scores, hashes)
    return selected(scores, hashes, how, radius, count)


def selected(
    scores: Int[Tensor, "n rows columns"],
    hashes: Int[Tensor, "n rows columns"],
    how: str,
    radius: int,
    count: int,
) -> Selection:
    """Return what `select` does, of arguments that are known to be right."""
    if how == "landmark":
        return _landmark(scores, hashes, radius)
    width = scores.shape[2]
    flat_scores, flat_hashes = scores.flatten(1), hashes.flatten(1)
    if how == "bottomk":
        return _several(flat_scores, flat_hashes, width, count)
    return _largest(flat_scores, flat_hashes, width)


def crops_at(
    images: Shaped[Tensor, "..."],
    positions: Shaped[Tensor, "..."],
    crop: Size,
    *,
    wrap: bool = False,
) -> Shaped[Tensor, "n ..."]:
    """Cut crops out of images: `(N, C, rows, columns)`, or `(N, P, C, rows, columns)` of several.

    - `images`: of any type; gradients pass.
    - `positions`: int64 `(N, 2)` or `(N, P, 2)`, rows and columns of the crops' first pixels.
    - `crop`: rows and columns, or one number for both, in pixels.
    - `wrap`: whether a crop goes on at the other side of the image; then any position will do.

    Raises `InputError` when a crop does not fit, is not inside the image, or for other positions.
    """
    rows, columns = pair("crop", crop)
    check_fits(images, (rows, columns))
    count, channels, height, width = images.shape
    kept = positions.shape[1:-1]
    fits = positions.ndim in (2, 3) and len(positions) == count and positions.shape[-1] == 2
    if not fits or positions.dtype != torch.int64:
        raise InputError(
            f"positions must be int64 ({count}, 2) or ({count}, P, 2), got {positions.dtype} of "
            f"shape {tuple(positions.shape)}."
        )
    check_held("images", images)
    check_held("positions", positions)
    places = positions.to(images.device).reshape(count, -1, 2)
    if not wrap:
        limit = torch.tensor([height - rows, width - columns], device=images.device)
        if bool(((places < 0) | (places > limit)).any()):
            raise InputError("a position lies outside the images; nothing is padded.")
        if images.device.type == "cpu":
            cuts = _slices(images, places, (rows, columns))
            return cuts.reshape(count, *kept, channels, rows, columns)
    down = torch.arange(rows, device=images.device) + places[..., :1]
    across = torch.arange(columns, device=images.device) + places[..., 1:]
    if wrap:
        down, across = down % height, across % width
    index = (down[..., :, None] * width + across[..., None, :]).reshape(count, 1, -1)
    taken = images.flatten(2).gather(2, index.expand(-1, channels, -1))
    crops = taken.reshape(count, channels, -1, rows, columns).transpose(1, 2)
    return crops.reshape(count, *kept, channels, rows, columns)


def _slices(images: Tensor, places: Tensor, crop: tuple[int, int]) -> Tensor:
    # A processor copies rows of a slice in a tenth of the time of gathering pixels.
    rows, columns = crop
    cuts = [
        image[:, top : top + rows, left : left + columns]
        for image, own in zip(images, places.tolist(), strict=True)
        for top, left in own
    ]
    return torch.stack(cuts)


def check_way(how: str, radius: int, count: int) -> None:
    """Refuse an unknown way to select, or a radius or count below 1; raises `InputError`."""
    if how not in _WAYS:
        raise unknown("way to select", how, _WAYS)
    check_count("radius", radius, 1)
    check_count("count", count, 1)


def check_maps(scores: Shaped[Tensor, "..."], hashes: Shaped[Tensor, "..."]) -> None:
    """Refuse anything but scores and hashes as `select` takes them; raises `InputError`."""
    for name, values in (("scores", scores), ("hashes", hashes)):
        if values.ndim != 3 or values.dtype != torch.int64 or values.numel() == 0:
            raise InputError(
                f"{name} must be int64 (N, rows, columns), got {values.dtype} of shape "
                f"{tuple(values.shape)}."
            )
        check_held(name, values)
    if scores.shape != hashes.shape:
        raise InputError(
            f"scores {tuple(scores.shape)} and hashes {tuple(hashes.shape)} must have one shape."
        )
    check_scores(scores)
    if bool((hashes < 0).any()):
        raise InputError("hashes must be at least 0: less marks a crop that is not there.")


def check_scores(scores: Int[Tensor, "..."]) -> None:
    """Refuse the smallest int64, which stands for no score; raises `InputError`."""
    if bool((scores == LOWEST).any()):
        raise InputError(f"scores must be larger than the smallest int64, {LOWEST}.")


def _largest(scores: Tensor, hashes: Tensor, width: int) -> Selection:
    best = scores.amax(dim=1, keepdim=True)
    tied = scores == best
    content = torch.where(tied, hashes, LOWEST).amax(dim=1, keepdim=True)
    same = tied & (hashes == content)
    others = torch.where(same, LOWEST, scores).amax(dim=1)
    places = same.to(torch.uint8).argmax(dim=1)
    best, content = best[:, 0], content[:, 0]
    return Selection(positions_of(places, width), best, gap_of(best, others), content)


def _several(scores: Tensor, hashes: Tensor, width: int, count: int) -> Selection:
    # Two stable sorts: by score, then by hash, then by place.
    order = hashes.argsort(dim=1, descending=True, stable=True)
    order = order.gather(1, scores.gather(1, order).argsort(dim=1, descending=True, stable=True))
    scores, hashes = scores.gather(1, order), hashes.gather(1, order)
    repeated = torch.zeros_like(order, dtype=torch.uint8)
    repeated[:, 1:] = (scores[:, 1:] == scores[:, :-1]) & (hashes[:, 1:] == hashes[:, :-1])
    first = repeated.argsort(dim=1, stable=True)
    # One more than asked for, which the gap needs; past the last candidate the first is repeated.
    ranks = torch.arange(count + 1, device=scores.device)
    exists = ranks < (1 - repeated).sum(dim=1, keepdim=True)
    first = torch.where(exists, first[:, ranks.clamp(max=first.shape[1] - 1)], first[:, :1])
    scores, hashes, order = (values.gather(1, first) for values in (scores, hashes, order))
    hashes = torch.where(exists, hashes, -1)
    last = exists[:, :count].sum(dim=1, keepdim=True) - 1
    others = torch.where(exists[:, count], scores[:, count], LOWEST)
    gaps = gap_of(scores.gather(1, last)[:, 0], others)
    return Selection(positions_of(order[:, :-1], width), scores[:, :-1], gaps, hashes[:, :-1])


def _landmark(scores: Tensor, hashes: Tensor, radius: int) -> Selection:
    rows, columns = scores.shape[1:]
    fallback = _largest(scores.flatten(1), hashes.flatten(1), columns)
    side = 2 * radius + 1
    if min(rows, columns) < side:
        return fallback
    inner = (slice(None), slice(radius, rows - radius), slice(radius, columns - radius))
    best = sliding_best(scores, hashes, (side, side))
    own, content = scores[inner], hashes[inner]
    marked = (own == best.scores) & (content == best.hashes)
    spare = torch.where(marked, gap_of(own, best.others), gap_of(best.scores, own))
    # Twice the distance to the middle, so that it is whole.
    down = 2 * torch.arange(radius, rows - radius, device=scores.device) - (rows - 1)
    across = 2 * torch.arange(radius, columns - radius, device=scores.device) - (columns - 1)
    distances = (down[:, None] ** 2 + across**2).expand_as(own)
    nearest = torch.where(marked, distances, LARGEST).amin(dim=(1, 2), keepdim=True)
    rivals = marked & (distances == nearest)
    found = marked.flatten(1).any(dim=1)
    inside = _largest(
        torch.where(rivals, own, LOWEST).flatten(1),
        torch.where(rivals, content, LOWEST).flatten(1),
        own.shape[2],
    )
    ahead = gap_of(inside.scores[:, None, None], own)
    chosen = rivals & (own == inside.scores[:, None, None])
    chosen &= content == inside.hashes[:, None, None]
    spare = torch.where(rivals & ~chosen, ahead, spare)
    # Without a landmark `nearest` is the largest integer: no candidate may become one.
    gaps = torch.where(distances <= nearest, spare, LARGEST).amin(dim=(1, 2))
    return Selection(
        torch.where(found[:, None], inside.positions + radius, fallback.positions),
        torch.where(found, inside.scores, fallback.scores),
        torch.where(found, gaps, torch.minimum(gaps, fallback.gaps)),
        torch.where(found, inside.hashes, fallback.hashes),
    )
