"""The points of a batch on their way to the decision boundary: the moving parts of DeepFool."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robustkit.arguments import Number
from robustkit.attacks.boundary import boxed_move, free_move
from robustkit.attacks.box import Box
from robustkit.attacks.classifier import (
    Classifier,
    lead,
    rival_gradients,
    rounding,
    top_rivals,
    wasteful,
)
from robustkit.attacks.norms import Norm
from robustkit.errors import InputError
from robustkit.shapes import chunks, lengths_of, precise, rows_of

Projection = Callable[[Tensor], Tensor]


class Search:
    """The state of DeepFool on `(N, *shape)` images, advanced for some rows at a time.

    `points` are the current images, `labels` the classes to attack away from, `predictions` those
    of the last `judge`, `iterations` the steps taken. `stride` is the length of a step in units of
    the distance to the linearised boundary.
    """

    def __init__(
        self,
        classifier: Classifier,
        images: Float[Tensor, "n *shape"],
        box: Box | None,
        *,
        norm: Norm,
        candidates: int | None,
        stride: Number,
        projection: Projection | None,
    ) -> None:
        self.classifier, self.images, self.box = classifier, images, box
        self.norm, self.candidates, self.stride = norm, candidates, stride
        self.projection = projection
        self.points = images.detach().clone()
        self.labels = torch.full_like(classifier.forwards, -1)
        if classifier.labels is not None:
            # Classes are checked at the first call of the network, which tells how many there are.
            self.labels = classifier.labels.to(self.labels)
        self.predictions = torch.full_like(self.labels, -1)
        self.iterations = torch.zeros_like(self.labels)
        self.stuck = torch.zeros_like(self.labels, dtype=torch.bool)
        self.rivals = self.labels.new_zeros(len(images), 0)

    def step(self, rows: Int[Tensor, " m"], *, first: bool) -> Int[Tensor, " rest"]:
        """Move the images at `rows` that are not fooled yet, and return which they are.

        The `first` step ranks the classes. The host waits for the device once, to learn which
        images stay; in a box, also for each round that the projection takes to converge.
        """
        inputs, logits = self.classifier.graph(self.points[rows], rows)
        if first:
            self._rank(rows, logits.detach())
        labels = self.labels[rows].clamp(min=0)
        ahead = lead(logits.detach(), labels)
        waiting = (ahead > -torch.inf) & (ahead <= rounding(logits.detach())) & ~self.stuck[rows]
        staying = waiting.nonzero().squeeze(1)
        if wasteful(len(rows), len(staying), backward_calls=self.rivals.shape[1]):
            rows, staying = rows[staying], torch.arange(len(staying), device=rows.device)
            if len(rows) == 0:
                return rows
            del inputs, logits
            inputs, logits = self.classifier.graph(self.points[rows], rows)
        labels = self.labels[rows].clamp(min=0)
        points, movable = self._moved(inputs, logits, rows, labels)
        rows = rows[staying]
        self.points[rows] = points[staying]
        self.iterations[rows] += movable[staying]
        self.stuck[rows] = ~movable[staying]
        return rows

    def judge(self, rows: Int[Tensor, " m"], chunk: int) -> None:
        """Predict the classes of the points at `rows`; points without a finite output go home."""
        for part in chunks(rows, chunk):
            astray = part[~self._predict(part)]
            if len(astray):
                self.points[astray] = self.images[astray]
                self._predict(astray)

    def bisect(self, rows: Int[Tensor, " m"], halvings: int, chunk: int) -> None:
        """Halve the segment from the clean image to the fooling point, and keep the fooling end."""
        for part in chunks(rows, chunk):
            clean = self.images[part]
            offset = self.points[part] - clean
            box = None if self.box is None else self.box.at(part)
            labels = self.labels[part]
            near = torch.zeros(len(part), dtype=clean.dtype, device=clean.device)
            far = torch.ones_like(near)
            for _ in range(halvings):
                middle = (near + far) / 2
                logits = self.classifier.logits(_along(clean, offset, middle, box), part)
                fooled = lead(logits, labels) > rounding(logits)
                near, far = middle.where(~fooled, near), middle.where(fooled, far)
            # The far end itself stays bit for bit what was judged.
            shorter = rows_of(far < 1, clean)
            self.points[part] = torch.where(
                shorter, _along(clean, offset, far, box), self.points[part]
            )

    def _rank(self, rows: Tensor, logits: Tensor) -> None:
        if self.rivals.shape[1] == 0:
            classes = logits.shape[1]
            kept = classes if self.candidates is None else min(self.candidates, classes)
            self.rivals = self.labels.new_zeros(len(self.labels), kept - 1)
        if self.classifier.labels is None:
            self.labels[rows] = logits.argmax(dim=1).where(logits.isfinite().all(dim=1), -1)
        labels = self.labels[rows].clamp(min=0)
        self.rivals[rows] = top_rivals(logits, labels, self.rivals.shape[1])

    def _moved(
        self, inputs: Tensor, logits: Tensor, rows: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the points after a step, and which of them could move."""
        dtype = precise(inputs)
        rivals, scores = self.rivals[rows], logits.detach()
        gaps = scores.gather(1, labels[:, None]) - scores.gather(1, rivals)
        needs = (gaps + 2 * rounding(scores)[:, None]).to(dtype)
        gradients = rival_gradients(self.classifier, inputs, logits, rows, labels, rivals)
        normals = (self._projected(gradient).flatten(1).to(dtype) for gradient in gradients)
        grain = 4 * torch.finfo(inputs.dtype).eps
        points = inputs.detach().flatten(1).to(dtype)
        if self.box is None:
            move, length = free_move(normals, needs, self.norm, grain)
        else:
            box = self.box.at(rows)
            down, up = points - box.lower.flatten(1), box.upper.flatten(1) - points
            move, length = boxed_move(normals, needs, self.norm, down, up, grain)
        after = (points + self.stride * move).to(inputs.dtype).reshape(inputs.shape)
        return after if self.box is None else box.clamp(after), length.isfinite()

    def _projected(self, gradient: Tensor) -> Tensor:
        if self.projection is None:
            return gradient
        inside = self.projection(gradient)
        if inside.shape != gradient.shape:
            raise InputError(
                f"the projection turned gradients {tuple(gradient.shape)} into "
                f"{tuple(inside.shape)}; it must keep the shape."
            )
        # What the projector's own rounding leaves of a gradient orthogonal to the subspace is no
        # direction: following it would take an astronomic step.
        floor = 64 * torch.finfo(gradient.dtype).eps * lengths_of(gradient)
        return torch.where(rows_of(lengths_of(inside) > floor, inside), inside, 0.0)

    def _predict(self, rows: Tensor) -> Tensor:
        logits = self.classifier.logits(self.points[rows], rows)
        finite = logits.isfinite().all(dim=1)
        self.predictions[rows] = logits.argmax(dim=1).where(finite, -1)
        return finite


def _along(clean: Tensor, offset: Tensor, share: Tensor, box: Box | None) -> Tensor:
    points = clean + rows_of(share, clean) * offset
    return points if box is None else box.clamp(points)
