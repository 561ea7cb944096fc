"""The Jacobian-based saliency map attack (JSMA): two components at a time, batched."""

import math

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from robustkit import rng
from robustkit.arguments import Number, keys_of
from robustkit.attacks.box import Bounds
from robustkit.attacks.classifier import lead, rounding, wasteful
from robustkit.attacks.result import AttackResult
from robustkit.attacks.trial import Trial
from robustkit.checks import check_labels
from robustkit.errors import InputError
from robustkit.shapes import chunks, precise

# Pairs compared at once: enough to keep a device busy, and far from its memory.
_PAIRS = 2**22


@torch.inference_mode(False)
@torch.no_grad()
def jsma(
    model: nn.Module,
    images: Shaped[Tensor, "..."],
    labels: Shaped[Tensor, "..."] | None = None,
    *,
    targets: Shaped[Tensor, "..."] | None = None,
    theta: Number = 1.0,
    budget: Number = 0.1,
    seed: int = 0,
    indices: Shaped[Tensor, "..."] | None = None,
    bounds: Bounds | None = (0.0, 1.0),
    chunk: int = 512,
) -> AttackResult:
    """Change the most salient pair of components, again and again, until the class changes.

    With a the gradient of the target's logit and b that of the sum of the others, the saliency of
    components p and q is -(a_p + a_q) (b_p + b_q), where the first sum is positive and the second
    negative (the other way round for a negative `theta`). The search over pairs is exact.

    - `images`: `(N, *shape)`, floating point, within `bounds`.
    - `labels`: `(N,)`, the classes to attack away from; by default the model's own predictions. An
      image that the model already puts in another class is returned as it is, a success.
    - `targets`: `(N,)`, the class to drive each image to: it goes on until it gets there, even
      past other classes. `success` still says that the prediction differs from the label; compare
      `predictions` with the targets. An image with its label for a target is returned as it is.
      By default the target is a random class other than the label, and any other class will do.
    - `theta`: in [-1, 1] and not 0, the change of both components at each iteration, as a share of
      the range that the bounds leave them. A component that reaches its bound is not chosen again.
    - `budget`: in (0, 1], the share of components that may change. As each iteration is allowed two
      new ones, there are at most budget * components / 2. An image not fooled by then, or without a
      salient pair, is a failure, and returned at its last point.
    - `seed` and `indices`: the random target of an image depends on the seed and the image's index,
      int64, by default its row, and on nothing else of the batch.
    - `bounds`: lower and upper bound of the pixels, numbers or tensors that broadcast to the batch;
      None is refused, as one component would then do.
    - `chunk`: most images in one call of the network.

    One forward and two backward calls an iteration. Zero or non-finite gradients and outputs make a
    failure of their own image only. Follows the images' device and dtype. Raises `InputError` for
    images, labels, targets, bounds, arguments or a model that it cannot work with.

    Source: Papernot, McDaniel, Jha, Fredrikson, Celik and Swami, The limitations of deep learning
    in adversarial settings, EuroS&P 2016, Algorithms 2 and 3, on logits; with random targets as in
    Modas, Moosavi-Dezfooli and Frossard, SparseFool, CVPR 2019.
    """
    if not 0 < abs(theta) <= 1:
        raise InputError(f"theta must be in [-1, 1] and not 0, got {theta}.")
    if not 0 < budget <= 1:
        raise InputError(f"budget must be in (0, 1], got {budget}.")
    trial = Trial(model, images, labels, bounds, chunk)
    keys = keys_of(indices, images)
    size = images[0].numel()
    # Rounded, or the budget 58 / 100 of 100 components would fall short of 58.
    iterations = int(round(budget * size, 6) // 2)
    if iterations == 0:
        raise InputError(f"a budget of {budget} of {size} components does not pay for one pair.")
    search = _Search(trial, targets, keys, theta, seed)
    active = trial.standing[search.targets[trial.standing] != trial.labels[trial.standing]]
    for _ in range(iterations):
        if len(active) == 0:
            break
        active = torch.cat([search.step(rows) for rows in chunks(active, chunk)])
    return trial.conclude()


class _Search:
    """The targets of a trial, and the steps towards them."""

    def __init__(
        self,
        trial: Trial,
        targets: Shaped[Tensor, "..."] | None,
        keys: Int[Tensor, " n"],
        theta: Number,
        seed: int,
    ) -> None:
        self.trial, self.theta, self.targeted = trial, theta, targets is not None
        classes = trial.classifier.classes
        if targets is not None:
            try:
                check_labels(targets, len(keys), classes)
            except InputError as error:
                raise InputError(f"targets: {error}") from None
            self.targets = targets.to(trial.labels)
        else:
            draws = rng.uniform(seed, "jsma/target", keys, (1,), torch.float64).squeeze(1)
            others = (draws * (classes - 1)).long()
            self.targets = others + (others >= trial.labels)

    def step(self, rows: Int[Tensor, " m"]) -> Int[Tensor, " rest"]:
        """Change a pair of each image at `rows` that is not there yet; return which had one."""
        trial, classifier = self.trial, self.trial.classifier
        inputs, logits = classifier.graph(trial.adversarial[rows], rows)
        staying = (~self._there(logits.detach(), rows)).nonzero().squeeze(1)
        if wasteful(len(rows), len(staying), backward_calls=2):
            rows, staying = rows[staying], torch.arange(len(staying), device=rows.device)
            if len(rows) == 0:
                return rows
            del inputs, logits
            inputs, logits = classifier.graph(trial.adversarial[rows], rows)
        toward = torch.zeros_like(logits).scatter_(1, self.targets[rows, None], 1.0)
        rise = classifier.pull_back(inputs, logits, toward, rows, keep_graph=True)
        fall = classifier.pull_back(inputs, logits, toward - 1, rows)
        rows = rows[staying]
        moved, found = self._moved(inputs.detach()[staying], rise[staying], fall[staying], rows)
        rows = rows[found]
        trial.adversarial[rows] = moved[found]
        trial.iterations[rows] += 1
        return rows

    def _there(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Say which images are where they should go, or have no finite output to go by."""
        margin = rounding(logits)
        if self.targeted:
            ahead = lead(logits, self.targets[rows])
            there = ahead < -margin
        else:
            ahead = lead(logits, self.trial.labels[rows])
            there = ahead > margin
        return there | (ahead == -torch.inf)

    def _moved(
        self, points: Tensor, rise: Tensor, fall: Tensor, rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the points with their best pair changed, and which of them have such a pair."""
        box = self.trial.box.at(rows)
        room = box.upper > points if self.theta > 0 else box.lower < points
        sign = math.copysign(1.0, self.theta)
        pairs, found = best_pairs(
            _scaled(sign * rise.flatten(1), room.flatten(1)),
            _scaled(sign * fall.flatten(1), room.flatten(1)),
        )
        chosen = torch.zeros_like(points, dtype=torch.bool).flatten(1)
        chosen.scatter_(1, pairs, True)
        moved = points + self.theta * (box.upper - box.lower)
        # What the rounding of all its steps leaves between a component and its bound is no room.
        eps = (1 + 1 / abs(self.theta)) * torch.finfo(points.dtype).eps
        grain = eps * torch.maximum(box.lower.abs(), box.upper.abs())
        moved = torch.where(moved >= box.upper - grain, box.upper, moved)
        moved = torch.where(moved <= box.lower + grain, box.lower, moved)
        return torch.where(chosen.reshape(points.shape), moved, points), found


def best_pairs(
    rises: Float[Tensor, "m n"], falls: Float[Tensor, "m n"]
) -> tuple[Int[Tensor, "m 2"], Bool[Tensor, " m"]]:
    """Return for each row the pair p, q that maximises (rise_p + rise_q) * (fall_p + fall_q).

    Both sums must be positive; the second result says where such a pair exists. Minus infinity
    stands for a component that may not be chosen. Exact without comparing all pairs: of a component
    that two others match in both respects, one is not its partner and can replace it at no loss.
    What is left after that, few components as a rule, is compared in blocks of bounded memory.
    """
    order = rises.argsort(dim=1, descending=True, stable=True)
    rises, falls = rises.gather(1, order), falls.gather(1, order)
    best = _before(falls.cummax(dim=1).values)
    second = _before(torch.minimum(falls, best).cummax(dim=1).values)
    kept = falls > second
    width = int(kept.sum(dim=1).amax())
    pairs = order.new_zeros(len(order), 2)
    top = torch.full_like(rises[:, 0], -1.0)
    if width < 2:
        return pairs, top >= 0
    rows, places = kept.nonzero(as_tuple=True)
    columns = kept.cumsum(dim=1)[rows, places] - 1
    table = order.new_zeros(len(order), width)
    table[rows, columns] = order[rows, places]
    rise, fall = (torch.full_like(rises[:, :width], -torch.inf) for _ in range(2))
    rise[rows, columns], fall[rows, columns] = rises[rows, places], falls[rows, places]
    everything = torch.arange(width, device=order.device)
    for block in everything.split(max(1, _PAIRS // (len(order) * width))):
        up, down = (values[:, block, None] + values[:, None] for values in (rise, fall))
        allowed = (up > 0) & (down > 0) & (block[:, None] != everything)
        highest, place = torch.where(allowed, up * down, -1.0).flatten(1).max(dim=1)
        pair = torch.stack([block[place // width], place % width], dim=1)
        better = highest > top
        pairs = torch.where(better[:, None], table.gather(1, pair), pairs)
        top = torch.where(better, highest, top)
    return pairs, top >= 0


def _before(running: Tensor) -> Tensor:
    """Shift running extrema by one, so that each entry tells of those before it alone."""
    return torch.cat([torch.full_like(running[:, :1], -torch.inf), running[:, :-1]], dim=1)


def _scaled(slopes: Tensor, room: Tensor) -> Tensor:
    """Scale slopes to at most one, so that no product is lost; minus infinity without room."""
    slopes = slopes.to(precise(slopes))
    usable = slopes.isfinite().all(dim=1, keepdim=True)
    peaks = slopes.where(room, 0.0).abs().amax(dim=1, keepdim=True)
    slopes = slopes / peaks.where(peaks > 0, 1.0)
    return torch.where(usable & room, slopes, -torch.inf)
