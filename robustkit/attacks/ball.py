"""The ball around each image, met with its bounds: where PGD looks."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robustkit import rng
from robustkit.arguments import Number
from robustkit.attacks.box import Box
from robustkit.attacks.norms import Norm
from robustkit.errors import InputError
from robustkit.shapes import lengths_of, precise, rows_of

Projection = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Ball:
    """Points within `radii` of `images` in the l2 or linf norm, and inside the box, if any.

    A `projection` from points, clean images and radii takes the place of both.
    """

    images: Float[Tensor, "n *shape"]
    radii: Float[Tensor, " n"]
    norm: Norm
    box: Box | None
    projection: Projection | None = None

    def sample(
        self, rows: Int[Tensor, " m"], keys: Int[Tensor, " m"], seed: int, restart: int
    ) -> Float[Tensor, "m *shape"]:
        """Draw a point a row, uniform in the ball (then moved into the box), keyed per image."""
        shape, dtype = tuple(self.images.shape[1:]), precise(self.images)
        stream = f"pgd/start/{restart}"
        if self.norm == "inf":
            offsets = 2 * rng.uniform(seed, stream, keys, shape, dtype) - 1
        else:
            directions = rng.normal(seed, stream, keys, shape, dtype)
            lengths = lengths_of(directions)
            share = rng.uniform(seed, f"{stream}/length", keys, (1,), dtype).squeeze(1)
            size = directions[0].numel()
            offsets = directions * rows_of(share ** (1 / size) / lengths, directions)
        offsets = offsets * rows_of(self.radii[rows], offsets)
        return self._inside(self.images[rows], offsets, rows)

    def advance(
        self,
        points: Float[Tensor, "m *shape"],
        gradients: Float[Tensor, "m *shape"],
        lengths: Float[Tensor, " m"],
        rows: Int[Tensor, " m"],
    ) -> Float[Tensor, "m *shape"]:
        """Step along the gradients and come back into the ball and the box.

        A zero or non-finite gradient leaves its point where it is.
        """
        clean, dtype = self.images[rows], precise(self.images)
        slopes = gradients.to(dtype)
        peaks = slopes.flatten(1).abs().amax(dim=1)
        usable = rows_of((peaks > 0) & peaks.isfinite(), slopes)
        if self.norm == 2:
            # Scaled first: the squares of small gradients would underflow.
            slopes = torch.where(usable, slopes / rows_of(peaks, slopes), 0.0)
            sizes = lengths_of(slopes)
            directions = slopes / rows_of(sizes.where(sizes > 0, 1.0), slopes)
        else:
            directions = torch.where(usable, slopes.sign(), 0.0)
        offsets = points.to(dtype) - clean + rows_of(lengths, slopes) * directions
        return self._inside(clean, offsets, rows)

    def _inside(self, clean: Tensor, offsets: Tensor, rows: Tensor) -> Tensor:
        radii = self.radii[rows]
        if self.projection is not None:
            moved = clean + offsets
            points = self.projection(moved, clean.to(moved.dtype), radii)
            if points.shape != moved.shape:
                raise InputError(
                    f"the projection turned points {tuple(moved.shape)} into "
                    f"{tuple(points.shape)}; it must keep the shape."
                )
            return points.to(clean.dtype)
        if self.norm == 2:
            sizes = lengths_of(offsets)
            offsets = offsets * rows_of(torch.where(sizes > radii, radii / sizes, 1.0), offsets)
        else:
            limits = rows_of(radii, offsets)
            offsets = torch.clamp(offsets, -limits, limits)
        points = (clean + offsets).to(clean.dtype)
        # The clean image is in the box, so that clamping brings every pixel nearer to it.
        return points if self.box is None else self.box.at(rows).clamp(points)


def per_image(
    name: str, value: Number | Tensor, images: Float[Tensor, "n *shape"]
) -> Float[Tensor, " n"]:
    """Return one finite number of at least 0 an image; raises `InputError` for anything else."""
    values = torch.as_tensor(value, dtype=precise(images), device=images.device)
    if values.shape not in ((), (len(images),)):
        raise InputError(
            f"{name} must be a number or have shape ({len(images)},), got {tuple(values.shape)}."
        )
    if not bool(((values >= 0) & values.isfinite()).all()):
        raise InputError(f"{name} must be finite and at least 0.")
    return values.expand(len(images)).clone()
