"""The nearest point in a ball and a rotated box, by alternating projections with memory."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from robustkit.arguments import Number, check_count, check_nonnegative
from robustkit.attacks.ball import per_image
from robustkit.checks import check_held, check_images
from robustkit.errors import InputError
from robustkit.shapes import lengths_of, precise, rows_of

Map = Callable[[Tensor], Tensor]


@torch.no_grad()
def project_ball_box(
    points: Shaped[Tensor, "..."],
    centre: Shaped[Tensor, "..."],
    radius: Number | Shaped[Tensor, "..."],
    lower: Number = 0.0,
    upper: Number = 1.0,
    *,
    transform: Map | None = None,
    inverse: Map | None = None,
    rounds: int = 100,
    tolerance: Number = 1e-5,
) -> Float[Tensor, "n *shape"]:
    """Move each point to the nearest one in the l2 ball around its centre and in a rotated box.

    The box holds the points x with `lower` <= inverse(x) <= `upper` in every component. For images
    in another basis, such as flipped ones, whose pixels are bounded before the `transform`:
    `functools.partial(project_ball_box, transform=flip, inverse=flip)` serves as the `projection`
    of `robustkit.attacks.pgd` and of `robustkit.training.Adversarial`.

    - `points`, `centre`: `(N, *shape)`, floating point of one dtype, any range; the centres lie in
      the box, up to rounding.
    - `radius`: of the balls, a number or one a row, at least 0.
    - `transform` and `inverse`: orthogonal maps of batches that undo each other, keep the shape and
      treat rows alone; by default the box is that of the points themselves.
    - `rounds`, of a projection onto the ball and one onto the box, at most; a row leaves as soon as
      a round moves it by no more than `tolerance` radii in all.

    Points in both sets are returned as they are. The others end in both, however few the rounds: in
    the ball up to rounding, in the box exactly before the last `transform` and so up to the
    rounding of that. They are the nearest such points up to about `tolerance` radii, unless the
    rounds ran out; the farther a point, the more it takes. Follows device and dtype. Raises
    `InputError` for anything else.

    Source: Boyle and Dykstra, A method for finding projections onto the intersection of convex sets
    in Hilbert spaces, 1986; stopped as in Birgin and Raydan, SIAM J. Sci. Comput. 2005. Used to
    train on flipped images by Ortiz-Jimenez et al., Hold me tight!, NeurIPS 2020.
    """
    check_images(points, unit_range=False)
    check_count("rounds", rounds, 1)
    check_nonnegative("tolerance", tolerance)
    if points.shape != centre.shape or points.dtype != centre.dtype:
        raise InputError(
            f"points and centre must agree, got {points.dtype} of shape {tuple(points.shape)} and "
            f"{centre.dtype} of shape {tuple(centre.shape)}."
        )
    if not lower < upper:
        raise InputError(f"lower must be below upper, got {lower} and {upper}.")
    if (transform is None) != (inverse is None):
        raise InputError("transform and inverse come together; an involution is both.")
    check_held("centre", centre)
    radii = per_image("radius", radius, points)
    # In the coordinates of the box: a rotation leaves the ball a ball, and is paid for once.
    middle = _mapped(inverse, centre.to(precise(centre)))
    inside = middle.clamp(lower, upper)
    slack = max(1e-4, 32 * torch.finfo(points.dtype).eps) * (upper - lower)
    if not bool(((middle - inside).abs() <= slack).all()):
        raise InputError(
            "a centre lies outside the box, which its ball may not meet; clamp the centres first."
        )
    # Relative to the centre, so that a small ball does not drown in the rounding of large values.
    offsets = _mapped(inverse, points.to(middle.dtype)) - inside
    box = (lower - inside, upper - inside)
    outside = (lengths_of(offsets) > radii) | (offsets.clamp(*box) != offsets).flatten(1).any(dim=1)
    rows = outside.nonzero().squeeze(1)
    result = points.clone()
    if len(rows):
        nearest = _dykstra(
            offsets[rows], radii[rows], (box[0][rows], box[1][rows]), rounds, tolerance
        )
        moved = _mapped(transform, (inside[rows] + nearest).clamp(lower, upper))
        result[rows] = moved.to(result.dtype)
    return result


def _dykstra(
    points: Tensor, radii: Tensor, box: tuple[Tensor, Tensor], rounds: int, tolerance: Number
) -> Tensor:
    """Project onto a ball around the origin met with a box that holds the origin.

    There the box only ever shortens what the ball has let through, so that every round ends in
    both, and the rounds approach the nearest point from inside.
    """
    result = points.clone()
    rows = torch.arange(len(points), device=points.device)
    # What each projection took away last time, and gives back before it projects again.
    taken_by_ball = taken_by_box = torch.zeros_like(points)
    for _ in range(rounds):
        restored = points + taken_by_ball
        in_ball = _shrunk(restored, radii)
        taken_by_ball = restored - in_ball
        restored = in_ball + taken_by_box
        in_box = restored.clamp(*box)
        taken_by_box = restored - in_box
        # As large as the error; from one end of a round to the next the points may move far less.
        moves = torch.hypot(lengths_of(points - in_ball), lengths_of(in_ball - in_box))
        points = in_box
        result[rows] = points
        moving = (moves > tolerance * radii).nonzero().squeeze(1)
        if len(moving) == 0:
            break
        if len(moving) < len(rows):
            rows, points, radii = rows[moving], points[moving], radii[moving]
            taken_by_ball, taken_by_box = taken_by_ball[moving], taken_by_box[moving]
            box = (box[0][moving], box[1][moving])
    return result


def _shrunk(offsets: Tensor, radii: Tensor) -> Tensor:
    lengths = lengths_of(offsets)
    return offsets * rows_of(torch.where(lengths > radii, radii / lengths, 1.0), offsets)


def _mapped(function: Map | None, points: Tensor) -> Tensor:
    if function is None:
        return points
    mapped = function(points)
    if mapped.shape != points.shape:
        raise InputError(
            f"the map turned points {tuple(points.shape)} into {tuple(mapped.shape)}; it must keep "
            "the shape."
        )
    return mapped
