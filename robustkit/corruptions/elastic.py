"""Elastic transform: a random affine map of the whole image, then a smooth random warp."""

import torch
from jaxtyping import Float
from torch import Tensor

from robustkit.arguments import Number
from robustkit.corruptions.draws import Draws
from robustkit.corruptions.pixels import bilinear, pixel_grid
from robustkit.corruptions.smoothing import smooth
from robustkit.shapes import precise


def elastic_transform(
    images: Float[Tensor, "n c h w"], draws: Draws, alpha: Number, sigma: Number, affine: Number
) -> Float[Tensor, "n c h w"]:
    """Move three points by up to `affine` pixels, then every pixel by smoothed noise.

    - `images`: in [0, 1]; `draws`: uses the names "points" and "shifts"; `alpha`: displacement in
      pixels that the noise is multiplied by; `sigma`: width in pixels of the Gaussian that smooths
      it, cut at 3 sigmas; `affine`: largest move in pixels of each of the three points in x and y.

    The affine map sends the three points (the centre plus and minus a third of the shorter side)
    to their moved places and is read bilinearly, mirrored beyond the border without repeating the
    last pixel. The warp reads at x + alpha g * u with u uniform in [-1, 1], bilinearly again,
    mirrored with the last pixel repeated. OpenCV, which the published code calls, may round the
    affine coordinates to 1/32 of a pixel; here they are not rounded. Source: Simard, Steinkraus and
    Platt, ICDAR 2003; Hendrycks and Dietterich, ICLR 2019, released code.
    """
    if affine != 0:
        images = _affine(images, draws, affine)
    if alpha != 0:
        images = _warp(images, draws, alpha, sigma)
    return images


def _affine(images: Tensor, draws: Draws, reach: Number) -> Tensor:
    count, _, height, width = images.shape
    third = min(height, width) // 3
    middle = torch.tensor([width // 2, height // 2], dtype=torch.float64)
    points = middle + third * torch.tensor([[1, 1], [1, -1], [-1, -1]], dtype=torch.float64)
    points = points.to(images.device)
    moved = points + reach * (2 * draws.uniform("points", (3, 2)).double() - 1)
    before, after = (p[..., 1:, :] - p[..., :1, :] for p in (points, moved))
    # Rows of `before` and `after` are edges of the triangle: before = after @ inverse map.
    determinant = after[:, 0, 0] * after[:, 1, 1] - after[:, 0, 1] * after[:, 1, 0]
    adjugate = torch.stack(
        [after[:, 1, 1], -after[:, 0, 1], -after[:, 1, 0], after[:, 0, 0]], dim=1
    ).reshape(count, 2, 2)
    # Three points on a line have no inverse; as in OpenCV, the whole image then reads one point.
    scale = torch.where(determinant == 0, 0.0, 1 / determinant)
    matrix = scale[:, None, None] * (adjugate @ before)
    start = points[0] - (moved[:, :1] @ matrix)[:, 0]
    matrix, start = (part[:, None, None].to(precise(images)) for part in (matrix, start))
    y, x = pixel_grid(images, precise(images))
    return bilinear(
        images,
        x * matrix[..., 0, 1] + y * matrix[..., 1, 1] + start[..., 1],
        x * matrix[..., 0, 0] + y * matrix[..., 1, 0] + start[..., 0],
        "mirror",
    )


def _warp(images: Tensor, draws: Draws, alpha: Number, sigma: Number) -> Tensor:
    count, _, height, width = images.shape
    noise = draws.uniform("shifts", (2, height, width)).to(precise(images)).mul_(2).sub_(1)
    shifts = smooth(noise.flatten(0, 1), sigma, truncate=3, border="reflect") * alpha
    shifts = shifts.reshape(count, 2, height, width)
    y, x = pixel_grid(images, precise(images))
    return bilinear(images, y + shifts[:, 1], x + shifts[:, 0], "reflect")
