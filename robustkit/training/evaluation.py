"""Predicted labels and accuracy, batch by batch."""

from dataclasses import dataclass

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from robustkit.checks import check_images, check_labels, check_logits, check_model
from robustkit.data import Dataset, as_float
from robustkit.errors import InputError


@dataclass(frozen=True)
class Accuracy:
    """How many of `count` images a model labels correctly.

    `robustkit.stats.wilson(accuracy.correct, accuracy.count)` gives the interval.
    """

    correct: int
    count: int

    @property
    def rate(self) -> float:
        """The fraction of correct labels, in [0, 1]."""
        return self.correct / self.count

    def __str__(self) -> str:
        return f"{self.correct} of {self.count} ({100 * self.rate:.2f}%)"


def predict(
    model: nn.Module,
    images: Shaped[Tensor, "..."],
    *,
    batch_size: int = 512,
    unit_range: bool = True,
) -> Int[Tensor, " n"]:
    """Return the labels `(N,)` that `model` gives to images `(N, *shape)`, on their device.

    Images are uint8 in 0 to 255 or floating point in [0, 1], with `unit_range=False` of any finite
    range; each batch goes to the device of the model. Raises `InputError` for other images, a model
    in training mode, or NaN logits.
    """
    return _logits_labels(model, images, batch_size, unit_range)[0]


def evaluate(model: nn.Module, dataset: Dataset, *, batch_size: int = 512) -> Accuracy:
    """Count the images of `dataset` that `model` labels correctly.

    Floating images may have any finite range, as in `train`. Raises `InputError` as `predict` does,
    and for labels that the model has no logit for.
    """
    found, classes = _logits_labels(model, dataset.images, batch_size, unit_range=False)
    check_labels(dataset.labels, len(dataset), classes)
    return Accuracy(int((found == dataset.labels).sum()), len(dataset))


@torch.no_grad()
def _logits_labels(
    model: nn.Module, images: Shaped[Tensor, "..."], batch_size: int, unit_range: bool
) -> tuple[Int[Tensor, " n"], int]:
    check_model(model)
    if images.dtype != torch.uint8 or images.ndim < 2 or len(images) == 0:
        check_images(images, unit_range=unit_range)
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}.")
    device = next((parameter.device for parameter in model.parameters()), images.device)
    labels, not_a_number, classes = [], torch.zeros((), dtype=torch.bool, device=device), 0
    for batch in images.split(batch_size):
        batch = batch.to(device)
        logits = model(as_float(batch))
        check_logits(logits, len(batch))
        not_a_number |= logits.isnan().any()
        classes = logits.shape[1]
        labels.append(logits.argmax(dim=1))
    if not_a_number:
        raise InputError("the model returns NaN; check its weights and the range of its input.")
    return torch.cat(labels).to(images.device), classes
