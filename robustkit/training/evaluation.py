"""Accuracy on a dataset."""

from dataclasses import dataclass

from torch import nn

from robustkit.checks import check_labels
from robustkit.data import Dataset
from robustkit.prediction import labels_and_classes


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


def evaluate(model: nn.Module, dataset: Dataset, *, batch_size: int = 512) -> Accuracy:
    """Count the images of `dataset` that `model` labels correctly.

    Floating images may have any finite range, as in `train`. Raises `InputError` as `predict` does,
    and for labels that the model has no logit for.
    """
    found, classes = labels_and_classes(model, dataset.images, batch_size, unit_range=False)
    check_labels(dataset.labels, len(dataset), classes)
    return Accuracy(int((found == dataset.labels).sum()), len(dataset))
