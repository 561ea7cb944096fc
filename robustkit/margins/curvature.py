"""How much the decision boundary bends: normal curvatures from differences of gradients."""

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from robustkit import rng
from robustkit.arguments import Number, check_count, keys_of
from robustkit.attacks.ball import per_image
from robustkit.attacks.classifier import Classifier, rival_gradients
from robustkit.checks import check_images, check_labels
from robustkit.errors import InputError
from robustkit.margins.subspaces import Subspace
from robustkit.shapes import chunks, lengths_of, precise, rows_of


@torch.inference_mode(False)
@torch.no_grad()
def boundary_curvature(
    model: nn.Module,
    points: Shaped[Tensor, "..."],
    labels: Shaped[Tensor, "..."],
    targets: Shaped[Tensor, "..."],
    directions: Shaped[Tensor, "..."],
    *,
    step: Number | Shaped[Tensor, "..."] = 0.1,
    chunk: int = 512,
) -> Float[Tensor, "n k"]:
    """Return the normal curvature of the boundary between two classes at N points, `(N, K)`.

    The boundary is where g = f_target - f_label vanishes. Along a unit tangent v its curvature is
    v^T H v / ||grad g||, H being the Hessian of g: positive where the boundary bends towards the
    label's side, so that around a ball of radius R of the label's class it is 1 / R.

    - `points`: `(N, *shape)`, floating point, on the boundary; elsewhere the result is about the
      level set of g through the point. `labels` and `targets`: `(N,)`, the classes on either side.
    - `directions`: `(N, K, *shape)`, K at each point. Of each only the part orthogonal to grad g
      counts, scaled to unit length.
    - `step`: how far the gradients that are compared lie from the point, on either side; above 0, a
      number or one a point, in the units of the points. The networks used in practice are piecewise
      linear and have no curvature but at kinks: the step is the scale at which the bend is
      measured, and belongs beside the result. Take the size of the perturbations in question.
    - `chunk`: most points in one call of the network; each direction costs two passes and two back.

    The result is NaN where nothing is left of a direction or where a gradient is zero or not
    finite. It has at least single precision. Raises `InputError` for points, classes, directions, a
    step or a model that it cannot work with.

    Source: do Carmo, Differential Geometry of Curves and Surfaces, section 3.2 (normal curvature).
    """
    if directions.ndim != points.ndim + 1 or (
        directions.shape[:1] + directions.shape[2:] != points.shape
    ):
        raise InputError(
            f"directions must be (N, K, *shape) for points (N, *shape), got "
            f"{tuple(directions.shape)} and {tuple(points.shape)}; one direction a point is "
            "directions[:, None]."
        )
    slope = _Slope(model, points, labels, targets, step, chunk)
    check_images(directions, unit_range=False)
    gradients = slope.at_points()
    return slope.bends(directions.detach().to(gradients.dtype), gradients, gradients)


@torch.inference_mode(False)
@torch.no_grad()
def subspace_curvature(
    model: nn.Module,
    points: Shaped[Tensor, "..."],
    labels: Shaped[Tensor, "..."],
    targets: Shaped[Tensor, "..."],
    subspace: Subspace,
    *,
    count: int = 10,
    step: Number | Shaped[Tensor, "..."] = 0.1,
    seed: int = 0,
    indices: Shaped[Tensor, "..."] | None = None,
    chunk: int = 512,
) -> Float[Tensor, "n count"]:
    """Return the boundary's curvature along `count` random directions of a subspace, `(N, count)`.

    Directions are uniform among the unit vectors of the subspace that are tangent to the boundary.
    Their mean over the second axis estimates the mean curvature within the subspace: the trace of
    the Hessian over these vectors, divided by their dimension and the length of the gradient.

    `subspace` is one of images of the shape of the points, with a dimension of at least 2, or no
    tangent may be left. Direction j of a point depends on the seed, j and the point's index, int64,
    by default its row. Other arguments, the sign and errors are those of `boundary_curvature`.
    """
    check_count("count", count, 1)
    slope = _Slope(model, points, labels, targets, step, chunk)
    keys = keys_of(indices, points)
    gradients = slope.at_points()
    # A tangent within the subspace is orthogonal to the gradient's projection, not to all of it.
    normals = torch.cat([subspace.project(part) for part in gradients.split(chunk)])
    floor = 64 * torch.finfo(gradients.dtype).eps * lengths_of(gradients)
    normals = torch.where(rows_of(lengths_of(normals) > floor, normals), normals, 0.0)
    shape = tuple(points.shape[1:])
    draws = [
        rng.normal(seed, f"curvature/{index}", keys, shape, gradients.dtype)
        for index in range(count)
    ]
    wanted = torch.stack(draws, dim=1)
    inside = torch.cat([subspace.project(part) for part in wanted.flatten(0, 1).split(chunk)])
    return slope.bends(inside.reshape(wanted.shape), normals, gradients)


