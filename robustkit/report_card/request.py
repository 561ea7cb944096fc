"""What is asked of a card, checked before anything is measured."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from robustkit.arguments import check_count
from robustkit.checks import (
    check_device,
    check_held,
    check_images,
    check_labels,
    check_logits,
    check_model,
)
from robustkit.corruptions import CORRUPTIONS
from robustkit.corruptions.corrupt import prepare as prepare_corruption
from robustkit.data import as_float
from robustkit.errors import InputError, RobustkitError, unknown
from robustkit.report_card.card import AXES
from robustkit.report_card.sample import Sample, Settings, ordered
from robustkit.report_card.words import printable
from robustkit.translation import CropShift
from robustkit.translation.labels import device_of
from robustkit.translation.levels import Size, pair

# Without a budget and without a word about samples: what takes minutes on a laptop.
_DEFAULT, _DEFAULT_SPECTRUM = 500, 200


@dataclass(frozen=True, eq=False)
class Request:
    """Models and images that fit together, and what to measure of them.

    - `models`: by name, all on `device`; `outputs`: how many classes they have logits for.
    - `images`, `labels`: as they were given; `window`: rows and columns that the models see.
    - `axes`: some of `AXES`, in their order.
    """

    models: Mapping[str, nn.Module]
    images: Shaped[Tensor, "n c height width"]
    labels: Int[Tensor, " n"]
    window: tuple[int, int]
    axes: tuple[str, ...]
    settings: Settings
    outputs: int
    device: torch.device

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape (C, H, W) of what the models see."""
        return (self.images.shape[1], *self.window)

    def sample(self, count: int) -> Sample:
        """Return the first `count` images of the random order, or all, where the models are."""
        found = ordered(self.images, self.labels, self.window, count, self.settings.seed)
        sources, labels, rows = (
            part.to(self.device) for part in (found.sources, found.labels, found.rows)
        )
        return Sample(sources, labels, rows, self.window)


def prepare(
    models: Mapping[str, nn.Module],
    images: Shaped[Tensor, "..."],
    labels: Shaped[Tensor, "..."],
    window: tuple[int, int],
    axes: Sequence[str],
    settings: Settings,
    device: str | torch.device | None,
) -> Request:
    """Check models, images, labels and settings together; name the classes that have no name.

    The models are moved to `device`, or left where the first of them is. Raises `InputError` for
    what does not fit.
    """
    if not models:
        raise InputError("there is no model to measure: pass at least one.")
    chosen = _checked_axes(axes)
    _check_settings(settings, chosen, window)
    place = device_of(next(iter(models.values())), images) if device is None else device
    place = check_device(place)
    for name, model in models.items():
        for weights in (*model.parameters(), *model.buffers()):
            check_held(f"the weights of {name}", weights)
    moved = {name: model.to(place) for name, model in models.items()}
    count = outputs_of(moved, images, window, place)
    check_labels(labels, len(images), count)
    names = _class_names(settings.classes, labels, count)
    settings = dataclasses.replace(settings, classes=names)
    # Class indices of any whole type are labels; int64 alone can pick columns.
    whole = labels.long().to(images.device)
    return Request(moved, images, whole, window, chosen, settings, count, place)


def outputs_of(
    models: Mapping[str, nn.Module],
    images: Shaped[Tensor, "n c height width"],
    window: tuple[int, int],
    device: torch.device,
) -> int:
    """Return how many outputs all models on `device` have, from the first image.

    Raises `InputError` for models that cannot take it, or whose numbers of outputs differ.
    """
    first = as_float(CropShift(window).base(images[:1])).to(device)
    outputs = {name: _outputs(name, model, first) for name, model in models.items()}
    if len({*outputs.values()}) > 1:
        raise InputError(f"the models have different numbers of classes: {outputs}.")
    return next(iter(outputs.values()))


def window_of(images: Shaped[Tensor, "..."], size: Size | None) -> tuple[int, int]:
    """Return rows and columns of what the network sees of images `(N, C, H, W)`.

    Raises `InputError` for images that are none, and a size that does not fit into them.
    """
    if images.ndim != 4:
        raise InputError(f"images must be a batch (N, C, H, W), got shape {tuple(images.shape)}.")
    check_images(images, levels=True)
    height, width = images.shape[2:]
    rows, columns = (height, width) if size is None else pair("size", size)
    if rows > height or columns > width:
        raise InputError(
            f"the network sees {rows} x {columns} pixels, and the images have {height} x {width}: "
            "pass larger images, or a smaller size."
        )
    return rows, columns


