"""How to train: every setting that the result depends on, checked once."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from robustkit.data import Dataset
from robustkit.digests import digest
from robustkit.errors import InputError, unknown
from robustkit.training.checkpoints import Configuration
from robustkit.training.schedules import Schedule

Precision = Literal["auto", "float32", "bfloat16"]
Projection = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Adversarial:
    """Train on PGD examples of l2 (`norm=2`) or l-infinity (`norm="inf"`) radius `radius`.

    `radius` and `step_size` are in the units of the images; `step_size` None leaves it to
    `robustkit.attacks.pgd`. Examples stay within `bounds`, of every component; None stands for data
    without bounds. A `projection` takes the place of ball and bounds, as it does in `pgd`, for l2
    and with `bounds=None`. Raises `InputError` outside those ranges. Source: Madry et al., ICLR
    2018.
    """

    norm: Literal[2, "inf"]
    radius: float
    steps: int = 10
    step_size: float | None = None
    bounds: tuple[float, float] | None = (0.0, 1.0)
    projection: Projection | None = None

    def __post_init__(self) -> None:
        if self.norm not in (2, "inf"):
            raise InputError(f'norm must be 2 or "inf", got {self.norm!r}.')
        if not self.radius > 0 or self.steps < 1:
            raise InputError("radius must be positive and steps at least 1.")
        if self.step_size is not None and not self.step_size > 0:
            raise InputError(f"step_size must be positive, got {self.step_size}.")
        if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
            raise InputError(f"bounds must be a lower and a larger upper one, got {self.bounds}.")
        if self.projection is not None and (self.norm != 2 or self.bounds is not None):
            raise InputError(
                "a projection takes the place of l2 ball and bounds: pass norm=2 and bounds=None."
            )


@dataclass(frozen=True)
class Settings:
    """The arguments of `train` with every default resolved; `InputError` where impossible."""

    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float
    nesterov: bool
    weight_decay: float
    schedule: Schedule
    peak_at: float
    clip: float | None
    label_smoothing: float
    augment: bool
    adversarial: Adversarial | None
    seed: int
    bfloat16: bool
    channels_last: bool
    consistency: int | float | None = None
    average: float | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise InputError("epochs and batch_size must be at least 1.")
        if not self.learning_rate > 0 or (self.clip is not None and not self.clip > 0):
            raise InputError("learning_rate and clip must be positive (clip=None: no clipping).")
        if self.momentum < 0 or self.weight_decay < 0 or (self.nesterov and not self.momentum):
            raise InputError(
                "momentum and weight_decay must not be negative; nesterov needs momentum."
            )
        if not 0 <= self.label_smoothing < 1:
            raise InputError(f"label_smoothing must lie in [0, 1), got {self.label_smoothing}.")
        if not 0 < self.peak_at < 1:
            raise InputError(f"peak_at must lie in (0, 1), got {self.peak_at}.")
        if self.average is not None and not 0 < self.average < 1:
            raise InputError(
                f"average is what a step keeps of the averaged weights, between 0 and 1, got "
                f"{self.average}; pass None to end with the weights of the last step."
            )
        if self.consistency is not None:
            if isinstance(self.consistency, bool) or not 0 < self.consistency < math.inf:
                raise InputError(
                    f"consistency is a weight, positive and finite, got {self.consistency}; pass "
                    "None to train without the consistency loss."
                )
            if self.adversarial is not None:
                raise InputError(
                    "consistency compares views that a transform makes, and an attack makes none; "
                    "pass either consistency or adversarial."
                )


def use_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Tell whether `precision` means bfloat16 on `device`; raises `InputError` if unknown."""
    if precision not in ("auto", "float32", "bfloat16"):
        raise unknown("precision", precision, ["auto", "float32", "bfloat16"])
    return precision == "bfloat16" or (precision == "auto" and device.type == "cuda")


def configuration(
    settings: Settings, model: nn.Module, dataset: Dataset, transform: object
) -> Configuration:
    """Describe a training in plain values: settings, data and initial network by their digest."""
    weights: dict[str, Tensor] = dict(model.state_dict())
    trainable = sorted(name for name, p in model.named_parameters() if p.requires_grad)
    data = digest({"images": dataset.images, "labels": dataset.labels})
    values = dict(vars(settings))
    # Named only where they are given: checkpoints made before they existed stay good.
    for name in ("consistency", "average"):
        if values[name] is None:
            del values[name]
    return {
        **values,
        "adversarial": _described(settings.adversarial),
        "dataset": f"{dataset.name}/{dataset.split} {data[:12]}",
        "initial network": digest(weights)[:12],
        "trainable parameters": ", ".join(trainable),
        "transform": _name(transform),
    }


def _described(adversarial: Adversarial | None) -> str | None:
    if adversarial is None:
        return None
    values = {name: getattr(adversarial, name) for name in ("norm", "radius", "steps", "step_size")}
    # Named only where they differ from the default: checkpoints made before they existed stay good.
    if adversarial.bounds != (0.0, 1.0):
        values["bounds"] = adversarial.bounds
    text = ", ".join(f"{name}={value!r}" for name, value in values.items())
    if adversarial.projection is not None:
        text += f", projection={_name(adversarial.projection)}"
    return f"Adversarial({text})"


def _name(function: object) -> str | None:
    if function is None:
        return None
    if isinstance(function, nn.Module):
        return repr(function)
    if isinstance(function, partial):
        given = [_value(value) for value in function.args]
        given += [f"{name}={_value(value)}" for name, value in function.keywords.items()]
        return f"functools.partial({', '.join([_value(function.func), *given])})"
    kind = type(function)
    return f"{function.__module__}.{getattr(function, '__qualname__', kind.__qualname__)}"


def _value(value: object) -> str:
    return str(_name(value)) if callable(value) else repr(value)
