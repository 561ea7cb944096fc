"""Consistency: how often a model gives an image and its randomly shifted copy one label."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor, nn

from robustkit.arguments import Number, check_count, keys_of
from robustkit.errors import InputError
from robustkit.prediction import predict
from robustkit.rng import uniform
from robustkit.stats import Interval, bootstrap, wilson
from robustkit.translation.labels import shifted_labels, suited_batch
from robustkit.translation.levels import Size, check_batch, pair
from robustkit.translation.resampling import SubpixelShift
from robustkit.translation.shifts import CropShift, check_neighbours, neighbourhood
from robustkit.translation.windows import ShiftModel, middle_of


@dataclass(frozen=True, eq=False)
class Consistency:
    """Labels of pairs of views: row i has the pairs of image i.

    - `first`, `second`: `(N, K)`, the labels of both views of each pair, int64.
    """

    first: Int[Tensor, "n k"]
    second: Int[Tensor, "n k"]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.first)

    @property
    def agree(self) -> Bool[Tensor, "n k"]:
        """Whether both views of a pair have one label."""
        return self.first == self.second

    def rate(self, *, level: float = 0.95, seed: int = 0) -> Interval:
        """Return the share of pairs that agree with its interval.

        With one pair an image it is Wilson's interval; with more, which are not independent, the
        images are resampled, keyed by `seed`, and the interval has no width where all shares are
        equal. Raises `InputError` for a level outside (0, 1).
        """
        agree = self.agree
        if agree.shape[1] == 1:
            return wilson(int(agree.sum()), len(agree), level=level)
        return bootstrap(agree.double().mean(dim=1).cpu().numpy(), level=level, seed=seed)


def consistency(
    model: nn.Module,
    images: Shaped[Tensor, "..."],
    shift_model: ShiftModel,
    radius: Number = 1,
    *,
    count: int = 10,
    neighbours: int = 8,
    seed: int = 0,
    indices: Shaped[Tensor, "..."] | None = None,
    batch_size: int | None = None,
) -> Consistency:
    """Compare the label of each image with those after random shifts.

    - `model`: any classifier in evaluation mode; normalisation belongs to it.
    - `images`: the sources `(N, C, H, W)`, uint8 or floating point in [0, 1].
    - `shift_model`: what a shift does, `CropShift(224)` for one, but no `Zoom`, whose few changes
      `adversary` measures all.
    - `radius`, `neighbours`: shifts are drawn evenly from `neighbourhood(radius, ...)`, so that the
      rate estimates the mean over all of it; of a `SubpixelShift`, whose radius need not be whole,
      rows and columns are uniform in `-radius` to `radius`, and neighbours stay 8.
    - `count`: of shifts an image, drawn independently.
    - `seed` and `indices`: shifts are keyed by the seed and the image's index, int64, by default
      its row: they are the same in any batches, order or shards.
    - `batch_size`: the most shifted images at once; None for what suits the device.

    Raises `InputError` for arguments that do not fit, and shifts out of the images. Source: Shifman
    and Weiss, Lost in translation, ECCV 2024, for the idea; what shifts are drawn from is our
    choice.
    """
    check_batch(images)
    _check_radius(radius)
    check_neighbours(neighbours)
    largest = shift_model.largest(images)
    if largest is not None and len(largest) != 2:
        raise InputError("random shifts have rows and columns; use adversary for zooms.")
    if largest is not None and radius > min(largest):
        raise InputError(
            f"a radius of {radius} pixels leaves the images, which allow {min(largest)}; take a "
            "smaller radius, a smaller window or larger images."
        )
    keys = keys_of(indices, images)
    if isinstance(shift_model, SubpixelShift):
        if neighbours != 8:
            raise InputError(
                f"shifts by parts of a pixel are drawn from a square: neighbours={neighbours} is "
                "for shifts by whole pixels."
            )
        shifts = random_real_shifts(keys, count, radius, seed=seed)
    else:
        shifts = random_shifts(keys, count, radius, neighbours=neighbours, seed=seed)
    batch_size = suited_batch(model, images, batch_size)
    after = shifted_labels(model, images, shift_model, shifts, batch_size=batch_size)
    base = predict(model, shift_model.base(images), batch_size=batch_size)
    return Consistency(base[:, None].expand_as(after), after)


def two_crops(
    model: nn.Module,
    images: Shaped[Tensor, "..."],
    size: Size,
    *,
    count: int = 1,
    seed: int = 0,
    indices: Shaped[Tensor, "..."] | None = None,
    batch_size: int | None = None,
) -> Consistency:
    """Compare the labels of two random windows of each image: the classic protocol.

    - `model`: any classifier in evaluation mode; normalisation belongs to it.
    - `images`: the sources `(N, C, H, W)`, uint8 or floating point in [0, 1].
    - `size`: of the windows, rows and columns or one number for both, in pixels.
    - `count`: of pairs an image.
    - `seed`, `indices`, `batch_size`: as in `consistency`.

    Both windows are anywhere in the image with equal probability, independently. Raises
    `InputError` for arguments that do not fit. Source: Zhang, Making convolutional networks
    shift-invariant again, ICML 2019, whose released code never draws the last row and column.
    """
    check_count("count", count, 1)
    check_batch(images)
    window = pair("size", size)
    middle = middle_of(images, window)
    keys = keys_of(indices, images)
    drawn = uniform(seed, "translation/crops", keys, (2 * count, 2), torch.float64)
    last = keys.new_tensor([images.shape[2 + axis] - window[axis] for axis in (0, 1)])
    positions = torch.minimum((drawn * (last + 1)).long(), last)
    shifts = positions - keys.new_tensor(middle)
    labels = shifted_labels(model, images, CropShift(size), shifts, batch_size=batch_size)
    return Consistency(labels[:, :count], labels[:, count:])


def random_shifts(
    indices: Int[Tensor, " n"], count: int, radius: Number, *, neighbours: int = 8, seed: int = 0
) -> Int[Tensor, "n count 2"]:
    """Draw `count` shifts of whole pixels for each image, int64, evenly from a neighbourhood.

    - `indices`: what the shifts of an image are keyed by, with the `seed`, int64.
    - `radius`, `neighbours`: of `neighbourhood`, at least 1.

    Raises `InputError` for other numbers.
    """
    check_count("count", count, 1)
    _check_radius(radius)
    if int(radius) != radius:
        raise InputError(f"radius must be whole pixels, got {radius}; or use SubpixelShift.")
    known = neighbourhood(int(radius), neighbours=neighbours).to(indices.device)
    drawn = uniform(seed, "translation/shifts", indices, (count,), torch.float64)
    return known[(drawn * len(known)).long().clamp_(max=len(known) - 1)]


def random_real_shifts(
    indices: Int[Tensor, " n"], count: int, radius: Number, *, seed: int = 0
) -> Shaped[Tensor, "n count 2"]:
    """Draw `count` real shifts for each image, float64, uniform in `-radius` to `radius`.

    `indices` and `seed` are those of `random_shifts`. Raises `InputError` for a radius that is not
    positive.
    """
    check_count("count", count, 1)
    _check_radius(radius)
    drawn = uniform(seed, "translation/real shifts", indices, (count, 2), torch.float64)
    return (2 * drawn - 1) * radius


def _check_radius(radius: Number) -> None:
    if not 0 < radius < float("inf"):
        raise InputError(f"radius must be positive and finite, got {radius}.")
