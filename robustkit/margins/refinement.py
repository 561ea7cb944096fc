"""From a point beyond the boundary to the nearest one that its direction, or the normal, gives."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robustkit.attacks.classifier import lead_weights
from robustkit.margins.crossing import crossing
from robustkit.margins.walk import Front, Walk
from robustkit.shapes import lengths_of, precise, rows_of

# A direction is turned as long as a turn, of about ten passes, shortens it by this share.
_TURNS, _GAIN = 8, 0.005


def refined(walk: Walk, front: Front, refine: str) -> tuple[Front, Int[Tensor, " m"]]:
    """Return pairs beyond the boundary at shorter offsets that are beyond it too; their classes.

    `refine` is that of `robustkit.margins.margins`.
    """
    if refine != "none":
        front = _to_the_crossing(walk, front)
    if refine == "normal":
        front = _turned_to_the_normal(walk, front)
    return front, walk.judge(front)[1]


def _to_the_crossing(walk: Walk, front: Front) -> Front:
    # A clean image that lies on the boundary itself counts as on the near side.
    near = walk.leads[front.pairs // walk.subspaces]
    near = near.clamp(max=-torch.finfo(near.dtype).tiny)
    far, _ = walk.judge(front)
    # A lead that another batch size undoes leaves no bracket.
    places = (far > 0).nonzero().squeeze(1)
    bracketed = front.at(places)

    def along(shares: Float[Tensor, " m"], rows: Int[Tensor, " m"]) -> Float[Tensor, " m"]:
        return walk.judge(bracketed.at(rows), shares.to(front.offsets.dtype))[0]

    shares = torch.ones_like(near)
    shares[places] = crossing(along, near[places], far[places])
    shares = shares.to(front.offsets.dtype)
    return front.moved_to(front.offsets * rows_of(shares, front.offsets))


def _turned_to_the_normal(walk: Walk, front: Front) -> Front:
    front = _nearer(walk, front, -front.offsets)
    turning = torch.arange(len(front), device=front.pairs.device)
    offsets = front.offsets
    for _ in range(_TURNS):
        if len(turning) == 0:
            break
        part = front.at(turning).moved_to(offsets[turning])
        shorter = _nearer(walk, part, _along_the_normal(walk, part)).offsets
        offsets[turning] = shorter
        turning = turning[lengths_of(shorter) < (1 - _GAIN) * lengths_of(part.offsets)]
    return front.moved_to(offsets)


def _along_the_normal(walk: Walk, front: Front) -> Float[Tensor, "m *shape"]:
    """Return offsets as long as those of the pairs, along the boundary's normal in the subspace."""
    image, which = front.pairs // walk.subspaces, front.pairs % walk.subspaces
    inputs, logits = walk.classifier.graph(walk.points(front), image)
    weights = lead_weights(logits.detach(), walk.labels[image])
    gradient = walk.classifier.pull_back(inputs, logits, weights, image)
    normal = walk.stack.project(gradient, which).to(precise(gradient))
    slopes, lengths = lengths_of(normal), lengths_of(front.offsets)
    usable = (slopes > 0) & slopes.isfinite()
    along = torch.where(rows_of(usable, normal), normal / rows_of(slopes, normal), 0.0)
    return (along * rows_of(lengths, along)).to(front.offsets.dtype)


def _nearer(walk: Walk, front: Front, offsets: Float[Tensor, "m *shape"]) -> Front:
    """Look along other offsets as well; where the crossing there is nearer, keep it."""
    there = front.moved_to(offsets)
    # What is not beyond the boundary at the present length has no nearer crossing to find.
    places = (walk.judge(there)[0] > 0).nonzero().squeeze(1)
    kept = front.offsets.clone()
    if len(places):
        crossed = _to_the_crossing(walk, there.at(places)).offsets
        shorter = lengths_of(crossed) < lengths_of(kept[places])
        kept[places[shorter]] = crossed[shorter]
    return front.moved_to(kept)
