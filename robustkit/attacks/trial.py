"""A batch under a sparse attack: what each image became, and the checks such attacks share."""

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from robustkit.arguments import check_count
from robustkit.attacks.box import Bounds, Box, check_batch
from robustkit.attacks.classifier import Classifier
from robustkit.attacks.result import AttackResult, conclude
from robustkit.errors import InputError
from robustkit.shapes import chunks


class Trial:
    """The state of an attack on `(N, *shape)` images inside bounds, judged at the clean images.

    `standing` are the rows of the images that the model puts in their class, `labels`; the others
    need no attack, or have no finite output and stand none. `adversarial` and `iterations` are what
    the attack fills in. Raises `InputError` for images, labels, bounds or a model that cannot
    be attacked, and for `bounds=None`: without bounds one component would do.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Shaped[Tensor, "..."],
        labels: Shaped[Tensor, "..."] | None,
        bounds: Bounds | None,
        chunk: int,
    ) -> None:
        check_count("chunk", chunk, 1)
        self.images, self.chunk = images, chunk
        self.box = _bounded(images, bounds)
        self.classifier = Classifier(model, len(images), images.device, labels)
        self.adversarial = images.detach().clone()
        self.labels = torch.full_like(self.classifier.forwards, -1)
        if labels is not None:
            self.labels = labels.to(self.labels)
        self.predictions = torch.full_like(self.labels, -1)
        self.iterations = torch.zeros_like(self.labels)
        everything = torch.arange(len(images), device=images.device)
        self.standing = torch.cat([self._judge_clean(part) for part in chunks(everything, chunk)])

    def conclude(self) -> AttackResult:
        """Judge the attacked images at what they became; those without a finite output go home."""
        for part in chunks(self.standing, self.chunk):
            logits = self.classifier.logits(self.adversarial[part], part)
            finite = logits.isfinite().all(dim=1)
            self.predictions[part] = logits.argmax(dim=1).where(finite, self.predictions[part])
            astray = part[~finite]
            self.adversarial[astray] = self.images[astray]
        return conclude(
            self.classifier,
            self.images,
            self.adversarial,
            self.labels,
            self.predictions,
            self.iterations,
            self.box,
        )

    def _judge_clean(self, rows: Int[Tensor, " m"]) -> Int[Tensor, " standing"]:
        logits = self.classifier.logits(self.images[rows], rows)
        predictions = logits.argmax(dim=1).where(logits.isfinite().all(dim=1), -1)
        self.predictions[rows] = predictions
        if self.classifier.labels is None:
            self.labels[rows] = predictions
        return rows[(predictions == self.labels[rows]) & (predictions >= 0)]


def _bounded(images: Shaped[Tensor, "..."], bounds: Bounds | None) -> Box:
    box = check_batch(images, bounds)
    if box is None:
        raise InputError(
            "a sparse attack needs bounds: without them one component far enough away would fool "
            "the model. Pass the range of the pixels."
        )
    return box
