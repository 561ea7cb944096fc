"""Margins: how far the decision boundary is inside a subspace, and data that move it.

`margins` measures, for images and subspaces of image space; `diagonal_blocks` and its siblings make
subspaces, `low_pass`, `flip` and theirs change the frequencies of images, and `linear_feature`,
`two_features` and `directional` draw data whose margins are known.
"""

from robustkit.margins.curvature import boundary_curvature, subspace_curvature
from robustkit.margins.dct import dct, dct_matrix, idct
from robustkit.margins.dykstra import project_ball_box
from robustkit.margins.energy import energy_percentile, energy_spectrum
from robustkit.margins.families import (
    block_grid,
    diagonal_blocks,
    fourier_rings,
    pca_subspaces,
    random_subspaces,
    span,
)
from robustkit.margins.filters import band, flip, high_pass, low_pass, remove_low
from robustkit.margins.fourier_map import (
    FourierMap,
    fold_frequencies,
    fourier_basis,
    fourier_error_map,
)
from robustkit.margins.margin import margins
from robustkit.margins.result import Margins, null_curve
from robustkit.margins.subspaces import Block, Fourier, Span, Subspace, Whole
from robustkit.margins.synthetic import Synthetic, directional, linear_feature, two_features

__all__ = [
    "Block",
    "Fourier",
    "FourierMap",
    "Margins",
    "Span",
    "Subspace",
    "Synthetic",
    "Whole",
    "band",
    "block_grid",
    "boundary_curvature",
    "dct",
    "dct_matrix",
    "diagonal_blocks",
    "directional",
    "energy_percentile",
    "energy_spectrum",
    "flip",
    "fold_frequencies",
    "fourier_basis",
    "fourier_error_map",
    "fourier_rings",
    "high_pass",
    "idct",
    "linear_feature",
    "low_pass",
    "margins",
    "null_curve",
    "pca_subspaces",
    "project_ball_box",
    "random_subspaces",
    "remove_low",
    "span",
    "subspace_curvature",
    "two_features",
]
