"""Sparse steps onto planes: DeepFool finds the boundary near an image, a linear solver goes there.

Each step takes the tangent of the decision boundary at the point where DeepFool crosses it, and
moves the image onto that plane as sparsely as the box allows, aiming `reach` times as far as the
boundary is, since a sparse move is long and the boundary is curved.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robustkit.arguments import Number
from robustkit.attacks.boundary import free_move
from robustkit.attacks.classifier import lead, rival_gradients, rounding
from robustkit.attacks.linear_solver import Order, Unit, sparsest_move
from robustkit.attacks.trial import Trial
from robustkit.shapes import chunks, lengths_of, precise, rows_of

# Of the published DeepFool and LinearSolver, in units of pixels: a step is never shorter, a plane
# is passed by that much, and DeepFool judges a little beyond the point where it differentiates.
_SHORTEST, _MARGIN, _BEYOND, _DEEPFOOL_STEPS = 1e-4, 1e-3, 0.02, 50


@dataclass(frozen=True)
class PlaneSteps:
    """How the images of a trial are moved, plane by plane.

    - `reach`: lambda of the paper, above 0; the boundary is 1 away.
    - `overshoot`: the perturbation is judged, and returned, longer by this share.
    - `classes`: how many of the classes ranked first take part in DeepFool, with the label.
    - `order`, `unit`: of the linear solver.
    """

    trial: Trial
    reach: Number
    overshoot: Number
    classes: int
    order: Order
    unit: Unit

    def run(self, rows: Int[Tensor, " m"], steps: int) -> Int[Tensor, " rest"]:
        """Take at most so many steps from the clean images; return the rows that are not fooled."""
        parts = [self._run(part, steps) for part in chunks(rows, self.trial.chunk)]
        return torch.cat(parts) if parts else rows

    def _run(self, rows: Tensor, steps: int) -> Tensor:
        trial = self.trial
        clean, box = trial.images[rows], trial.box.at(rows)
        points = clean.clone()
        active = torch.arange(len(rows), device=rows.device)
        stuck = torch.zeros_like(rows, dtype=torch.bool)
        for _ in range(steps):
            if len(active) == 0:
                break
            which, here, room = rows[active], points[active], box.at(active)
            normals, needs, usable = self._plane(here, which)
            move, _ = sparsest_move(
                normals,
                needs,
                here - room.lower,
                room.upper - here,
                order=self.order,
                unit=self.unit,
                margin=_MARGIN,
            )
            movable = usable & (move != 0).flatten(1).any(dim=1)
            points[active] = room.clamp((here + move).to(here.dtype))
            longer = clean[active] + (1 + self.overshoot) * (points[active] - clean[active])
            longer = room.clamp(longer)
            logits = trial.classifier.logits(longer, which)
            trial.adversarial[which] = longer
            trial.iterations[which] += movable
            fools = lead(logits, trial.labels[which]) > rounding(logits)
            stuck[active] = ~fools & ~movable
            active = active[~fools & movable]
        return torch.cat([rows[active], rows[stuck]])

    def _plane(
        self, points: Float[Tensor, "m *shape"], rows: Int[Tensor, " m"]
    ) -> tuple[Float[Tensor, "m *shape"], Float[Tensor, " m"], Bool[Tensor, " m"]]:
        """Return the unit normals of the boundary near the points, and what moves must gain.

        The third part says of each row whether DeepFool crossed the boundary.
        """
        classifier = self.trial.classifier
        travel = torch.zeros_like(points, dtype=precise(points))
        labels, ends = torch.zeros_like(rows), torch.full_like(rows, -1)
        rivals = rows.new_zeros(len(rows), 0)
        active = torch.arange(len(rows), device=rows.device)
        for step in range(_DEEPFOOL_STEPS):
            if len(active) == 0:
                break
            which = rows[active]
            here = (points[active] + travel[active]).to(points.dtype)
            inputs, logits = classifier.graph(here, which)
            if step == 0:
                ranked = logits.detach().topk(min(self.classes, logits.shape[1]), dim=1).indices
                labels, rivals = ranked[:, 0], ranked[:, 1:]
            own, others = labels[active], rivals[active]
            scores = logits.detach()
            # At a tie of two classes the way has no length, but a direction.
            gaps = (scores.gather(1, own[:, None]) - scores.gather(1, others)).abs().to(travel)
            gaps = gaps.where(gaps != 0, 1e-20)
            gradients = rival_gradients(classifier, inputs, logits, which, own, others)
            normals = (gradient.flatten(1).to(travel.dtype) for gradient in gradients)
            move, length = free_move(normals, gaps, 2)
            movable = length.isfinite()
            scale = (_SHORTEST / length.clamp(min=1e-30)).clamp(min=1).where(movable, 0.0)
            travel[active] += rows_of(scale, inputs) * move.reshape(inputs.shape)
            beyond = points[active] + (1 + _BEYOND) * travel[active]
            judged = classifier.logits(beyond.to(points.dtype), which)
            answers = judged.argmax(dim=1)
            crossed = movable & (answers != own) & judged.isfinite().all(dim=1)
            ends[active[crossed]] = answers[crossed]
            active = active[movable & ~crossed]
        return self._tangent(points, travel, labels, ends, rows)

    def _tangent(
        self, points: Tensor, travel: Tensor, labels: Tensor, ends: Tensor, rows: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        crossed = ends >= 0
        inputs, logits = self.trial.classifier.graph((points + travel).to(points.dtype), rows)
        weights = torch.zeros_like(logits)
        weights.scatter_(1, ends.clamp(min=0)[:, None], 1.0).scatter_(1, labels[:, None], -1.0)
        normals = self.trial.classifier.pull_back(inputs, logits, weights, rows).to(travel.dtype)
        lengths = lengths_of(normals)
        usable = crossed & (lengths > 0) & lengths.isfinite()
        unit = torch.where(rows_of(usable, normals), normals / rows_of(lengths, normals), 0.0)
        distance = self.reach * (unit * travel).flatten(1).sum(dim=1)
        return unit, distance, usable
