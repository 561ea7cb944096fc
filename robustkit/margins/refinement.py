"""From a point beyond the boundary to the nearest one that its direction, or the normal, gives."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robustkit.attacks.classifier import lead_weights
from robustkit.attacks.shapes import lengths_of, precise, rows_of
from robustkit.margins.crossing import crossing
from robustkit.margins.walk import Front, Walk

# A direction is turned as long as a turn, of about eight passes, shortens it by this share.
_TURNS, _GAIN = 8, 0.005


def refined(walk: Walk, front: Front, refine: str) -> tuple[Front, Int[Tensor, " m"]]:
    """Return pairs beyond the boundary at shorter offsets that are beyond it too; their classes.

    `refine` is that of `robustkit.margins.margins`.
    """
    if refine != "none":
        front = _to_the_crossing(walk, front, None)
    if refine == "normal":
        front = _turn_to_the_normal(walk, front)
    return front, walk.judge(front)[1]


def _turn_to_the_normal(walk: Walk, front: Front) -> Front:
    turning = torch.arange(len(front), device=front.pairs.device)
    offsets, before = front.offsets.clone(), lengths_of(front.offsets)
    for _ in range(_TURNS):
        if len(turning) == 0:
            break
        shorter = _turned(walk, Front(front.pairs[turning], offsets[turning])).offsets
        gained = lengths_of(shorter) < (1 - _GAIN) * lengths_of(offsets[turning])
        offsets[turning] = shorter
        turning = turning[gained]
    # Crossings along the way are coarse.
    changed = (lengths_of(offsets) < before).nonzero().squeeze(1)
    fine = _to_the_crossing(walk, Front(front.pairs[changed], offsets[changed]), None)
    offsets[changed] = fine.offsets
    return Front(front.pairs, offsets)


def _to_the_crossing(walk: Walk, front: Front, tolerance: float | None) -> Front:
    near = walk.leads[front.pairs // walk.subspaces]
    far, _ = walk.judge(front)
    # A lead of zero at the clean image, or one that another batch size undoes, leaves no bracket.
    usable = (near < 0) & (far > 0)
    places = usable.nonzero().squeeze(1)
    bracketed = front.at(places)

    def along(shares: Float[Tensor, " m"], rows: Int[Tensor, " m"]) -> Float[Tensor, " m"]:
        return walk.judge(bracketed.at(rows), shares.to(front.offsets.dtype))[0]

    shares = torch.ones_like(near)
    shares[places] = crossing(along, near[places], far[places], tolerance=tolerance)
    return Front(
        front.pairs, front.offsets * rows_of(shares.to(front.offsets.dtype), front.offsets)
    )


def _turned(walk: Walk, front: Front) -> Front:
    """Look along the boundary's normal within the subspace; keep what is nearer."""
    image, which = front.pairs // walk.subspaces, front.pairs % walk.subspaces
    inputs, logits = walk.classifier.graph(walk.points(front), image)
    weights = lead_weights(logits.detach(), walk.labels[image])
    gradient = walk.classifier.pull_back(inputs, logits, weights, image)
    normal = walk.stack.project(gradient, which).to(precise(gradient))
    slopes, lengths = lengths_of(normal), lengths_of(front.offsets)
    usable = (slopes > 0) & slopes.isfinite()
    along = torch.where(rows_of(usable, normal), normal / rows_of(slopes, normal), 0.0)
    # As long as the present offset: if that is beyond the boundary, the crossing is nearer.
    there = Front(front.pairs, (along * rows_of(lengths, along)).to(front.offsets.dtype))
    places = (usable & (walk.judge(there)[0] > 0)).nonzero().squeeze(1)
    if len(places) == 0:
        return front
    shorter = _to_the_crossing(walk, there.at(places), _GAIN)
    nearer = lengths_of(shorter.offsets) < lengths[places]
    offsets = front.offsets.clone()
    offsets[places[nearer]] = shorter.offsets[nearer]
    return Front(front.pairs, offsets)
