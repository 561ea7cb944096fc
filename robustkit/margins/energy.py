"""Where the energy of perturbations lies: their squared norm within each of many subspaces."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from robustkit.arguments import Number, check_count
from robustkit.checks import check_held, check_images
from robustkit.errors import InputError, unknown
from robustkit.margins.subspaces import Subspace
from robustkit.shapes import precise
from robustkit.stats import Interval, quantile_interval

_UNITS = ("energy", "share", "density")


@torch.inference_mode(False)
@torch.no_grad()
def energy_spectrum(
    perturbations: Shaped[Tensor, "..."],
    subspaces: Sequence[Subspace],
    *,
    unit: str = "energy",
    chunk: int = 512,
) -> Float[Tensor, "m n"]:
    """Return the energy of N perturbations in each of M subspaces, `(M, N)`, float64.

    - `perturbations`: `(N, *shape)`, floating point, any range.
    - `subspaces`: of images of that shape, for example `robustkit.margins.diagonal_blocks` or
      `block_grid`; the rows of the result are in their order. Over subspaces that tile image space
      the energies of a perturbation add up to its squared norm; over blocks that overlap they count
      twice what lies in two.
    - `unit`: "energy" is the squared norm of the projection; "share" divides it by the squared norm
      of the whole perturbation; "density" by the dimension of the subspace, so that white noise of
      variance s has the density s everywhere.
    - `chunk`: most perturbations projected at a time.

    Raises `InputError` for perturbations that `robustkit.checks` refuses or that do not fit, for no
    subspaces, an unknown unit, and for shares of a perturbation that is zero: it has none.

    Source: Ortiz-Jimenez et al., Hold me tight! Influence of discriminative features on deep
    network boundaries, NeurIPS 2020 (spectral energy of adversarial perturbations).
    """
    if unit not in _UNITS:
        raise unknown("unit", unit, _UNITS)
    check_count("chunk", chunk, 1)
    check_images(perturbations, unit_range=False)
    if not subspaces:
        raise InputError("there are no subspaces: pass at least one.")
    moves = perturbations.detach()
    if unit == "share" and not bool((moves != 0).flatten(1).any(dim=1).all()):
        raise InputError(
            "some perturbations are zero and have no shares; leave them out: "
            "perturbations[perturbations.flatten(1).any(dim=1)]."
        )
    parts = [_energies(part.to(precise(moves)), subspaces) for part in moves.split(chunk)]
    energies = torch.cat(parts, dim=1)
    if unit == "share":
        totals = [part.double().flatten(1).square().sum(dim=1) for part in moves.split(chunk)]
        return energies / torch.cat(totals)
    if unit == "density":
        dims = [subspace.dim for subspace in subspaces]
        return energies / energies.new_tensor(dims)[:, None]
    return energies


def energy_percentile(
    energies: Shaped[Tensor, "..."], percentile: Number = 95, *, level: float = 0.95
) -> list[Interval]:
    """Return a percentile over perturbations of the energy in each subspace, with its interval.

    `energies` is `(M, N)`, as from `energy_spectrum`; the list has M entries. The percentile p is
    the smallest of the N energies that at least p percent of them do not exceed, with no
    interpolation (but the 50th is the usual median), and its distribution-free interval is that of
    `robustkit.stats.quantile_interval`. Each subspace has its own order of the perturbations, so
    that percentiles of a tiling do not add up to one of the total. Raises `InputError` for another
    shape, NaN, and a percentile outside (0, 100).
    """
    if energies.ndim != 2:
        raise InputError(
            f"energies must have shape (M, N), subspaces by perturbations, got "
            f"{tuple(energies.shape)}."
        )
    if not 0 < percentile < 100:
        raise InputError(f"percentile must lie in (0, 100), got {percentile}.")
    check_held("energies", energies)
    rows = energies.detach().double().cpu().numpy()
    return [quantile_interval(row, percentile / 100, level=level) for row in rows]


def _energies(moves: Float[Tensor, "n *shape"], subspaces: Sequence[Subspace]) -> Tensor:
    rows = []
    for subspace in subspaces:
        norms = subspace.coefficient_norm(moves)
        if norms.shape != (len(moves),):
            raise InputError(
                f"the subspace {subspace.name!r} gave norms of shape {tuple(norms.shape)} for "
                f"{len(moves)} images; coefficient_norm must return one an image."
            )
        rows.append(norms.double().square())
    return torch.stack(rows)
