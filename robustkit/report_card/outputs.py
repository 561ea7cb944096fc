"""Which output of a network each class folder stands for: by a file, by its name, or by order."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import yaml
from torch import nn

from robustkit import inputs
from robustkit.arguments import whole
from robustkit.errors import InputError
from robustkit.report_card.photographs import Images
from robustkit.report_card.request import outputs_of, window_of
from robustkit.report_card.words import printable
from robustkit.translation.labels import device_of
from robustkit.translation.levels import Size

_SHOWN = 3


def numbered(images: Images, file: str | Path = "") -> Images:
    """Return images of class folders with the output of each folder, where it is said.

    - `file`: a YAML or JSON mapping from the names of the folders to the numbers of outputs, from
      0. Without one, folders whose names are all whole numbers are those outputs.

    Raises `InputError` for a file that is no such mapping, a folder that it leaves out, and two
    folders of one output.
    """
    if file and not images.folders:
        raise InputError(
            f"the classes of {images.name} are no folders, so there is nothing for outputs to map."
        )
    if file:
        numbers = _mapped(Path(file).expanduser(), images.classes)
    elif images.folders and all(_is_number(name) for name in images.classes):
        numbers = tuple(int(name) for name in images.classes)
    else:
        return images
    for place, number in enumerate(numbers):
        if number in numbers[:place]:
            first, second = images.classes[numbers.index(number)], images.classes[place]
            raise InputError(
                f"the class folders {first} and {second} both stand for output {number}; give "
                "each an output of its own."
            )
    return dataclasses.replace(images, numbers=numbers)


def fitted(images: Images, models: Mapping[str, nn.Module], size: Size | None = None) -> Images:
    """Return the images with outputs of the models as labels, and a name an output.

    The labels of a known dataset, or of an `images.csv`, are outputs as they are. Class folders
    stand for the outputs in their order where there are as many, unless their numbers are said.
    Raises `InputError` where neither is so, and for what `robustkit.report` refuses.
    """
    device = device_of(next(iter(models.values())), images.images)
    outputs = outputs_of(models, images.images, window_of(images.images, size), device)
    if not images.folders:
        return images
    count = len(images.classes)
    if not images.numbers:
        if count == outputs:
            return images
        raise InputError(
            f"{images.name} has {count} class folders and the network {outputs} outputs, so which "
            "folder is which output is not known. Call each folder by the number of its output, "
            "from 0, or give outputs (--outputs FILE): a YAML or JSON file that maps the names of "
            "the folders to those numbers."
        )
    for name, number in zip(images.classes, images.numbers, strict=True):
        if number >= outputs:
            raise InputError(
                f"the class folder {printable(name)} stands for output {number}, and the network "
                f"has outputs 0 to {outputs - 1}; give outputs (--outputs FILE) that it has."
            )
    names = [str(number) for number in range(outputs)]
    for name, number in zip(images.classes, images.numbers, strict=True):
        names[number] = name
    said = f"They are of {count:,} of the {outputs:,} classes of the network."
    return dataclasses.replace(
        images,
        labels=torch.tensor(images.numbers, device=images.labels.device)[images.labels],
        classes=tuple(names),
        read=f"{images.read} {said}".strip() if count < outputs else images.read,
        # Done once: the labels are outputs now.
        folders=False,
        numbers=(),
    )


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal()


def _mapped(path: Path, classes: Sequence[str]) -> tuple[int, ...]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"the outputs in {path.name} cannot be read: {error}.") from error
    inputs.note(f"outputs/{path.name}", [path.resolve()])
    if not isinstance(content, dict):
        raise InputError(
            f"{path.name} is no mapping: write a line 'name of the folder: number of the output' "
            "for each class folder."
        )
    # A folder may be called 7, which YAML reads as a number.
    known = {str(name): number for name, number in content.items()}
    missing = [name for name in classes if name not in known]
    if missing:
        more = ", ..." if len(missing) > _SHOWN else ""
        named = ", ".join(printable(name) for name in missing[:_SHOWN])
        raise InputError(
            f"{path.name} says no output for {len(missing)} class folders ({named}{more}); add "
            "them, in quotes where YAML reads a name as something else."
        )
    numbers = []
    for name in classes:
        number = whole(known[name])
        if number is None or number < 0:
            raise InputError(
                f"{path.name}: the output of {printable(name)} must be a whole number of at least "
                f"0, got {known[name]!r}."
            )
        numbers.append(number)
    return tuple(numbers)
