"""Known networks to compare a card with: numbers of the committed records, on the same data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from robustkit import inputs, project, records
from robustkit.corruptions.severities import ALL_SEVERITIES
from robustkit.errors import InputError
from robustkit.report_card.card import Table, table_of
from robustkit.report_card.request import crop_of
from robustkit.report_card.sample import Settings

_COLUMNS = ("axis", "scalar", "network", "value", "low", "high", "images", "record")
_PROFILE = "laptop"

# The images that the known networks were measured on, as a whole.
SHAPES: Mapping[str, tuple[int, ...]] = {"cifar10": (3, 32, 32), "mnist": (1, 28, 28)}

_MARGINS = ("whole", "low", "high", "high_over_low")
_TRANSLATION = tuple(
    f"{measure}_{radius}" for measure in ("consistency", "fooled", "robust") for radius in (1, 3)
)
_RICS = ("accuracy", *_TRANSLATION, "gain_1", "gain_3", "cost")


@dataclass(frozen=True)
class Network:
    """A network of a committed record, measured as a card measures.

    - `name`, `data`, `chapter`: what it is called, on which dataset, in the record of which
      chapter. `axis`: what was measured.
    - `scalars`: by the name that a number has on a card, its name in the record.
    """

    name: str
    data: str
    chapter: str
    axis: str
    scalars: Mapping[str, str]


def _first(name: str, data: str, role: str) -> list[Network]:
    chapter = "01_preliminaries"
    return [
        Network(name, data, chapter, "clean", {"accuracy": f"{role}_accuracy"}),
        Network(name, data, chapter, "l2", {"l2_median": f"{role}_l2_median"}),
    ]


def _third(name: str, data: str, role: str) -> Network:
    scalars = {f"margin_{part}": f"{role}_{part}" for part in _MARGINS}
    return Network(name, data, "03_features", "spectrum", scalars)


def _fourth(name: str, data: str, role: str) -> Network:
    scalars = {"corruption_accuracy": f"{role}_corruption_accuracy"}
    return Network(name, data, "04_corruptions", "corruptions", scalars)


def _sixth(name: str, prefix: str) -> list[Network]:
    chapter = "06_report_card"
    every = {
        "sparse": ("pixels_50", "pixels_90"),
        "translation": _TRANSLATION,
        "rics": tuple(f"rics_{scalar}" for scalar in _RICS),
    }
    return [
        Network(name, "cifar10", chapter, axis, {scalar: prefix + scalar for scalar in scalars})
        for axis, scalars in every.items()
    ]


NETWORKS: Sequence[Network] = (
    *_first("ResNet-20", "cifar10", "standard"),
    *_first("ResNet-56", "cifar10", "deeper"),
    *_first("ResNet-20, tuned adversarially", "cifar10", "adversarial"),
    *_first("LeNet", "mnist", "lenet"),
    *_first("LeNet, trained adversarially", "mnist", "lenet_adversarial"),
    _third("ResNet-20", "cifar10", "standard"),
    _third("ResNet-56", "cifar10", "deeper"),
    _fourth("ResNet-20", "cifar10", "cifar10_resnet20"),
    _fourth("ResNet-56", "cifar10", "cifar10_resnet56"),
    *_sixth("ResNet-20", ""),
    *_sixth("ResNet-56", "second_"),
)


def references(
    data: str,
    axes: Sequence[str],
    settings: Settings,
    shape: tuple[int, ...],
    window: tuple[int, int],
) -> Table:
    """Return the numbers of known networks on a dataset, one row a number; often there are none.

    `shape` is that of the images, (C, H, W), and `window` what the network sees of them, (h, w).
    Columns: axis, scalar, network, value, low, high, images, record. Numbers come from the laptop
    records of the checkout, in the units of a card; outside a checkout there are none. Numbers that
    were measured in another way are left out: on images of another size, for other corruptions,
    shifts or crops, or with intervals of another level.
    """
    if shape != SHAPES.get(data) or window != shape[1:]:
        return {}
    rows = []
    for network in NETWORKS:
        if network.data != data or network.axis not in axes:
            continue
        record = _record(network.chapter) if _alike(network.axis, settings, window) else None
        for name, stored in network.scalars.items():
            scalar = {} if record is None else record["scalars"].get(stored, {})
            if scalar.get("level") == settings.level:
                rows.append(_row(network, name, scalar))
    return table_of(_COLUMNS, rows)


def _alike(axis: str, settings: Settings, window: tuple[int, int]) -> bool:
    if axis == "corruptions":
        return settings.preset is None and settings.severities == ALL_SEVERITIES
    if axis == "rics" and settings.crop != crop_of(window, None):
        return False
    return axis not in ("translation", "rics") or settings.radius == 3


def _record(chapter: str) -> dict[str, Any] | None:
    try:
        path = project.results_path(chapter, _PROFILE)
    except InputError:
        return None
    if not path.is_file():
        return None
    inputs.note(f"book/results/{_PROFILE}/{chapter}.json", [path])
    return records.read(path)


def _row(network: Network, name: str, scalar: Mapping[str, Any]) -> tuple[Any, ...]:
    # Records keep corruption accuracy in percent, a card all shares as fractions.
    scale = 0.01 if scalar["unit"] == "%" else 1.0
    value, low, high = (
        None if scalar[end] is None else scale * scalar[end] for end in ("value", "low", "high")
    )
    source = f"{network.chapter}, {_PROFILE}"
    return (network.axis, name, network.name, value, low, high, scalar["count"], source)
