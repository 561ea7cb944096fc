"""The sparsest move onto a plane inside a box, in closed form for a whole batch.

A plane is given by its normal w and the need c: the moves r with <w, r> = c. Component j can gain
at most |w_j| times its room, the distance to its bound on the side that w_j points to. Filling
components in order until the need is met is a fractional knapsack: in order of |w| it has the least
l1 norm of all moves (the LinearSolver of SparseFool, exactly), in order of attainable gain the
fewest components (l0). With pixels as units, in order of the summed gain of their channels, it has
the fewest pixels.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from robustkit.arguments import Number
from robustkit.errors import unknown
from robustkit.shapes import rows_of

Unit = Literal["component", "pixel"]
Order = Literal["l0", "l1"]

_UNITS: dict[str, Unit] = {"component": "component", "pixel": "pixel"}


def parse_unit(unit: str) -> Unit:
    """Return the unit that sparsity is counted in; raises `InputError` for another word."""
    if unit not in _UNITS:
        raise unknown("unit", unit, _UNITS)
    return _UNITS[unit]


def grouped(values: Shaped[Tensor, "n *shape"], unit: Unit) -> Shaped[Tensor, "n group units"]:
    """Arrange images so that the last axis runs over units, and the middle one within a unit.

    A pixel groups the channels of images `(N, C, H, W)`; in batches of another rank it is a
    component. The result is a view where the images are contiguous.
    """
    if unit == "pixel" and values.ndim == 4:
        return values.flatten(2)
    return values.flatten(1)[:, None]


def attainable(
    normals: Float[Tensor, "n *shape"],
    down: Float[Tensor, "n *shape"],
    up: Float[Tensor, "n *shape"],
) -> Float[Tensor, "n *shape"]:
    """Return what each component can gain along the normal before it meets its bound, at least 0.

    `down` and `up` are how far it may move. Components whose normal is not finite gain nothing.
    """
    gains = normals.abs() * torch.where(normals > 0, up, down)
    return torch.where(gains.isfinite(), gains, 0.0)


def sparsest_move(
    normals: Float[Tensor, "n *shape"],
    needs: Float[Tensor, " n"],
    down: Float[Tensor, "n *shape"],
    up: Float[Tensor, "n *shape"],
    *,
    order: Order = "l0",
    unit: Unit = "component",
    margin: Number = 0.0,
) -> tuple[Float[Tensor, "n *shape"], Bool[Tensor, " n"]]:
    """Return the sparsest move onto each row's plane inside the box, and whether it gets there.

    Units are filled one after the other, the last one only as far as needed; the channels of a
    pixel move together, each by the same share of its room. A plane out of reach leaves all useful
    units at their bounds. A need of zero or less is met already: the move is zero. The last unit
    goes beyond the plane by `margin` where it has the room for that; no unit is added for it.

    Source: Modas, Moosavi-Dezfooli and Frossard, SparseFool, CVPR 2019, Algorithm 1, whose loop
    over components a sort and a cumulative sum replace.
    """
    gains = attainable(normals, down, up)
    worth = grouped(gains, unit).sum(dim=1)
    merit = grouped(normals.abs(), unit).sum(dim=1) if order == "l1" else worth
    ranks = merit.where(worth > 0, -1.0).argsort(dim=1, descending=True, stable=True)
    ranked = worth.gather(1, ranks)
    # Summed in double precision: the needs of late units are differences of nearly equal sums.
    before = ranked.double().cumsum(dim=1) - ranked.double()
    missing = needs.double()[:, None] - before
    share = ((missing + margin) / ranked.where(ranked > 0, 1.0)).clamp(0, 1)
    share = share.where((ranked > 0) & (missing > 0), 0.0)
    shares = torch.zeros_like(worth).scatter(1, ranks, share.to(worth.dtype))
    room = grouped(torch.where(normals > 0, up, down), unit)
    steps = shares[:, None] * room * grouped(normals, unit).sign()
    moves = steps.where(shares[:, None] > 0, 0.0).reshape(normals.shape)
    useful = rows_of(needs > 0, normals) & (gains > 0)
    return moves.where(useful, 0.0), worth.double().sum(dim=1) >= needs
