"""Projected gradient descent (PGD): the strongest perturbation within a radius, batched."""

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from robustkit.arguments import Number, check_count, keys_of
from robustkit.attacks.ball import Ball, Projection, per_image
from robustkit.attacks.box import Bounds, check_batch
from robustkit.attacks.classifier import Classifier, lead, lead_weights, rounding, wasteful
from robustkit.attacks.norms import parse_norm
from robustkit.attacks.result import AttackResult, conclude
from robustkit.errors import InputError, unknown
from robustkit.shapes import chunks

_LOSSES = ("cross_entropy", "margin")


@torch.inference_mode(False)
@torch.no_grad()
def pgd(
    model: nn.Module,
    images: Shaped[Tensor, "..."],
    labels: Shaped[Tensor, "..."],
    *,
    norm: Number | str = 2,
    radius: Number | Shaped[Tensor, "..."],
    steps: int = 20,
    step_size: Number | Shaped[Tensor, "..."] | None = None,
    restarts: int = 1,
    random_start: bool = True,
    loss: str = "cross_entropy",
    bounds: Bounds | None = (0.0, 1.0),
    projection: Projection | None = None,
    early_stop: bool = True,
    seed: int = 0,
    indices: Shaped[Tensor, "..."] | None = None,
    chunk: int = 512,
) -> AttackResult:
    """Search the ball around each image for a point that the model puts in another class.

    - `images`: `(N, *shape)`, floating point, within `bounds`; `labels`: `(N,)`, the true classes.
    - `norm`: 2 or "inf"; `radius`: of the ball, a number or one an image, at least 0.
    - `steps` of length `step_size` (a number or one an image; by default 2.5 * radius / steps) go
      along the gradient, normalised (norm 2) or its sign ("inf"), each followed by a projection
      onto the ball and then the bounds: the result is in the ball up to the rounding of pixels, and
      within the bounds exactly.
    - `projection`: a function from points `(M, *shape)`, their clean images and `(M,)` radii to
      points that takes the place of both projections, for norm 2 and `bounds=None`; the result is
      where it puts them. It must treat rows alone, and is called after each start and each step.
    - `restarts`: from points uniform in the ball. Of the end points the one with the largest lead
      of another class is returned: one more restart never turns a success into a failure. With
      `random_start=False` the one start is the clean image.
    - `loss`: "cross_entropy", whose gradient is computed without the factor that vanishes where the
      model is sure of itself, or "margin", the best other logit minus the label's.
    - `early_stop`: an image that is fooled leaves; one that is misclassified from the start is
      returned as it is. With False every image takes all steps, as adversarial training wants.
    - `seed` and `indices`: the starts of an image depend on the seed and the image's index, int64,
      by default its row, and on nothing else of the batch.
    - `chunk`: most images in one call of the network.

    Follows the images' device and dtype. Raises `InputError` for images, labels, bounds, arguments
    or a model that it cannot work with.

    Source: Madry et al., Towards deep learning models resistant to adversarial attacks, ICLR 2018.
    """
    norm = parse_norm(norm, (2, "inf"))
    check_count("steps", steps, 1)
    check_count("restarts", restarts, 1)
    check_count("chunk", chunk, 1)
    if loss not in _LOSSES:
        raise unknown("loss", loss, _LOSSES)
    if restarts > 1 and not random_start:
        raise InputError("restarts from the clean image are all the same; use random_start=True.")
    if projection is not None and (norm != 2 or bounds is not None):
        raise InputError(
            "a projection takes the place of l2 ball and bounds: pass norm=2 and bounds=None."
        )
    box = check_batch(images, bounds)
    radii = per_image("radius", radius, images)
    lengths = radii * (2.5 / steps)
    if step_size is not None:
        lengths = per_image("step_size", step_size, images)
    everything = torch.arange(len(images), device=images.device)
    keys = keys_of(indices, images)
    classifier = Classifier(model, len(images), images.device, labels)
    ball = Ball(images, radii, norm, box, projection)
    ascent = _Ascent(classifier, labels, ball, lengths, loss, early_stop)
    if early_stop:
        ascent.keep_best(everything, chunk)
    for restart in range(restarts):
        rows = everything[ascent.leads <= 0] if early_stop else everything
        if random_start:
            for part in chunks(rows, chunk):
                ascent.points[part] = ascent.ball.sample(part, keys[part], seed, restart)
        active = rows
        for _ in range(steps):
            if len(active) == 0:
                break
            active = torch.cat([ascent.step(part) for part in chunks(active, chunk)])
        ascent.keep_best(rows, chunk)
    return conclude(
        classifier,
        images,
        ascent.best,
        ascent.labels,
        ascent.predictions,
        ascent.iterations,
        box,
    )


class _Ascent:
    """Points that climb the loss inside their balls, and the best end point of each so far."""

    def __init__(
        self,
        classifier: Classifier,
        labels: Shaped[Tensor, "..."],
        ball: Ball,
        lengths: Float[Tensor, " n"],
        loss: str,
        early_stop: bool,
    ) -> None:
        self.classifier, self.ball, self.lengths = classifier, ball, lengths
        self.loss, self.early_stop = loss, early_stop
        self.labels = labels.to(classifier.forwards)
        self.points = ball.images.detach().clone()
        self.best = self.points.clone()
        self.leads = torch.full_like(lengths, -torch.inf)
        self.predictions = torch.full_like(self.labels, -1)
        self.iterations = torch.zeros_like(self.labels)

    def step(self, rows: Int[Tensor, " m"]) -> Int[Tensor, " rest"]:
        """Take one step with those at `rows` that are not fooled yet, and return which they are."""
        inputs, logits = self.classifier.graph(self.points[rows], rows)
        staying = torch.arange(len(rows), device=rows.device)
        if self.early_stop:
            scores = logits.detach()
            staying = staying[lead(scores, self.labels[rows]) <= rounding(scores)]
        if wasteful(len(rows), len(staying), backward_calls=1):
            rows, staying = rows[staying], torch.arange(len(staying), device=rows.device)
            if len(rows) == 0:
                return rows
            del inputs, logits
            inputs, logits = self.classifier.graph(self.points[rows], rows)
        weights = _climb(logits.detach(), self.labels[rows], self.loss)
        gradients = self.classifier.pull_back(inputs, logits, weights, rows)
        moved = self.ball.advance(inputs.detach(), gradients, self.lengths[rows], rows)
        rows = rows[staying]
        self.points[rows] = moved[staying]
        self.iterations[rows] += 1
        return rows

    def keep_best(self, rows: Int[Tensor, " m"], chunk: int) -> None:
        """Judge the points at `rows`; keep those that lead by more than any end point before."""
        for part in chunks(rows, chunk):
            points = self.points[part]
            logits = self.classifier.logits(points, part)
            leads = lead(logits, self.labels[part])
            better = leads > self.leads[part]
            gained = part[better]
            self.best[gained] = points[better]
            self.leads[gained] = leads[better].to(self.leads.dtype)
            self.predictions[gained] = logits.argmax(dim=1)[better]


def _climb(
    logits: Float[Tensor, "m classes"], labels: Int[Tensor, " m"], loss: str
) -> Float[Tensor, "m classes"]:
    """Return the direction in logits along which the loss grows, up to a factor an image.

    The gradient of the cross-entropy is (softmax - one-hot of the label); divided by one minus the
    label's probability it is the softmax over the other classes, and minus one at the label.
    """
    if loss == "margin":
        return lead_weights(logits, labels)
    own = labels[:, None]
    return logits.scatter(1, own, -torch.inf).softmax(dim=1).scatter(1, own, -1.0)
