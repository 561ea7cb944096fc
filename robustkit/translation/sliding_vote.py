"""Majority votes over all crops of a window, certified against any content that a shift brings."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from robustkit.arguments import check_count
from robustkit.checks import check_held, check_logits, check_model, run_model
from robustkit.data import as_float
from robustkit.errors import InputError
from robustkit.translation.certificates import radii_of
from robustkit.translation.labels import device_of
from robustkit.translation.levels import Size, check_batch, check_fits, pair
from robustkit.translation.resizing import resized

# Counts in a part of the batch, so that the votes of many classes fit into memory.
_BLOCK = 2**24


@dataclass(frozen=True, eq=False)
class VoteCertificate:
    """What no shift of a window can do to the majority of its crops; row i is about image i.

    - `labels`: the majority, int64.
    - `radius`: the largest shift asked about, in steps of the label field (pixels at stride 1).
    - `certified`: whether no shift of at most `radius` rows and columns, with any new content,
      changes the majority.
    - `margins`: the votes to spare, int64: kept votes of the majority, minus those of the rival,
      minus all the new ones (and minus 1 if the rival would win a tie), at the worst of these
      shifts and rivals. Certified from 0 on.
    - `radii`: the largest certified radius, int64, whatever `radius` was.
    """

    labels: Int[Tensor, " n"]
    radius: int
    certified: Bool[Tensor, " n"]
    margins: Int[Tensor, " n"]
    radii: Int[Tensor, " n"]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)


def count_votes(fields: Int[Tensor, "n rows columns"], classes: int) -> Int[Tensor, "n classes"]:
    """Return how many crops of each image have each label, int64.

    - `fields`: the labels of the crops, int64 in [0, `classes`).

    Raises `InputError` for other labels.
    """
    _check_fields(fields, classes)
    votes = fields.new_zeros(len(fields), classes)
    return votes.scatter_add_(1, fields.flatten(1), torch.ones_like(fields).flatten(1))


def certify_votes(
    fields: Int[Tensor, "n rows columns"], classes: int, radius: int
) -> VoteCertificate:
    """Certify majorities of label fields against all shifts by at most `radius`.

    - `fields`: the labels of all crops of each window, int64 in [0, `classes`), placed as the crops
      are; the majority is the most frequent label, of several the smallest.
    - `classes`: how many labels there are, at least 2; those without a vote are rivals too.
    - `radius`: the largest shift, in steps of the field, at least 0.

    A shift by (a, b) keeps the labels of the crops that both windows have, and replaces the others
    by unknown ones. The majority y survives every replacement if and only if it survives, for each
    rival, that all unknown labels are this rival's: nothing else is better for a rival or worse for
    y. So the certificate is sound, and in terms of label fields nothing more can be certified; that
    pictures have overlapping crops, whose labels are not free, is not used. At least half of the
    crops must be kept, which bounds the largest radius of all. All counts are exact.

    Raises `InputError` for other labels, `classes` or `radius`. Source: our own; votes of crops
    were counted against the worst case for patches by Levine and Feizi, (De)randomized smoothing
    for certifiable defense against patch attacks, NeurIPS 2020.
    """
    _check_fields(fields, classes)
    check_count("radius", radius, 0)
    rows, columns = fields.shape[1:]
    reach = max(min(radius, rows, columns), _longest(rows, columns))
    size = classes * max((rows + 1) * (columns + 1), (2 * reach + 1) ** 2)
    labels, margins, radii = [], [], []
    for part in fields.split(max(1, _BLOCK // size)):
        majority = count_votes(part, classes).argmax(dim=1)
        spare = _spare_votes(part, majority, classes, reach)
        inner = slice(max(0, reach - radius), reach + radius + 1)
        labels.append(majority)
        margins.append(spare[:, inner, inner].amin(dim=(1, 2)))
        radii.append(radii_of(spare >= 0))
    margin = torch.cat(margins)
    return VoteCertificate(torch.cat(labels), radius, margin >= 0, margin, torch.cat(radii))


class SlidingVote(nn.Module):
    """Classify a window by the majority of a model's labels for all its crops.

    - `model`: any classifier in evaluation mode, of crops in [0, 1]; normalisation belongs to it.
    - `crop`: rows and columns of a crop, or one number for both, in pixels.
    - `stride`: pixels from one crop to the next; a certificate needs 1.
    - `size`: what crops are resized to for the model (bilinear, antialiased), by default nothing.
    - `batch_size`: the most crops at once.

    Windows are `(N, C, H, W)`, uint8 or floating point in [0, 1]; a window takes one pass of the
    model for each of its crops. Certificates hold as far as the model gives a crop one label in
    any batch: of labels that hang on the last digit of a logit that is not sure.

    Raises `InputError` for sizes below 1. Source: our own; see `certify_votes`.
    """

    def __init__(
        self,
        model: nn.Module,
        crop: Size,
        *,
        stride: int = 1,
        size: Size | None = None,
        batch_size: int = 256,
    ) -> None:
        super().__init__()
        check_count("stride", stride, 1)
        check_count("batch_size", batch_size, 1)
        self.model, self.crop, self.stride = model, pair("crop", crop), stride
        self.size = None if size is None else pair("size", size)
        self.batch_size = batch_size
        self.training = model.training

    def forward(self, images: Shaped[Tensor, "..."]) -> Float[Tensor, "n classes"]:
        """Return the share of the votes of each class; of equal shares the first class counts."""
        votes = self.votes(images)
        return votes / votes.sum(dim=1, keepdim=True)

    def votes(self, images: Shaped[Tensor, "..."]) -> Int[Tensor, "n classes"]:
        """Return how many crops the model gives each class, int64; raises as `label_field`."""
        return count_votes(*self._labels(images))

    def label_field(self, images: Shaped[Tensor, "..."]) -> Int[Tensor, "n rows columns"]:
        """Return the label of each crop, int64, placed as the crops are, on the images' device.

        Raises `InputError` for other images, a window smaller than the crop, a model in training
        mode, or NaN logits.
        """
        return self._labels(images)[0]

    def certify(self, images: Shaped[Tensor, "..."], radius: int) -> VoteCertificate:
        """Certify the majority against all shifts of at most `radius` pixels, with any new content.

        Raises `InputError` for a stride above 1: a shift by less than the stride has none of the
        crops that were seen; and as `label_field` and `certify_votes`.
        """
        if self.stride > 1:
            raise InputError(
                f"stride {self.stride} sees none of the crops of a window moved by one pixel, so "
                "no shift is certified; use stride=1. For shifts by multiples of the stride alone "
                "call certify_votes(vote.label_field(images), classes, radius // stride)."
            )
        check_count("radius", radius, 0)
        return certify_votes(*self._labels(images), radius)

    @torch.no_grad()
    def _labels(self, images: Tensor) -> tuple[Tensor, int]:
        check_model(self.model)
        crops = self._crops(images)
        device = device_of(self.model, images)
        count, rows, columns = crops.shape[:3]
        places = torch.arange(count * rows * columns, device=images.device)
        labels, not_a_number, classes = [], torch.zeros((), dtype=torch.bool, device=device), 0
        for part in places.split(self.batch_size):
            batch = crops[part // (rows * columns), part // columns % rows, part % columns]
            logits = run_model(self.model, resized(as_float(batch.to(device)), self.size))
            check_logits(logits, len(batch))
            not_a_number |= logits.isnan().any()
            classes = logits.shape[1]
            labels.append(logits.argmax(dim=1))
        if not_a_number:
            raise InputError("the model returns NaN; check its weights and the range of its input.")
        return torch.cat(labels).to(images.device).reshape(count, rows, columns), classes

    def _crops(self, images: Tensor) -> Tensor:
        check_batch(images)
        check_fits(images, self.crop)
        # A view: the crops of a batch exist only while the model sees them.
        views = images.unfold(2, self.crop[0], self.stride)
        views = views.unfold(3, self.crop[1], self.stride)
        return views.permute(0, 2, 3, 1, 4, 5)

    def extra_repr(self) -> str:
        """Show the sizes in `print(vote)`."""
        return f"crop={self.crop}, stride={self.stride}, size={self.size}"


def _check_fields(fields: Tensor, classes: int) -> None:
    check_count("classes", classes, 2)
    if fields.ndim != 3 or fields.dtype != torch.int64 or fields.numel() == 0:
        raise InputError(
            f"fields must be int64 labels (N, rows, columns), got {fields.dtype} of shape "
            f"{tuple(fields.shape)}."
        )
    check_held("fields", fields)
    low, high = (int(label) for label in fields.aminmax())
    if low < 0 or high >= classes:
        raise InputError(f"labels span [{low}, {high}] but there are {classes} classes.")


def _longest(rows: int, columns: int) -> int:
    """Return the largest shift along both axes that keeps at least half of the crops."""
    radius = 0
    while 2 * (rows - radius - 1) * (columns - radius - 1) >= rows * columns:
        radius += 1
    return radius


def _spare_votes(fields: Tensor, majority: Tensor, classes: int, reach: int) -> Tensor:
    """Return the votes that the majority has to spare after each shift, `(N, 2k+1, 2k+1)`."""
    rows, columns = fields.shape[1:]
    kept = torch.zeros(
        len(fields), classes, rows + 1, columns + 1, dtype=torch.int32, device=fields.device
    )
    kept[:, :, 1:, 1:].scatter_(1, fields[:, None], 1)
    kept = kept.cumsum(2, dtype=torch.int32).cumsum(3, dtype=torch.int32)
    overlaps = []
    for axis, size in ((2, rows), (3, columns)):
        shifts = torch.arange(-reach, reach + 1, device=fields.device)
        first, last = shifts.clamp(0, size), (shifts + size).clamp(0, size)
        kept = kept.index_select(axis, last) - kept.index_select(axis, first)
        overlaps.append(last - first)
    new = rows * columns - overlaps[0][:, None] * overlaps[1]
    places = majority[:, None, None, None].expand(-1, 1, *kept.shape[2:])
    own = kept.gather(1, places)[:, 0]
    # A rival of a smaller number wins ties: it is as good as one vote ahead.
    smaller = torch.arange(classes, device=fields.device) < majority[:, None]
    rivals = kept.add_(smaller[:, :, None, None]).scatter_(1, places, -1).amax(dim=1)
    return own.to(torch.int64) - rivals - new
