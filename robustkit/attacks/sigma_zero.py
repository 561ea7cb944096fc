"""Sigma-zero: few changed components by descent on a smooth count of them, batched."""

import math
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from robustkit.arguments import Number, check_count, check_nonnegative
from robustkit.attacks.box import Bounds
from robustkit.attacks.classifier import lead, lead_weights, rounding
from robustkit.attacks.result import AttackResult
from robustkit.attacks.trial import Trial
from robustkit.checks import check_held
from robustkit.errors import InputError
from robustkit.shapes import chunks, precise, rows_of

_DECAY = (0.9, 0.999)


@torch.inference_mode(False)
@torch.no_grad()
def sigma_zero(
    model: nn.Module,
    images: Shaped[Tensor, "..."],
    labels: Shaped[Tensor, "..."] | None = None,
    *,
    steps: int = 1000,
    learning_rate: Number = 1.0,
    sigma: Number = 1e-3,
    threshold: Number = 0.3,
    threshold_step: Number = 0.01,
    start: Shaped[Tensor, "..."] | None = None,
    bounds: Bounds | None = (0.0, 1.0),
    chunk: int = 512,
) -> AttackResult:
    """Search for a perturbation of each image that changes its class and few components.

    Adam descends the margin of the label, while there is one, plus a smooth share of changed
    components, mean(d^2 / (d^2 + sigma)), along gradients scaled to a largest entry of one. After
    each step, changes below a threshold are undone; an image's threshold rises while it is fooled
    and falls while it is not. Of all points seen to fool, the one with the fewest changed
    components is returned.

    - `images`: `(N, *shape)`, floating point, within `bounds`.
    - `labels`: `(N,)`, the classes to attack away from; by default the model's own predictions. An
      image that the model already puts in another class is returned as it is, a success.
    - `steps`: one forward and one backward pass each. An image that one component fools is done,
      and leaves. One that is never fooled is a failure, returned at its last point.
    - `learning_rate`: of Adam, above 0; it falls along a cosine to a tenth of that. This, the
      `threshold` at the start, in [0, 1], and the changes d are in units of the widest range that
      the bounds leave to a pixel of the image.
    - `sigma`: above 0, the square of the change at which a component counts half.
    - `threshold_step`: at least 0; a threshold moves by this times the learning rate at each step.
    - `start`: `(N, *shape)`, within `bounds`, images to start from instead of the clean ones. One
      that fools is the first best. Its changes below the threshold are undone in the first step,
      which moves every component with a gradient by the learning rate, so that a start worth
      keeping wants both smaller.
    - `bounds`: lower and upper bound of the pixels, numbers or tensors that broadcast to the batch;
      None is refused, as one component would then do.
    - `chunk`: most images in one call of the network.

    Zero or non-finite gradients and outputs make a failure of their own image only. Follows the
    images' device and dtype. Raises `InputError` for images, labels, start, bounds, arguments or a
    model that it cannot work with.

    Source: Cinà, Villani, Pintor, Schönherr, Biggio and Pelillo, sigma-zero: gradient-based
    optimization of l0-norm adversarial examples, ICLR 2025. As in the authors' code the gradient is
    that of the thresholded point, and a threshold moves before it is applied.
    """
    check_count("steps", steps, 1)
    for name, value in (("learning_rate", learning_rate), ("sigma", sigma)):
        check_nonnegative(name, value)
        if value == 0:
            raise InputError(f"{name} must be above 0, got {value}.")
    check_nonnegative("threshold_step", threshold_step)
    if not 0 <= threshold <= 1:
        raise InputError(f"threshold must be in [0, 1], got {threshold}.")
    trial = Trial(model, images, labels, bounds, chunk)
    points = images if start is None else _check_start(start, trial)
    rates = [
        learning_rate * (0.55 + 0.45 * math.cos(math.pi * step / steps)) for step in range(steps)
    ]
    for rows in chunks(trial.standing, chunk):
        descent = _Descent(trial, rows, points[rows], sigma, threshold, threshold_step)
        for step, rate in enumerate(rates):
            if len(descent.state.rows) == 0:
                break
            descent.step(step, rate)
        descent.settle()
    return trial.conclude()


@dataclass(frozen=True, eq=False)
class _State:
    """What the descent knows of each of its images; `counts` are the components of the best."""

    rows: Int[Tensor, " m"]
    clean: Float[Tensor, "m *shape"]
    lower: Float[Tensor, "m *shape"]
    upper: Float[Tensor, "m *shape"]
    units: Float[Tensor, " m"]
    points: Float[Tensor, "m *shape"]
    means: Float[Tensor, "m *shape"]
    squares: Float[Tensor, "m *shape"]
    thresholds: Float[Tensor, " m"]
    counts: Int[Tensor, " m"]

    def at(self, staying: Bool[Tensor, " m"]) -> "_State":
        """Return the state of some of the images."""
        return _State(*(getattr(self, field.name)[staying] for field in fields(self)))


