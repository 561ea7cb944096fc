"""Patterns of C-bar that lie over an image: cut-out squares, lines, and waves."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from robustkit.corruptions.c_bar.geometry import GREY, angles, between, shorter_side
from robustkit.corruptions.draws import Draws
from robustkit.corruptions.pixels import pixel_grid
from robustkit.shapes import precise


def checkerboard_cutout(
    images: Float[Tensor, "n c h w"], draws: Draws, fraction: float
) -> Float[Tensor, "n c h w"]:
    """Paint some squares of one colour of a turned checkerboard grey.

    - `fraction`: probability with which a square of that colour is painted, in [0, 1].

    The squares are 0.1 to 0.25 of the shorter side wide, and the board turns by any angle about
    the first pixel. Other pixels stay as they are, bit for bit. Source: Mintun, Kirillov and Xie,
    NeurIPS 2021, published code.
    """
    rows, columns = pixel_grid(images, torch.float64)
    side = shorter_side(images)
    width = between(draws, "width", 0.1 * side, 0.25 * side, torch.float64).clamp_min(1)
    angle = angles(draws, "angle", torch.float64)
    cosine, sine = angle.cos() / width, angle.sin() / width
    down, across = cosine * rows + sine * columns, cosine * columns - sine * rows
    # The board reaches at most a diagonal of the narrowest squares to either side of pixel zero.
    reach = 2 * math.ceil(math.hypot(*images.shape[-2:]) / max(0.1 * side, 1.0)) + 2
    painted = draws.uniform("squares", (reach * reach,)) < fraction
    # As published, squares are looked up with the digits after the point cut off, which counts
    # the squares on both sides of zero as one.
    square = down.trunc().remainder(reach) * reach + across.trunc().remainder(reach)
    same = (down.floor() - across.floor()).remainder(2) == 0
    cut = same & painted.gather(1, square.flatten(1).long()).reshape(same.shape)
    return torch.where(cut[:, None], GREY, images)


def lines(
    images: Float[Tensor, "n c h w"], draws: Draws, density: float
) -> Float[Tensor, "n c h w"]:
    """Draw long smooth grey lines, one pixel wide, around a common direction.

    - `density`: lines per pixel of the shorter side; their number is rounded down.

    A line passes through a uniform place and extends by one shorter side to either way. The angles
    of an image lie within a range of 0.1 to 1 turn. A pixel is grey by one minus its distance from
    the line in pixels, as in Zingl, A rasterizing algorithm for drawing curves, 2012. Source:
    Mintun, Kirillov and Xie, NeurIPS 2021, published code, which truncates to 8 bits at each line.
    """
    dtype = precise(images)
    rows, columns = pixel_grid(images, dtype)
    (height, width), side = images.shape[-2:], shorter_side(images)
    count = int(density * side)
    direction = draws.uniform("direction", ()).double()[:, None]
    spread = 0.1 + 0.9 * draws.uniform("spread", ()).double()[:, None]
    place = draws.uniform("lines", (3, count)).double()
    angle = 2 * math.pi * (direction + spread * (place[:, 2] - 0.5))
    row, column = height * place[:, 0], width * place[:, 1]
    down, across = side * angle.cos(), side * angle.sin()
    ends = torch.stack([row - down, row + down, column - across, column + across], dim=-1)
    untouched = torch.ones_like(rows * columns).expand(len(images), -1, -1)
    for line in ends.trunc().to(dtype).unbind(1):
        untouched = untouched * (1 - _coverage(line, rows, columns))
    return (images + (GREY - images) * (1 - untouched[:, None])).to(images.dtype)


def single_frequency_greyscale(
    images: Float[Tensor, "n c h w"], draws: Draws, scale: float
) -> Float[Tensor, "n c h w"]:
    """Add one sine wave of a random frequency and direction, the same to all channels.

    - `scale`: amplitude of the wave. Neither frequency exceeds half a cycle a pixel.

    Source: Mintun, Kirillov and Xie, NeurIPS 2021, published code.
    """
    dtype = precise(images)
    rows, columns = pixel_grid(images, torch.float64)
    larger = between(draws, "larger", -math.pi, math.pi, torch.float64)
    smaller = larger * between(draws, "smaller", -1.0, 1.0, torch.float64)
    downwards = between(draws, "order", 0.0, 1.0, torch.float64) < 0.5
    row_phase = torch.where(downwards, larger, smaller) * rows + angles(
        draws, "phase", torch.float64
    )
    column_phase = torch.where(downwards, smaller, larger) * columns
    # The sine of a sum, so that only rows and columns need a sine and not every pixel.
    wave = row_phase.sin().to(dtype) * column_phase.cos().to(dtype)
    wave = wave + row_phase.cos().to(dtype) * column_phase.sin().to(dtype)
    return (images + scale * wave[:, None]).to(images.dtype)


def cocentric_sine_waves(
    images: Float[Tensor, "n c h w"], draws: Draws, scale: float
) -> Float[Tensor, "n c h w"]:
    """Add rings around a random place that sway like a sine with the angle, to all channels.

    - `scale`: the height of a ring, which rises from -scale / 2 to scale / 2 and drops.

    Width of a ring and depth of the sway are each below a tenth of the shorter side. Source:
    Mintun, Kirillov and Xie, NeurIPS 2021, published code.
    """
    rows, columns = pixel_grid(images, torch.float64)
    side = shorter_side(images)
    rows = rows - between(draws, "row", 0, images.shape[-2], torch.float64)
    columns = columns - between(draws, "column", 0, images.shape[-1], torch.float64)
    frequency = between(draws, "frequency", 0, 10, torch.float64)
    depth = between(draws, "depth", 0, side / 10, torch.float64)
    ring = between(draws, "ring", 0, side / 10, torch.float64).clamp_min(2.0**-24)
    # float64, because narrow rings magnify the rounding of the distance.
    sway = depth * (frequency * torch.atan2(columns, rows)).sin()
    turns = (torch.hypot(rows, columns) + sway) / ring
    height = (turns - turns.floor() - 0.5).to(precise(images))
    return (images + scale * height[:, None]).to(images.dtype)


def _coverage(ends: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return by how much a line `(N, 4)`: two rows, two columns, covers each pixel `(N, H, W)`."""
    first, last, left, right = ends[:, :, None, None].unbind(1)
    down, across = last - first, right - left
    length = torch.hypot(down, across).clamp_min(1)
    distance = (across * (rows - first) - down * (columns - left)).abs() / length
    beside = (rows - (first + last) / 2).abs() <= down.abs() / 2
    beside = beside & ((columns - (left + right) / 2).abs() <= across.abs() / 2)
    return (1 - distance).clamp_min(0) * beside
