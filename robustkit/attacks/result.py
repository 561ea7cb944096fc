"""What an attack returns: adversarial images, whether they fool, and what they cost."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from robustkit.arguments import Number
from robustkit.attacks.box import Box
from robustkit.attacks.classifier import Classifier
from robustkit.errors import InputError, unknown

Budgets = Sequence[Number] | Shaped[np.ndarray, "..."] | Shaped[Tensor, "..."]

_ORDERS: dict[Number | str, float] = {1: 1.0, 2: 2.0, "inf": math.inf, math.inf: math.inf}


@dataclass(frozen=True, eq=False)
class AttackResult:
    """The outcome of an attack on `(N, *shape)` images; row i is about image i.

    - `images`: the clean images given to the attack, in the same memory.
    - `adversarial`: the perturbed images, within the bounds of the attack.
    - `labels`: the class attacked away from, int64; -1 where none was given and the model has no
      finite output for the clean image.
    - `predictions`: the class of the adversarial image, int64, from a forward pass at the returned
      tensor; -1 where the output is not finite.
    - `success`: whether that prediction differs from the label, for an image that is finite and
      within its bounds.
    - `iterations`: steps taken, int64; 0 where the clean image was misclassified already, and where
      no step could be taken, which is a failure.
    - `forwards`, `backwards`: passes through the network that the image took part in, int64.
    - `forward_calls`, `backward_calls`: batched calls of the network.
    """

    images: Float[Tensor, "n *shape"]
    adversarial: Float[Tensor, "n *shape"]
    labels: Int[Tensor, " n"]
    predictions: Int[Tensor, " n"]
    success: Bool[Tensor, " n"]
    iterations: Int[Tensor, " n"]
    forwards: Int[Tensor, " n"]
    backwards: Int[Tensor, " n"]
    forward_calls: int
    backward_calls: int

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    @property
    def perturbation(self) -> Float[Tensor, "n *shape"]:
        """The adversarial minus the clean images."""
        return self.adversarial - self.images

    @property
    def attacked(self) -> Bool[Tensor, " n"]:
        """Whether the model had the label right at the clean image, so that there was work."""
        return ~(self.success & (self.iterations == 0))

    @property
    def l1(self) -> Float[Tensor, " n"]:
        """The sum of absolute changes of each image."""
        return self._norm(1.0)

    @property
    def l2(self) -> Float[Tensor, " n"]:
        """The Euclidean norm of the change of each image."""
        return self._norm(2.0)

    @property
    def linf(self) -> Float[Tensor, " n"]:
        """The largest absolute change of each image."""
        return self._norm(math.inf)

    @property
    def components(self) -> Int[Tensor, " n"]:
        """How many entries of each image differ from the clean image at all, int64."""
        return self._of_each(lambda before, after: (before != after).flatten(1).sum(dim=1))

    @property
    def pixels(self) -> Int[Tensor, " n"]:
        """At how many locations of each image any channel differs at all, int64.

        Images `(N, C, H, W)` have H * W locations, and a location counts once however many of its
        channels differ. Batches of another rank have no channels: pixels are components.
        """
        if self.images.ndim != 4:
            return self.components
        return self._of_each(lambda before, after: (before != after).any(1).flatten(1).sum(dim=1))

    @property
    def pixel_share(self) -> Float[Tensor, " n"]:
        """The share of locations of each image that differ, in [0, 1], float64."""
        shape = self.images.shape
        return self.pixels.double() / math.prod(shape[2:] if len(shape) == 4 else shape[1:])

    def distance(
        self, norm: Number | str = 2, *, failures: Number = math.inf
    ) -> Float[Tensor, " n"]:
        """Return the size of each perturbation, and `failures` where none fools.

        `norm` is 1, 2 or "inf", or one of the counts "pixels" and "components", then as float64. A
        failed attack says that the distance is larger than it searched, so infinity keeps medians
        and quantiles over all images honest. Raises `InputError` for another norm.
        """
        if norm == "pixels":
            values = self.pixels.double()
        elif norm == "components":
            values = self.components.double()
        elif norm in _ORDERS:
            values = self._norm(_ORDERS[norm])
        else:
            raise unknown("norm", str(norm), ["1", "2", "inf", "pixels", "components"])
        return values.where(self.success, failures)

    def robust_counts(
        self, budgets: Budgets, unit: Number | str = "pixels"
    ) -> Int[Tensor, " budgets"]:
        """Count the images that are not fooled within each budget, int64, on the images' device.

        An image is fooled within a budget if the attack succeeded at a distance of at most the
        budget: images misclassified from the start, which attacks return as they are, within every
        budget, and failures within none.

        - `budgets`: numbers of at least 0 in any order, a sequence or a one-dimensional array or
          tensor. They are compared in the precision of the distances.
        - `unit`: of the budgets, "pixels", "components", 1, 2 or "inf", as in `distance`.

        `robustkit.stats.wilson(int(count), len(result))` gives the interval. Raises `InputError`
        for an unknown unit and for budgets that are empty, not one-dimensional, NaN or negative.
        """
        distances = self.distance(unit)
        limits = torch.as_tensor(budgets, dtype=torch.float64, device=distances.device)
        if limits.ndim != 1 or len(limits) == 0:
            raise InputError(
                f"budgets must be a non-empty list of numbers, got shape {tuple(limits.shape)}."
            )
        if not bool((limits >= 0).all()):
            raise InputError("budgets must be numbers of at least 0, got a negative one or NaN.")
        reached = distances[self.success, None] <= limits.to(distances.dtype)
        return len(self) - reached.sum(dim=0)

    def curve(self, budgets: Budgets, unit: Number | str = "pixels") -> Float[Tensor, " budgets"]:
        """Return the robust accuracy at each budget: the share of all images not fooled within it.

        Float64, and monotone: a larger budget never has a larger share. Arguments and errors are
        those of `robust_counts`, which has the counts behind the shares.

        Source: the security evaluation curve of Biggio and Roli, Wild patterns, Pattern
        Recognition 2018.
        """
        return self.robust_counts(budgets, unit).double() / len(self)

    def _norm(self, order: float) -> Tensor:
        dtype = torch.promote_types(self.images.dtype, torch.float32)
        return self._of_each(
            lambda before, after: torch.linalg.vector_norm(
                (after - before).flatten(1), order, dim=1, dtype=dtype
            )
        )

    def _of_each(self, measure: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        # A part of the batch at a time: the difference of all images may not fit beside them.
        parts = [
            measure(before, after)
            for before, after in zip(
                self.images.split(256), self.adversarial.split(256), strict=True
            )
        ]
        return torch.cat(parts)


def conclude(
    classifier: Classifier,
    images: Float[Tensor, "n *shape"],
    adversarial: Float[Tensor, "n *shape"],
    labels: Int[Tensor, " n"],
    predictions: Int[Tensor, " n"],
    iterations: Int[Tensor, " n"],
    box: Box | None,
) -> AttackResult:
    """Judge the returned images by the predictions made at them, and close the books."""
    success = (predictions != labels) & (predictions >= 0) & (labels >= 0)
    success &= adversarial.isfinite().flatten(1).all(dim=1)
    if box is not None:
        success &= box.contains(adversarial)
    return AttackResult(
        images=images.detach(),
        adversarial=adversarial,
        labels=labels,
        predictions=predictions,
        success=success,
        iterations=iterations,
        forwards=classifier.forwards,
        backwards=classifier.backwards,
        forward_calls=classifier.forward_calls,
        backward_calls=classifier.backward_calls,
    )
