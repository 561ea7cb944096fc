"""Where a segment from a clean image first shows to cross the boundary: bracketed root finding."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Shares of the segments at some rows -> how far the label has lost there (positive: fooled).
Along = Callable[[Float[Tensor, " m"], Int[Tensor, " m"]], Float[Tensor, " m"]]


def crossing(
    along: Along,
    near: Float[Tensor, " n"],
    far: Float[Tensor, " n"],
    *,
    most: int = 60,
) -> Float[Tensor, " n"]:
    """Return the share of each segment at which its lead changes sign, from the far side.

    `along(shares, rows)` returns the lead at shares of the segments of some rows; `near` < 0 and
    `far` > 0 are the leads at shares 0 and 1. What is returned was seen to be positive, and a
    negative lead was seen nearer by no more than eps^(2/3) of it, unless `most` evaluations were
    not enough. On a straight line two or three are. Where a lead is
    not finite, the point counts as on the near side. Source: Chandrupatla, Advances in Engineering
    Software 1997, begun with a secant.
    """
    tolerance = torch.finfo(near.dtype).eps ** (2 / 3)
    # b and a bracket the root, a is the latest point, and c the one before on the side of a or b.
    a, b, c = torch.ones_like(near), torch.zeros_like(near), torch.zeros_like(near)
    at_a, at_b, at_c = far.clone(), near.clone(), near.clone()
    best = torch.ones_like(near)
    rows = torch.arange(len(near), device=near.device)
    step = far / (far - near)
    for _ in range(most):
        if len(rows) == 0:
            break
        x = a + step * (b - a)
        found = along(x, rows)
        found = found.where(found.isfinite(), at_b.minimum(at_a))
        same = (found > 0) == (at_a > 0)
        c, at_c = torch.where(same, a, b), torch.where(same, at_a, at_b)
        b, at_b = torch.where(same, b, a), torch.where(same, at_b, at_a)
        a, at_a = x, found
        best[rows] = torch.where(at_a > 0, a, b)
        limit = tolerance / 2 * best[rows] / (b - a).abs()
        going = (limit <= 0.5).nonzero().squeeze(1)
        if len(going) < len(rows):
            rows, limit = rows[going], limit[going]
            a, b, c = a[going], b[going], c[going]
            at_a, at_b, at_c = at_a[going], at_b[going], at_c[going]
        step = _next(a, b, c, at_a, at_b, at_c).clamp(min=limit, max=1 - limit)
    return best


def _next(
    a: Tensor, b: Tensor, c: Tensor, at_a: Tensor, at_b: Tensor, at_c: Tensor
) -> Float[Tensor, " m"]:
    """Return the next step from a towards b as a share: inverse quadratic where it is safe."""
    across = (a - b) / (c - b)
    up = (at_a - at_b) / (at_c - at_b)
    smooth = (up.square() < across) & ((1 - up).square() < 1 - across)
    inverse = at_a / (at_b - at_a) * at_c / (at_b - at_c) + (c - a) / (b - a) * at_a / (
        at_c - at_a
    ) * at_b / (at_c - at_b)
    return torch.where(smooth & inverse.isfinite(), inverse, 0.5)
