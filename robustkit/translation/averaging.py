"""Peers that change what a network sees at test time: averages over crops, reflected borders."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from robustkit.arguments import check_count
from robustkit.checks import check_logits, check_model, run_model
from robustkit.data import as_float
from robustkit.errors import InputError
from robustkit.translation.levels import Size, check_batch, check_inside, pair
from robustkit.translation.resizing import resized


class CropAverage(nn.Module):
    """Classify an image by the mean of a model's probabilities for crops on a fixed grid.

    - `model`: any classifier in evaluation mode, of crops in [0, 1]; normalisation belongs to it.
    - `crop`: rows and columns of a crop, or one number for both, in pixels.
    - `count` or `stride`, one of the two. `count` crops an axis, one number or (rows, columns), are
      spread evenly from border to border, at `floor(i * (side - crop) / (count - 1) + 1/2)`; a
      count of 1 is the middle, rounded down. With `stride` a crop begins every so many pixels from
      the upper left corner on, as far as it fits.
    - `size`: what crops are resized to for the model (bilinear, antialiased), by default nothing.

    Images are `(N, C, H, W)`, uint8 or floating point in [0, 1], and take one pass of the model for
    each crop; one crop of every image is in memory at a time. The grid is fixed to the window: a
    shift by one pixel changes every crop, and makes the mean steadier without keeping it. Gradients
    pass.

    Raises `InputError` for sizes below 1, and unless one of `count` and `stride` is given. Our own
    baseline; averages over crops are as old as Krizhevsky et al., NeurIPS 2012, section 4.1.
    """

    def __init__(
        self,
        model: nn.Module,
        crop: Size,
        *,
        count: Size | None = None,
        stride: int | None = None,
        size: Size | None = None,
    ) -> None:
        super().__init__()
        if (count is None) == (stride is None):
            raise InputError("give either count, of crops an axis, or stride, in pixels.")
        self.model, self.crop, self.stride = model, pair("crop", crop), stride
        self.count = None if count is None else pair("count", count)
        if stride is not None:
            check_count("stride", stride, 1)
        self.size = None if size is None else pair("size", size)
        self.training = model.training

    def positions(self, height: int, width: int) -> tuple[list[int], list[int]]:
        """Return the first rows and the first columns of the crops of `height` x `width` images.

        Every row goes with every column. Raises `InputError` when a crop does not fit, or fewer
        crops fit than `count`.
        """
        check_inside((height, width), self.crop)
        free = height - self.crop[0], width - self.crop[1]
        if self.stride is not None:
            rows, columns = (list(range(0, last + 1, self.stride)) for last in free)
            return rows, columns
        assert self.count is not None
        rows, columns = (_spread(last, n) for last, n in zip(free, self.count, strict=True))
        return rows, columns

    def forward(self, images: Shaped[Tensor, "..."]) -> Float[Tensor, "n classes"]:
        """Return the logarithm of the mean probabilities: logits whose softmax is the mean.

        Raises `InputError` for other images, a model in training mode, or as `positions`.
        """
        check_model(self.model)
        check_batch(images)
        rows, columns = self.positions(images.shape[2], images.shape[3])
        total: Tensor | None = None
        for top in rows:
            for left in columns:
                crops = images[:, :, top : top + self.crop[0], left : left + self.crop[1]]
                logits = run_model(self.model, resized(as_float(crops), self.size))
                check_logits(logits, len(images))
                each = logits.log_softmax(dim=1)
                total = each if total is None else torch.logaddexp(total, each)
        assert total is not None
        return total - math.log(len(rows) * len(columns))

    def extra_repr(self) -> str:
        """Show the grid in `print(average)`."""
        return f"crop={self.crop}, count={self.count}, stride={self.stride}, size={self.size}"


class ReflectionPad(nn.Module):
    """Classify an image with its own reflection around it.

    - `model`: any classifier in evaluation mode, of images in [0, 1]; normalisation belongs to it.
    - `amount`: rows added above and below, and columns left and right, or one number for both, in
      pixels. The border row itself is not repeated.
    - `size`: what the padded image is resized to (bilinear, antialiased), by default nothing.

    The model sees an image of `H + 2 * amount` rows, so that a network which pads with zeros does
    so further from the content; it must take that size, or `size` sets one, which shrinks the
    content. Nothing else changes: a shift of the content still moves it over the network's grid,
    and its reflection with it. Gradients pass.

    Raises `InputError` for amounts that are negative or not whole. Our own baseline.
    """

    def __init__(self, model: nn.Module, amount: Size, *, size: Size | None = None) -> None:
        super().__init__()
        self.model, self.amount = model, pair("amount", amount, 0)
        self.size = None if size is None else pair("size", size)
        self.training = model.training

    def padded(self, images: Shaped[Tensor, "..."]) -> Float[Tensor, "n c h w"]:
        """Return what the model sees of images `(N, C, H, W)`, uint8 or floating in [0, 1].

        Raises `InputError` for other images, or smaller ones than `amount + 1`.
        """
        check_batch(images)
        rows, columns = self.amount
        if images.shape[2] <= rows or images.shape[3] <= columns:
            raise InputError(
                f"images of {images.shape[2]} x {images.shape[3]} cannot be reflected by {rows} "
                f"rows and {columns} columns; amount must be smaller than the side."
            )
        wide = F.pad(as_float(images), (columns, columns, rows, rows), mode="reflect")
        return resized(wide, self.size)

    def forward(self, images: Shaped[Tensor, "..."]) -> Float[Tensor, "n classes"]:
        """Return the model's logits for the padded images.

        Raises `InputError` for a model in training mode, and as `padded`.
        """
        check_model(self.model)
        return run_model(self.model, self.padded(images))

    def extra_repr(self) -> str:
        """Show the amount in `print(module)`."""
        return f"amount={self.amount}, size={self.size}"


def _spread(last: int, count: int) -> list[int]:
    """Return `count` different places from 0 to `last`, as even as whole numbers can be."""
    if count == 1:
        return [last // 2]
    if count > last + 1:
        raise InputError(f"{count} crops an axis were asked for, but only {last + 1} fit.")
    return [(2 * place * last + count - 1) // (2 * (count - 1)) for place in range(count)]