class _Slope:
    """The gradient of g = f_target - f_label at and around some points."""

    def __init__(
        self,
        model: nn.Module,
        points: Tensor,
        labels: Tensor,
        targets: Tensor,
        step: Number | Tensor,
        chunk: int,
    ) -> None:
        check_count("chunk", chunk, 1)
        check_images(points, unit_range=False)
        self.steps = per_image("step", step, points)
        if not bool((self.steps > 0).all()):
            raise InputError("step must be above 0: curvature is a difference of two gradients.")
        self.points, self.chunk = points.detach(), chunk
        self.classifier = Classifier(model, len(points), points.device, labels)
        self.labels, self.targets = labels, targets

    def at_points(self) -> Float[Tensor, "n *shape"]:
        """Return the gradient at each point, and check the classes on the way."""
        everything = torch.arange(len(self.points), device=self.points.device)
        parts: list[Tensor] = []
        for rows in chunks(everything, self.chunk):
            inputs, logits = self.classifier.graph(self.points[rows], rows)
            if not parts:
                self._check_targets(logits.shape[1])
            parts.append(self._pull(inputs, logits, rows))
        return torch.cat(parts)

    def bends(
        self,
        directions: Float[Tensor, "n k *shape"],
        normals: Float[Tensor, "n *shape"],
        gradients: Float[Tensor, "n *shape"],
    ) -> Float[Tensor, "n k"]:
        """Return the curvature along what is orthogonal to `normals` of the directions."""
        wanted = directions.shape[1]
        pairs = torch.arange(len(self.points) * wanted, device=self.points.device)
        parts = []
        for part in chunks(pairs, self.chunk):
            rows = part // wanted
            tangents, usable = _tangents(directions.flatten(0, 1)[part], normals[rows])
            moves = rows_of(self.steps[rows], tangents) * tangents
            ahead, behind = self._around(rows, moves), self._around(rows, -moves)
            change = ((ahead - behind) * tangents).flatten(1).sum(dim=1) / (2 * self.steps[rows])
            bend = change / lengths_of(gradients[rows])
            parts.append(bend.where(usable & bend.isfinite(), torch.nan))
        return torch.cat(parts).reshape(-1, wanted)

    def _around(self, rows: Tensor, moves: Tensor) -> Tensor:
        moved = (self.points[rows] + moves).to(self.points.dtype)
        return self._pull(*self.classifier.graph(moved, rows), rows)

    def _pull(self, inputs: Tensor, logits: Tensor, rows: Int[Tensor, " m"]) -> Tensor:
        # Any integer class is accepted, but only int64 is an index.
        labels = self.labels.to(self.classifier.forwards)[rows]
        rivals = self.targets.to(self.classifier.forwards)[rows, None]
        (gradient,) = rival_gradients(self.classifier, inputs, logits, rows, labels, rivals)
        return gradient.to(precise(gradient))

    def _check_targets(self, classes: int) -> None:
        check_labels(self.targets, len(self.points), classes)
        if bool((self.targets == self.labels).any()):
            raise InputError("a target equals its label: there is no boundary between them.")


def _tangents(
    directions: Float[Tensor, "m *shape"], normals: Float[Tensor, "m *shape"]
) -> tuple[Float[Tensor, "m *shape"], Tensor]:
    """Return unit vectors orthogonal to the normals, and which directions have such a part."""
    flat = directions.flatten(1)
    sizes = lengths_of(directions)
    tangents = flat / sizes.where(sizes > 0, 1.0)[:, None]
    lengths = lengths_of(normals)
    units = normals.flatten(1) / lengths.where(lengths > 0, 1.0)[:, None]
    # Once more, as the first subtraction leaves rounding along the normal.
    for _ in range(2):
        tangents = tangents - (tangents * units).sum(dim=1, keepdim=True) * units
    left = tangents.norm(dim=1)
    usable = left > 64 * torch.finfo(flat.dtype).eps
    tangents = tangents / left.where(usable, 1.0)[:, None]
    return tangents.reshape(directions.shape), usable
