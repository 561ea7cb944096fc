"""Synthetic data whose features, and with them the margins a classifier may have, are known."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from robustkit import rng
from robustkit.arguments import Number
from robustkit.checks import check_held
from robustkit.data import Dataset
from robustkit.errors import InputError

_CLASSES = ("-1", "+1")


@dataclass(frozen=True, eq=False)
class Synthetic:
    """Labelled points in a rotated coordinate system.

    - `points`: `(N, D)`, floating point of any range.
    - `labels`: `(N,)` int64, 0 and 1 in turn; they stand for the signs y = -1 and y = +1.
    - `basis`: `(D, D)`, orthogonal. Its columns are the directions u1, u2 and so on: first those
      that carry features, then those of pure noise. `points @ basis` are the coordinates.
    - `margins`: for each direction with a feature, the largest distance that a classifier of that
      coordinate alone keeps from the points of both classes, however many are drawn; 0 where the
      coordinate is the same for both.
    - `seed`: what the rotation, and with the split the points, were drawn from.
    """

    points: Float[Tensor, "n size"]
    labels: Int[Tensor, " n"]
    basis: Float[Tensor, "size size"]
    margins: tuple[float, ...]
    seed: int

    def __len__(self) -> int:
        return len(self.points)

    def dataset(self, name: str, split: str) -> Dataset:
        """Return the points as a dataset of floating vectors, to train and evaluate on."""
        return Dataset(name, split, self.points, self.labels, _CLASSES)


def linear_feature(
    count: int,
    *,
    size: int = 100,
    epsilon: Number = 5.0,
    sigma: Number = 1.0,
    seed: int = 0,
    split: str = "train",
    dtype: torch.dtype = torch.float32,
) -> Synthetic:
    """Draw points with one linear feature, T1: x = U (epsilon y, n), n normal of size D - 1.

    The classes are 2 epsilon apart along u1, so that the margin of the best linear classifier there
    is `epsilon`; the other coordinates are noise of standard deviation `sigma`.

    - `count`, `size`: the number of points N >= 1 and of their coordinates D >= 2.
    - `epsilon`, `sigma`: finite and at least 0.
    - `seed`, `split`: the rotation U follows from the seed, the points from both: two splits of one
      seed share the rotation. Point i follows from its index alone, not from `count`.

    Raises `InputError` outside those ranges. Source: Ortiz-Jimenez et al., Hold me tight! Influence
    of discriminative features on deep network boundaries, NeurIPS 2020; the exact form and the
    default sizes are recalled and not verified against the paper.
    """
    _check(count, size, epsilon=epsilon, sigma=sigma)
    labels, keys = _labels(count)
    feature = (epsilon * _signs(labels))[:, None]
    noise = sigma * _noise(seed, f"linear feature/{split}", keys, size - 1)
    coordinates = torch.cat([feature, noise], dim=1)
    return _rotated(coordinates, labels, _rotation(seed, size), (float(epsilon),), seed, dtype)


def two_features(
    count: int,
    *,
    size: int = 100,
    epsilon: Number = 1.0,
    rho: Number = 10.0,
    levels: int = 3,
    sigma: Number = 1.0,
    seed: int = 0,
    split: str = "train",
    dtype: torch.dtype = torch.float32,
) -> Synthetic:
    """Draw points with a linear and a non-linear feature, T2: x = U (epsilon y, rho k, n).

    Along u1 the classes are 2 epsilon apart, and the margin is `epsilon`; with epsilon 0 there is
    no feature. Along u2 they alternate in slabs: k is uniform among the integers of -levels to
    levels that are even for label 0 and odd for label 1, so that the margin is rho / 2.

    - `count`, `size`: the number of points N >= 1 and of their coordinates D >= 3.
    - `epsilon`, `rho`, `sigma`: finite and at least 0; `levels`: at least 1.
    - `seed`, `split`: as in `linear_feature`.

    Raises `InputError` outside those ranges. Source: the second example of Ortiz-Jimenez et al.,
    Hold me tight!, NeurIPS 2020; its form and the defaults are recalled and not verified against
    the paper.
    """
    _check(count, size, epsilon=epsilon, rho=rho, sigma=sigma, least=3)
    if levels < 1:
        raise InputError(f"levels must be at least 1, got {levels}.")
    labels, keys = _labels(count)
    stream = f"two features/{split}"
    highest = torch.tensor([levels - levels % 2, levels - (levels + 1) % 2])[labels]
    draws = rng.uniform(seed, f"{stream}/slab", keys, (1,), torch.float64).squeeze(1)
    # From -highest to highest in steps of two there are highest + 1 integers.
    slabs = 2 * (draws * (highest + 1)).floor() - highest
    features = torch.stack([epsilon * _signs(labels), rho * slabs], dim=1)
    coordinates = torch.cat([features, sigma * _noise(seed, stream, keys, size - 2)], dim=1)
    margins = (float(epsilon), rho / 2)
    return _rotated(coordinates, labels, _rotation(seed, size), margins, seed, dtype)


def directional(
    count: int,
    direction: Shaped[Tensor, "..."],
    *,
    gap: Number = 1.0,
    sigma: Number = 3.0,
    seed: int = 0,
    split: str = "train",
    dtype: torch.dtype = torch.float32,
) -> Synthetic:
    """Draw points that differ along a given direction, D(v): x = y (gap / 2) v + sigma (I - vv') n.

    The classes are `gap` apart along v, not 2 gap: the margin is gap / 2. The other directions are
    noise of standard deviation `sigma`.

    - `count`: the number of points, at least 1.
    - `direction`: v, of any shape with D >= 2 components, finite and not zero; it is scaled to
      length 1. Points are flat: reshape them for a network that takes images.
    - `gap`, `sigma`: finite and at least 0; `seed`, `split`: as in `linear_feature`.

    Column 0 of the basis is v. Raises `InputError` outside those ranges. Source: Ortiz-Jimenez et
    al., Neural anisotropy directions, NeurIPS 2020, with the defaults of its authors' code.
    """
    check_held("direction", direction)
    vector = direction.detach().flatten().to("cpu", torch.float64)
    size = len(vector)
    _check(count, size, gap=gap, sigma=sigma)
    if not bool(vector.isfinite().all()) or not bool(vector.any()):
        raise InputError("direction must be finite and not zero.")
    labels, keys = _labels(count)
    noise = sigma * _noise(seed, f"directional/{split}", keys, size - 1)
    coordinates = torch.cat([(gap / 2 * _signs(labels))[:, None], noise], dim=1)
    basis = _rotation(seed, size, first=vector / vector.abs().max())
    return _rotated(coordinates, labels, basis, (gap / 2,), seed, dtype)


def _labels(count: int) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
    keys = torch.arange(count)
    return keys % 2, keys


def _signs(labels: Tensor) -> Tensor:
    return 2.0 * labels.double() - 1


def _noise(seed: int, stream: str, keys: Tensor, size: int) -> Tensor:
    return rng.normal(seed, f"synthetic/{stream}", keys, (size,), torch.float64)


def _rotation(seed: int, size: int, first: Tensor | None = None) -> Float[Tensor, "size size"]:
    """Return an orthogonal matrix, uniform among all or among those with the first column given."""
    columns = rng.normal(seed, "synthetic/rotation", torch.arange(size), (size,), torch.float64)
    if first is not None:
        columns[:, 0] = first
    orthogonal, triangular = torch.linalg.qr(columns)
    # The decomposition is free to choose signs; with a positive diagonal it is unique.
    rotation: Tensor = orthogonal * triangular.diagonal().sign()
    return rotation


def _rotated(
    coordinates: Tensor,
    labels: Tensor,
    basis: Tensor,
    margins: tuple[float, ...],
    seed: int,
    dtype: torch.dtype,
) -> Synthetic:
    if not dtype.is_floating_point:
        raise InputError(f"dtype must be floating point, got {dtype}.")
    points = coordinates @ basis.mT
    return Synthetic(points.to(dtype), labels, basis.to(dtype), margins, seed)


def _check(count: int, size: int, *, least: int = 2, **lengths: Number) -> None:
    if count < 1 or size < least:
        raise InputError(
            f"it takes at least 1 point of at least {least} coordinates, got {count} of {size}."
        )
    for name, length in lengths.items():
        if not 0 <= length < math.inf:
            raise InputError(f"{name} must be a finite number of at least 0, got {length}.")