def crop_of(window: tuple[int, int], crop: Size | None) -> tuple[int, int]:
    """Return the size of the crops that RICS selects, by default seven eighths of the window.

    Raises `InputError` for a crop that does not fit into it.
    """
    if crop is None:
        rows, columns = (max(1, 7 * side // 8) for side in window)
        return rows, columns
    rows, columns = pair("crop", crop)
    if rows > window[0] or columns > window[1]:
        raise InputError(
            f"a crop of {rows} x {columns} does not fit into {window[0]} x {window[1]}."
        )
    return rows, columns


def counts_of(
    samples: int | Mapping[str, int] | None, axes: Sequence[str], available: int
) -> dict[str, int]:
    """Return how many images each axis is measured on; crop selection shares with translations.

    Raises `InputError` for a number below 1, and an axis that is not measured.
    """
    groups = dict.fromkeys(group_of(axis) for axis in axes)
    usual = {"clean": available, "spectrum": _DEFAULT_SPECTRUM}
    asked = {axis: usual.get(axis, _DEFAULT) for axis in groups}
    if isinstance(samples, Mapping):
        for axis in samples:
            if axis not in groups:
                raise unknown("axis in samples", axis, groups)
        asked |= samples
    elif samples is not None:
        asked = dict.fromkeys(groups, samples)
    for axis, count in asked.items():
        check_count(f"the sample of {axis}", count, 1)
    return {axis: min(count, available) for axis, count in asked.items()}


def group_of(axis: str) -> str:
    """Return the axis whose sample an axis is measured on: its own, but for crop selection."""
    return "translation" if axis == "rics" else axis


@torch.no_grad()
def _outputs(name: str, model: nn.Module, image: Float[Tensor, "1 c h w"]) -> int:
    try:
        check_model(model)
        found: object = model(image)
        if isinstance(found, Tensor):
            check_logits(found, 1)
            return int(found.shape[1])
    except RobustkitError as error:
        raise InputError(f"{name}: {error}") from error
    # A network of another's making may refuse an image in any way.
    except Exception as error:
        raise InputError(
            f"{name} takes no image of shape {tuple(image.shape[1:])}, it raised "
            f"{type(error).__name__}: {error}. Pass images of the channels and the size that it "
            "sees."
        ) from error
    raise InputError(
        f"{name} returns an object of type {type(found).__name__}, and a card needs the tensor of "
        "logits (N, K) alone: wrap it in a module whose forward returns that."
    )


def _checked_axes(axes: Sequence[str]) -> tuple[str, ...]:
    asked = [axes] if isinstance(axes, str) else list(axes)
    for axis in asked:
        if axis not in AXES:
            raise unknown("axis", axis, AXES)
    if not asked:
        raise InputError(f"there is nothing to measure: name some of {', '.join(AXES)}.")
    return tuple(axis for axis in AXES if axis in asked)


def _check_settings(settings: Settings, axes: Sequence[str], window: tuple[int, int]) -> None:
    check_count("radius", settings.radius, 1)
    check_count("examples", settings.examples, 0)
    if not 0 < settings.level < 1:
        raise InputError(f"level must lie in (0, 1), got {settings.level}.")
    if "corruptions" in axes:
        if not settings.severities or not {*settings.severities} <= {1, 2, 3, 4, 5}:
            raise InputError(f"severities must lie in 1 to 5, got {list(settings.severities)}.")
        for name in CORRUPTIONS:
            prepare_corruption(name, min(window), settings.preset, "truncate", {})
    if {"translation", "rics"} & {*axes} and settings.radius >= min(window):
        raise InputError(
            f"a radius of {settings.radius} pixels is too large for {window[0]} x {window[1]}."
        )


def _class_names(
    given: tuple[str, ...], labels: Int[Tensor, " n"], outputs: int
) -> tuple[str, ...]:
    if given and len(given) <= int(labels.max()):
        raise InputError(
            f"the labels reach {int(labels.max())}, but only {len(given)} classes are named."
        )
    return tuple(map(printable, given)) or tuple(str(index) for index in range(outputs))
