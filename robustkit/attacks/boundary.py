"""The nearest of several linearised decision boundaries, in free space or inside a box.

A plane is given by its normal w and the need c > 0: the moves r with <w, r> = c. The shortest move
in free space is the projection of DeepFool (Moosavi-Dezfooli et al., CVPR 2016) and of its l_p
generalisation. In a box it is r = clip(t * direction) for the smallest t that meets the need (the
optimality conditions of the projection); that t is the root of a concave piecewise linear
function, which Newton's method finds exactly.
"""

import math
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from robustkit.attacks.norms import Norm


def free_move(
    normals: Iterable[Float[Tensor, "n size"]],
    needs: Float[Tensor, "n planes"],
    norm: Norm,
    grain: float = 0.0,
) -> tuple[Float[Tensor, "n size"], Float[Tensor, " n"]]:
    """Return the shortest move onto the nearest of each row's planes, and its length.

    `normals` yields one normal a row for plane after plane; only the nearest is kept. The length is
    the distance plus `grain`. Where no normal can be used (zero, infinite or NaN) the move is zero
    and the length infinite.
    """
    chosen, lengths, slopes = None, torch.empty(0), torch.empty(0)
    for plane, candidate in enumerate(normals):
        steep = _steepness(candidate, norm)
        away = _distances(needs[:, plane], steep) + grain
        if chosen is None:
            chosen, lengths, slopes = candidate, away, steep
            continue
        nearer = away < lengths
        chosen = torch.where(nearer[:, None], candidate, chosen)
        lengths = torch.where(nearer, away, lengths)
        slopes = torch.where(nearer, steep, slopes)
    assert chosen is not None
    direction, speed = (chosen, lengths / slopes) if norm == 2 else (chosen.sign(), lengths)
    movable = lengths.isfinite()[:, None]
    return torch.where(movable, direction * speed[:, None], 0.0), lengths


def boxed_move(
    normals: Iterable[Float[Tensor, "n size"]],
    needs: Float[Tensor, "n planes"],
    norm: Norm,
    down: Float[Tensor, "n size"],
    up: Float[Tensor, "n size"],
    grain: float = 0.0,
) -> tuple[Float[Tensor, "n size"], Float[Tensor, " n"]]:
    """Return the shortest move onto the nearest of each row's planes within the room of a box.

    `down` and `up` are how far each component may move; planes are moved away by `grain`. A plane
    out of reach is taken only if all are: the move then goes as far as it can towards the one it
    comes nearest to in proportion to its need, and the length reported is the diameter of the box
    times need over gain. Where nothing is gained the move is zero and the length infinite.
    """
    planes, nearest, raised = list(normals), [], []
    for plane, candidate in enumerate(planes):
        opened = torch.where(torch.where(candidate > 0, up, down) > 0, candidate, 0.0)
        steep = _steepness(opened, norm)
        raised.append(needs[:, plane] + grain * steep)
        nearest.append(_distances(raised[plane], steep))
    # Distances in free space, without the components that cannot move, bound those in the box from
    # below: only where another bound undercuts the winner's true length are all planes solved.
    needs, bounds = torch.stack(raised, dim=1), torch.stack(nearest, dim=1)
    winner = bounds.argmin(dim=1)
    chosen = planes[0]
    for plane, candidate in enumerate(planes[1:], start=1):
        chosen = torch.where((winner == plane)[:, None], candidate, chosen)
    need = needs.gather(1, winner[:, None]).squeeze(1)
    move, length = _project(chosen, need, norm, down, up)
    others = bounds.scatter(1, winner[:, None], torch.inf).amin(dim=1)
    doubtful = (length > others).nonzero().squeeze(1)
    if len(doubtful):
        move[doubtful], length[doubtful] = _nearest(
            [plane[doubtful] for plane in planes],
            needs[doubtful],
            norm,
            down[doubtful],
            up[doubtful],
        )
    return move, length


def _nearest(
    planes: list[Tensor], needs: Tensor, norm: Norm, down: Tensor, up: Tensor
) -> tuple[Tensor, Tensor]:
    best, shortest = _project(planes[0], needs[:, 0], norm, down, up)
    for plane, candidate in enumerate(planes[1:], start=1):
        move, length = _project(candidate, needs[:, plane], norm, down, up)
        nearer = length < shortest
        best = torch.where(nearer[:, None], move, best)
        shortest = torch.where(nearer, length, shortest)
    return best, shortest


def _project(
    normals: Tensor, needs: Tensor, norm: Norm, down: Tensor, up: Tensor
) -> tuple[Tensor, Tensor]:
    # Squares of small gradients would underflow; a plane is the same at any scale.
    peaks = normals.abs().amax(dim=1)
    sizes, needs = normals.abs() / peaks[:, None], needs / peaks
    room = torch.where(normals > 0, up, down)
    speeds = sizes if norm == 2 else sizes.sign()
    gains = sizes * room
    scale, met = _meet(needs, speeds, room, gains, sizes * speeds)
    moves = torch.minimum(scale[:, None] * speeds, room)
    order = 2.0 if norm == 2 else math.inf
    lengths = torch.linalg.vector_norm(moves, order, dim=1)
    diameters = torch.linalg.vector_norm(down + up, order, dim=1)
    short = diameters * _distances(needs, gains.sum(dim=1))
    lengths = torch.where(met & lengths.isfinite(), lengths, short)
    movable = lengths.isfinite()[:, None]
    return torch.where(movable, moves * normals.sign(), 0.0), lengths


def _meet(
    needs: Tensor, speeds: Tensor, room: Tensor, gains: Tensor, slopes: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the smallest t where sum(min(t * slopes, gains)) meets the need, and if it can.

    Newton from the left on a concave function never passes the root, and stops on the linear piece
    that holds it.
    """
    info = torch.finfo(needs.dtype)
    # Past every corner of the function, yet small enough to multiply.
    beyond = math.sqrt(info.max)
    scale = torch.zeros_like(needs)
    while True:
        stopped = scale[:, None] * speeds >= room
        rising = torch.where(stopped, 0.0, slopes).sum(dim=1)
        missing = needs - torch.where(stopped, gains, 0.0).sum(dim=1)
        following = torch.where(rising > 0, missing / rising, beyond).clamp(max=beyond)
        if not bool((following > scale * (1 + 4 * info.eps)).any()):
            return scale, rising > 0
        scale = torch.maximum(scale, following)


def _steepness(normals: Tensor, norm: Norm) -> Tensor:
    """Return the dual norm: how much a move of length one can gain."""
    slopes: Tensor = torch.linalg.vector_norm(normals, 2.0 if norm == 2 else 1.0, dim=1)
    return slopes


def _distances(needs: Tensor, slopes: Tensor) -> Tensor:
    """Return need / slope, and infinity where the slope is zero, infinite or NaN."""
    return torch.where((slopes > 0) & slopes.isfinite(), needs / slopes, torch.inf)
