"""Many subspaces at once: each row of a batch projected onto a subspace of its own."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robustkit.errors import InputError
from robustkit.margins.subspaces import Block, Subspace
from robustkit.shapes import lengths_of, rows_of


class Stack:
    """A list of subspaces that projects a batch whose rows name their subspace by its position.

    The DCT blocks among them are handled by four batched matrix products, however many there are,
    if they have one size; other subspaces by one call each.
    """

    def __init__(self, subspaces: Sequence[Subspace]) -> None:
        self.subspaces = list(subspaces)
        blocks = [one for one in self.subspaces if isinstance(one, Block)]
        alike = len({(one.shape, one.height, one.width) for one in blocks}) == 1
        self.blocks = blocks if alike else []
        # The place of each subspace among the blocks; -1 for those that are called on their own.
        self.places, place = [], 0
        for one in self.subspaces:
            stacked = alike and isinstance(one, Block)
            self.places.append(place if stacked else -1)
            place += stacked
        self.bases: tuple[Tensor, Tensor, Tensor] | None = None
        self.parts: tuple[Tensor, list[tuple[int, Tensor]]] | None = None

    def project(
        self, vectors: Float[Tensor, "n *shape"], which: Int[Tensor, " n"]
    ) -> Float[Tensor, "n *shape"]:
        """Return the projection of row i onto subspace `which[i]`.

        Where only rounding is left of a vector orthogonal to its subspace, the projection is zero:
        following that direction would take an astronomic step. Raises `InputError` where a subspace
        changes the shape.
        """
        if len(self.blocks) == len(self.subspaces):
            inside = self._onto_blocks(vectors, which)
        else:
            inside = torch.empty_like(vectors)
            if self.blocks:
                stacked = (self._stacked(vectors)[2][which] >= 0).nonzero().squeeze(1)
                if len(stacked):
                    inside[stacked] = self._onto_blocks(vectors[stacked], which[stacked])
            for position, rows in self._parts(which):
                if self.places[position] < 0:
                    inside[rows] = onto(self.subspaces[position], vectors[rows])
        floor = 64 * torch.finfo(vectors.dtype).eps * lengths_of(vectors)
        return torch.where(rows_of(lengths_of(inside) > floor, inside), inside, 0.0)

    def _parts(self, which: Tensor) -> list[tuple[int, Tensor]]:
        # Asked for once a rival with the same rows: the host waits for the device at the first.
        if self.parts is None or self.parts[0] is not which:
            counts = which.bincount(minlength=len(self.subspaces)).tolist()
            rows = which.argsort(stable=True).split(counts)
            self.parts = which, [(p, r) for p, r in enumerate(rows) if len(r)]
        return self.parts[1]

    def _onto_blocks(self, vectors: Tensor, which: Tensor) -> Tensor:
        down, across, places = self._stacked(vectors)
        left, right = down[places[which]], across[places[which]]
        count, channels, height, width = vectors.shape
        # Channels join the axis that is not being summed, so that no factor is copied for them.
        narrow = vectors.reshape(count, channels * height, width) @ right.mT
        narrow = narrow.reshape(count, channels, height, -1).transpose(1, 2)
        small = left @ narrow.reshape(count, height, -1)
        tall = (left.mT @ small).reshape(count, height, channels, -1).transpose(1, 2)
        return (tall.reshape(count, channels * height, -1) @ right).reshape(vectors.shape)

    def _stacked(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        kept = self.bases
        if kept is None or kept[0].dtype != vectors.dtype or kept[0].device != vectors.device:
            pairs = [one.bases(vectors) for one in self.blocks]
            kept = (
                torch.stack([down for down, _ in pairs]),
                torch.stack([across for _, across in pairs]),
                torch.tensor(self.places, device=vectors.device),
            )
            self.bases = kept
        return kept


def onto(subspace: Subspace, vectors: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
    """Return projections; raises `InputError` where a subspace changes the shape."""
    inside = subspace.project(vectors)
    if inside.shape != vectors.shape:
        raise InputError(
            f"the subspace {subspace.name!r} turned vectors {tuple(vectors.shape)} into "
            f"{tuple(inside.shape)}; it must keep their shape."
        )
    return inside