class _Descent:
    """The images of one chunk on their way, as long as there is something to gain."""

    def __init__(
        self,
        trial: Trial,
        rows: Int[Tensor, " m"],
        points: Float[Tensor, "m *shape"],
        sigma: Number,
        threshold: Number,
        threshold_step: Number,
    ) -> None:
        self.trial, self.sigma, self.threshold_step = trial, sigma, threshold_step
        self.size = points[0].numel()
        box, clean, dtype = trial.box.at(rows), trial.images[rows], precise(points)
        units = (box.upper - box.lower).flatten(1).amax(dim=1).to(dtype)
        state = _State(
            rows=rows,
            clean=clean,
            lower=box.lower,
            upper=box.upper,
            units=units,
            points=points,
            means=torch.zeros_like(points, dtype=dtype),
            squares=torch.zeros_like(points, dtype=dtype),
            thresholds=torch.full_like(units, threshold),
            counts=torch.full_like(rows, self.size + 1),
        )
        # Bounds without room leave nothing to descend.
        self.state = state.at(units > 0)

    def step(self, step: int, rate: float) -> None:
        """Judge the points, and move those of the images that can still gain."""
        state, classifier = self.state, self.trial.classifier
        inputs, logits = classifier.graph(state.points, state.rows)
        labels = self.trial.labels[state.rows]
        scores = logits.detach()
        fooled = lead(scores, labels) > rounding(scores)
        self._keep_best(fooled)
        # Where there is no margin left only the count is descended.
        weights = torch.where(fooled[:, None], 0.0, -lead_weights(scores, labels))
        slopes = classifier.pull_back(inputs, logits, weights, state.rows)
        moving = self._move(slopes, fooled, step, rate)
        self.trial.iterations[state.rows] += moving
        staying = moving & (state.counts > 1)
        if not bool(staying.all()):
            self._settle_at(~staying)
            self.state = state.at(staying)

    def settle(self) -> None:
        """Hand over the last points of the images that were never fooled."""
        self._settle_at(torch.ones_like(self.state.rows, dtype=torch.bool))

    def _settle_at(self, leaving: Tensor) -> None:
        state = self.state
        failed = leaving & (state.counts > self.size)
        self.trial.adversarial[state.rows[failed]] = state.points[failed]

    def _keep_best(self, fooled: Tensor) -> None:
        state = self.state
        counts = (state.points != state.clean).flatten(1).sum(dim=1)
        better = fooled & (counts < state.counts)
        state.counts[better] = counts[better]
        self.trial.adversarial[state.rows[better]] = state.points[better]

    def _move(self, slopes: Tensor, fooled: Tensor, step: int, rate: float) -> Tensor:
        """Move the points, and say which had a direction to move in."""
        state = self.state
        dtype, units = state.means.dtype, rows_of(state.units, slopes)
        slopes = slopes.to(dtype) * units
        usable = slopes.isfinite().flatten(1).all(dim=1)
        slopes = torch.where(rows_of(usable, slopes), slopes, 0.0)
        changes = (state.points.to(dtype) - state.clean) / units
        smooth = changes.square() + self.sigma
        slopes += 2 * self.sigma / self.size * changes / smooth.square()
        peaks = slopes.flatten(1).abs().amax(dim=1)
        slopes /= rows_of(peaks.where(peaks > 0, 1.0), slopes)
        first, second = _DECAY
        state.means.lerp_(slopes, 1 - first)
        state.squares.mul_(second).addcmul_(slopes, slopes, value=1 - second)
        # Moments start at zero; this is Adam's correction for it.
        spread = (state.squares / (1 - second ** (step + 1))).sqrt() + 1e-8
        changes -= rate / (1 - first ** (step + 1)) * state.means / spread
        points = (state.clean + units * changes).to(state.points.dtype)
        points = torch.clamp(points, state.lower, state.upper)
        turns = torch.where(fooled, 1.0, -1.0).to(dtype) * (self.threshold_step * rate)
        state.thresholds.add_(turns).clamp_(0, 1)
        small = (points.to(dtype) - state.clean).abs() < rows_of(state.thresholds, points) * units
        state.points.copy_(torch.where(small, state.clean, points))
        # Without a first gradient there never is a direction, nor a change to undo.
        return (peaks > 0) | (step > 0)


def _check_start(start: Tensor, trial: Trial) -> Tensor:
    images = trial.images
    if start.shape != images.shape or not start.is_floating_point():
        raise InputError(
            f"start must be floating point of the images' shape {tuple(images.shape)}, got "
            f"{start.dtype} of shape {tuple(start.shape)}."
        )
    check_held("start", start)
    points = start.detach().to(images)
    outside = int((~trial.box.contains(points)).sum())
    if outside:
        raise InputError(f"{outside} of {len(points)} starts lie outside the bounds.")
    return points
