"""What a measurement of margins returns: a table of distances, subspaces by images."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robustkit.arguments import Number
from robustkit.errors import InputError
from robustkit.stats import Interval, bootstrap, quantile_interval

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False)
class Margins:
    """Distances to the decision boundary within M subspaces, for N images.

    - `subspaces`, `dims`: the names and dimensions of the subspaces; `size` that of image space.
    - `distances`: `(M, N)`, the Euclidean norm of the smallest perturbation found in the subspace
      that changes the label; infinite where none was found (`success` False): censored, not
      missing. 0 where the given label was wrong from the start.
    - `success`: `(M, N)`, whether a point on the far side of the boundary was found.
    - `iterations`: `(M, N)`, steps of DeepFool taken, int64.
    - `targets`: `(M, N)`, the class on the far side, int64; -1 where there is none.
    - `labels`: `(N,)`, the class moved away from, int64.
    - `forwards`, `backwards`: `(N,)`, passes through the network that an image took part in, over
      all subspaces; `forward_calls`, `backward_calls`: batched calls of the network.
    - `perturbations`: `(M, N, *shape)` if they were asked for, zero where none was found.
    """

    subspaces: tuple[str, ...]
    dims: tuple[int, ...]
    size: int
    distances: Float[Tensor, "m n"]
    success: Bool[Tensor, "m n"]
    iterations: Int[Tensor, "m n"]
    targets: Int[Tensor, "m n"]
    labels: Int[Tensor, " n"]
    forwards: Int[Tensor, " n"]
    backwards: Int[Tensor, " n"]
    forward_calls: int
    backward_calls: int
    perturbations: Float[Tensor, "m n *shape"] | None = None

    def __len__(self) -> int:
        """Return the number of subspaces."""
        return len(self.subspaces)

    @property
    def found(self) -> Float[Tensor, " m"]:
        """The share of images with a finite margin, for each subspace."""
        return self.success.double().mean(dim=1)

    def quantile(self, probability: float = 0.5, *, level: float = 0.95) -> list[Interval]:
        """Return a quantile of the margins in each subspace with its distribution-free interval.

        Censored margins count as larger than any other; see `robustkit.stats.quantile_interval`.
        Raises `InputError` for a probability or level outside (0, 1).
        """
        return [quantile_interval(row, probability, level=level) for row in self._rows()]

    def medians(
        self, *, method: str = "order", level: float = 0.95, seed: int = 0
    ) -> list[Interval]:
        """Return the median margin in each subspace with its interval.

        `method` is "order" (distribution-free, from order statistics) or "bootstrap" (percentiles
        of resampled images, keyed by `seed`). Both know censored margins as infinite. Raises
        `InputError` for an unknown method.
        """
        if method == "order":
            return self.quantile(0.5, level=level)
        if method == "bootstrap":
            return [bootstrap(row, "median", level=level, seed=seed) for row in self._rows()]
        raise InputError(f'method must be "order" or "bootstrap", got {method!r}.')

    def null_curve(self, whole: Number) -> list[float]:
        """Return the margin that a random subspace of each dimension would have; see below.

        `whole` is the margin in all of image space. Source: `robustkit.margins.null_curve`.
        """
        return null_curve(whole, self.dims, self.size)

    def frame(self) -> "pandas.DataFrame":
        """Return one row a pair: subspace, dim, image, distance, success, iterations, target."""
        import pandas

        count = self.distances.shape[1]
        return pandas.DataFrame(
            {
                "subspace": np.repeat(self.subspaces, count),
                "dim": np.repeat(self.dims, count),
                "image": np.tile(np.arange(count), len(self)),
                "distance": self.distances.flatten().cpu().numpy(),
                "success": self.success.flatten().cpu().numpy(),
                "iterations": self.iterations.flatten().cpu().numpy(),
                "target": self.targets.flatten().cpu().numpy(),
            }
        )

    def _rows(self) -> list[np.ndarray]:
        return list(self.distances.double().cpu().numpy())


def null_curve(whole: Number, dims: tuple[int, ...] | list[int], size: int) -> list[float]:
    """Return whole * sqrt(size / dim): the margin if the boundary's normal preferred no direction.

    A uniformly random subspace of dimension S keeps on average the share S / D of the squared norm
    of a fixed normal in D dimensions, so that a flat boundary at distance `whole` is sqrt(D / S)
    times as far within it. Margins in a subspace are larger than in the whole space for this reason
    alone; only what deviates from the curve says something about the network. Raises `InputError`
    for a dimension outside [1, size] or a negative distance.
    """
    if not whole >= 0:
        raise InputError(f"whole must be a distance, at least 0, got {whole}.")
    if not all(1 <= dim <= size for dim in dims):
        raise InputError(f"dimensions must lie in [1, {size}], got {list(dims)}.")
    return [float(whole) * math.sqrt(size / dim) for dim in dims]
