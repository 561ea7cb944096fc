"""What an attack returns: adversarial images, whether they fool, and what they cost."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robustkit.attacks.arguments import Number, parse_norm
from robustkit.attacks.box import Box
from robustkit.attacks.classifier import Classifier

_ORDERS: dict[Number | str, float] = {1: 1.0, 2: 2.0, "inf": math.inf}


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

    def distance(
        self, norm: Number | str = 2, *, failures: Number = math.inf
    ) -> Float[Tensor, " n"]:
        """Return the norm (1, 2 or "inf") of each perturbation, and `failures` where none fools.

        A failed attack says that the distance is larger than it searched, so infinity keeps
        medians and quantiles over all images honest. Raises `InputError` for another norm.
        """
        values = self._norm(_ORDERS[parse_norm(norm, (1, 2, "inf"))])
        return values.where(self.success, failures)

    def _norm(self, order: float) -> Tensor:
        dtype = torch.promote_types(self.images.dtype, torch.float32)
        # A part of the batch at a time: the difference of all images may not fit beside them.
        parts = [
            torch.linalg.vector_norm((after - before).flatten(1), order, dim=1, dtype=dtype)
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
