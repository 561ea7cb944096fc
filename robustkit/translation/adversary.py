"""The exhaustive adversary: all shifts of a neighbourhood, with every convention of robustness."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from numpy.typing import NDArray
from torch import Tensor, nn

from robustkit.arguments import Number, check_count
from robustkit.checks import check_labels
from robustkit.errors import InputError
from robustkit.prediction import labels_and_classes
from robustkit.stats import Interval, bootstrap, wilson
from robustkit.translation.distinct import distinct_labels, selected_content
from robustkit.translation.labels import check_shiftable, shifted_labels, suited_batch
from robustkit.translation.resampling import Zoom
from robustkit.translation.shifts import check_neighbours, neighbourhood
from robustkit.translation.windows import ShiftModel


@dataclass(frozen=True, eq=False)
class Adversary:
    """What all shifts do to the labels of N images; row i is about image i.

    Intervals of `consistency`, `stability` and `change_rate` resample the images, and have no width
    where all images have equal shares.

    - `shifts`: the K shifts, `(K, 2)`, or `(K,)` of a zoom.
    - `base`: `(N,)`, the labels without a shift, int64; `correct`: whether they are right.
    - `labels`: `(N, K)`, the labels after each shift, int64.
    - `changed`: `(N, K)`, whether the model selects a crop of other content than without a shift;
      None for a model that selects no crops.
    - `calls`: `(N,)`, how many images the model labelled for this one, the base included, int64.
    """

    shifts: Shaped[Tensor, "k *axes"]
    base: Int[Tensor, " n"]
    correct: Bool[Tensor, " n"]
    labels: Int[Tensor, "n k"]
    changed: Bool[Tensor, "n k"] | None
    calls: Int[Tensor, " n"]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.base)

    @property
    def flips(self) -> Bool[Tensor, "n k"]:
        """Whether each shift changes the label, right or wrong."""
        return self.labels != self.base[:, None]

    @property
    def fooled(self) -> Bool[Tensor, " n"]:
        """Whether some shift changes the label, right or wrong."""
        return self.flips.any(dim=1)

    @property
    def robust(self) -> Bool[Tensor, " n"]:
        """Whether the label is right without a shift and after all."""
        return self.correct & ~self.fooled

    @property
    def stable(self) -> Float[Tensor, " n"]:
        """The share of shifts with the label of the base, which is right; 0 where it is wrong."""
        return self.consistent * self.correct

    @property
    def consistent(self) -> Float[Tensor, " n"]:
        """The share of shifts with the label of the base, right or wrong, float64."""
        return 1 - self.flips.double().mean(dim=1)

    @property
    def worst(self) -> Shaped[Tensor, "n *axes"]:
        """The first of the shifts that changes the label, in their order; zeros where none does."""
        first = self.shifts.to(self.base.device)[self.flips.int().argmax(dim=1)]
        return first * self.fooled.reshape(-1, *[1] * (first.ndim - 1))

    def accuracy(self, *, level: float = 0.95) -> Interval:
        """Return the share of images whose label is right without a shift, with its interval."""
        return _share(self.correct, level)

    def fooled_rate(self, *, level: float = 0.95) -> Interval:
        """Return the share of images whose label some shift changes, with its interval."""
        return _share(self.fooled, level)

    def robust_accuracy(self, *, level: float = 0.95) -> Interval:
        """Return the share of images that are right without a shift and after all of them."""
        return _share(self.robust, level)

    def consistency(self, *, level: float = 0.95, seed: int = 0) -> Interval:
        """Return the share of images and shifts with the label of the base, right or wrong.

        The interval resamples the images, keyed by `seed`.
        """
        return _mean(self.consistent, level, seed)

    def stability(self, *, level: float = 0.95, seed: int = 0) -> Interval:
        """Return the share of images and shifts with the label of the base, and that right.

        The interval resamples the images, keyed by `seed`.
        """
        return _mean(self.stable, level, seed)

    def change_rate(self, *, level: float = 0.95, seed: int = 0) -> Interval:
        """Return the share of images and shifts where another crop is selected.

        The interval resamples the images, keyed by `seed`. Raises `InputError` for a model that
        selects no crops.
        """
        return _mean(self._changed().double().mean(dim=1), level, seed)

    def flips_of_changes(self, *, level: float = 0.95, seed: int = 0) -> Interval:
        """Return the share of images and shifts with another label, of those with another crop.

        With `change_rate` it makes up the inconsistency: one minus `consistency` is their product.
        The interval resamples the images, keyed by `seed`; a sample without another crop counts 0.
        Raises `InputError` for a model that selects no crops, and where it never selects another.
        """
        flips, changes = (found.sum(dim=1).cpu().numpy() for found in (self.flips, self._changed()))
        if changes.sum() == 0:
            raise InputError("no shift changes the selected crop: there is no share to tell.")

        def ratio(rows: NDArray[np.float64]) -> NDArray[np.float64]:
            picked = rows.astype(np.int64)
            share: NDArray[np.float64] = flips[picked].sum(1) / changes[picked].sum(1).clip(min=1)
            return share

        return bootstrap(np.arange(len(self)), ratio, level=level, seed=seed)

    def within(self, radius: Number, *, neighbours: int = 8) -> "Adversary":
        """Return what the shifts of a smaller neighbourhood do; `calls` stay as they are.

        - `radius`: the largest shift, or change of a zoom, in pixels.
        - `neighbours`: 8, a shift is as large as the larger of its rows and columns, or 4, as large
          as their sum; as of `neighbourhood`.

        Raises `InputError` where there is no such shift, and for other neighbours.
        """
        check_neighbours(neighbours)
        sizes = self.shifts.abs()
        if sizes.ndim > 1:
            sizes = sizes.amax(dim=1) if neighbours == 8 else sizes.sum(dim=1)
        (places,) = (sizes <= radius).nonzero(as_tuple=True)
        if len(places) == 0:
            raise InputError(f"no shift is within a radius of {radius}.")
        columns = places.to(self.labels.device)
        changed = None if self.changed is None else self.changed[:, columns]
        return dataclasses.replace(
            self, shifts=self.shifts[places], labels=self.labels[:, columns], changed=changed
        )

    def _changed(self) -> Tensor:
        if self.changed is None:
            raise InputError("the model selects no crops, or it is not known which.")
        return self.changed


def adversary(
    model: nn.Module,
    images: Shaped[Tensor, "..."],
    labels: Shaped[Tensor, "..."] | None,
    shift_model: ShiftModel,
    radius: int = 1,
    *,
    neighbours: int = 8,
    shifts: Shaped[Tensor, "..."] | None = None,
    memoise: bool = True,
    batch_size: int | None = None,
) -> Adversary:
    """Label every image without a shift and after all shifts of a neighbourhood.

    - `model`: any classifier in evaluation mode; normalisation belongs to it.
    - `images`: the sources `(N, C, H, W)`, uint8 or floating point in [0, 1].
    - `labels`: `(N,)`, the right classes, int64; None takes the labels of the base for right.
    - `shift_model`: what a shift does, `CropShift(224)` for one.
    - `radius`, `neighbours`: of `neighbourhood`; or `shifts`, `(K, 2)`, the same for all images, as
      the shift model takes them (a `Zoom` needs its changes here).
    - `memoise`: after shifts by whole pixels, label an image once if the model, a `RICS`, selects
      the same pixels: a few passes instead of all. The labels are the same, as far as the model
      gives a crop one label in any batch.
    - `batch_size`: the most shifted images at once; None for what suits the device.

    Raises `InputError` for arguments that do not fit, and shifts out of the images. Source: Shifman
    and Weiss, Lost in translation, ECCV 2024, for the idea.
    """
    if shifts is None and isinstance(shift_model, Zoom):
        raise InputError("a zoom has no neighbourhood: pass its changes, int64 (K,), as shifts=...")
    if shifts is None:
        shifts = neighbourhood(radius, neighbours=neighbours)
    if shifts.ndim > 2:
        raise InputError("shifts must be the same for all images here, (K, 2) or (K,) of a zoom.")
    check_shiftable(images, shift_model, shifts)
    batch_size = suited_batch(model, images, batch_size)
    check_count("batch_size", batch_size, 1)
    base, classes = labels_and_classes(model, shift_model.base(images), batch_size, True)
    if labels is not None:
        check_labels(labels, len(images), classes)
    correct = base == (base if labels is None else labels.to(base.device))
    contents = None
    if memoise:
        contents = selected_content(model, images, shift_model, shifts, batch_size=batch_size)
    if contents is None:
        after = shifted_labels(model, images, shift_model, shifts, batch_size=batch_size)
        changed, calls = None, torch.full_like(base, 1 + after.shape[1])
    else:
        after, calls = distinct_labels(
            model, images, shift_model, shifts, contents, base, batch_size=batch_size
        )
        changed = contents[:, 1:] != contents[:, :1]
    return Adversary(shifts, base, correct, after, changed, calls)


def _share(found: Tensor, level: float) -> Interval:
    return wilson(int(found.sum()), len(found), level=level)


def _mean(values: Tensor, level: float, seed: int) -> Interval:
    return bootstrap(values.cpu().numpy(), level=level, seed=seed)
