"""The selections of many windows of one scene, from one map of scores."""

import torch
from jaxtyping import Shaped
from torch import Tensor

from robustkit.checks import check_held
from robustkit.errors import InputError
from robustkit.translation.levels import Size, pair
from robustkit.translation.ranking import gap_of, positions_of, sliding_best
from robustkit.translation.selection import Selection, check_maps, check_way, crops_at, selected

# Candidates in a part of the windows, so that the maps of many windows fit into memory.
_BLOCK = 2**22


def select_windows(
    scores: Shaped[Tensor, "..."],
    hashes: Shaped[Tensor, "..."],
    candidates: Size,
    positions: Shaped[Tensor, "..."],
    *,
    how: str = "argmax",
    radius: int = 8,
    count: int = 8,
) -> Selection:
    """Select crops in P windows of each of N scenes; the result has the dimensions (N, P).

    - `scores`, `hashes`: int64 `(N, h, w)`, of every crop of the scenes.
    - `candidates`: rows and columns of candidates in a window: its size less that of a crop plus 1.
    - `positions`: int64, rows and columns of the windows' first pixels in the scenes, `(P, 2)` for
      all scenes or `(N, P, 2)`.
    - `how`, `radius`, `count`: see `select`.

    The selected positions are in the frame of their window, and all is equal to what `select` says
    of that window. For "argmax" the cost hardly depends on the number of windows: sliding maxima.

    Raises `InputError` when a window is not inside the scene, and as `select`.
    """
    check_way(how, radius, count)
    check_maps(scores, hashes)
    grid = pair("candidates", candidates)
    _check_windows(scores, grid, positions)
    positions = positions.to(scores.device).expand(len(scores), -1, -1)
    if how != "argmax":
        return _by_blocks(scores, hashes, grid, positions, how, radius, count)
    best, width = sliding_best(scores, hashes, grid), scores.shape[2]
    corners = positions[..., 0] * best.scores.shape[2] + positions[..., 1]
    top, content, places, others = (
        values.flatten(1).gather(1, corners)
        for values in (best.scores, best.hashes, best.places, best.others)
    )
    inside = positions_of(places, width) - positions
    return Selection(inside, top, gap_of(top, others), content)


def check_places(positions: Shaped[Tensor, "..."], count: int) -> None:
    """Refuse anything but positions of windows, int64 `(P, 2)` or `(count, P, 2)`.

    Raises `InputError`.
    """
    shared, own = positions.ndim == 2, positions.ndim == 3 and len(positions) == count
    if not (shared or own) or positions.shape[-1] != 2 or positions.dtype != torch.int64:
        raise InputError(
            f"positions must be int64 (P, 2) or ({count}, P, 2), got {positions.dtype} of "
            f"shape {tuple(positions.shape)}."
        )
    if positions.numel() == 0:
        raise InputError("there are no windows: positions are empty.")
    check_held("positions", positions)


def _check_windows(scores: Tensor, grid: tuple[int, int], positions: Tensor) -> None:
    check_places(positions, len(scores))
    limit = torch.tensor(scores.shape[1:], device=positions.device)
    limit -= torch.tensor(grid, device=positions.device)
    if bool(((positions < 0) | (positions > limit)).any()):
        raise InputError("a window reaches outside the scene; nothing is padded.")


def _by_blocks(
    scores: Tensor,
    hashes: Tensor,
    grid: tuple[int, int],
    positions: Tensor,
    how: str,
    radius: int,
    count: int,
) -> Selection:
    maps = torch.stack([scores, hashes], dim=1)
    parts = []
    for part in positions.split(max(1, _BLOCK // (len(scores) * grid[0] * grid[1])), dim=1):
        cut = crops_at(maps, part, grid)
        blocks = cut.flatten(0, 1)
        found = selected(blocks[:, 0], blocks[:, 1], how, radius, count)
        fields = (found.positions, found.scores, found.gaps, found.hashes)
        parts.append(Selection(*(field.unflatten(0, cut.shape[:2]) for field in fields)))
    return Selection.joined(parts, 1)
