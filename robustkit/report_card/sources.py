"""Models and images by the texts of a command line: libraries, published weights, own files."""

import dataclasses
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from robustkit import data, inputs, models
from robustkit.arguments import check_count
from robustkit.checks import check_device
from robustkit.errors import InputError, unknown
from robustkit.report_card.outputs import numbered
from robustkit.report_card.photographs import Images, read_folder

FORMS = ("torchvision:NAME", "timm:NAME", "robustkit:NAME", "path/to/file.py:factory")
# Photographs that are read without a word about how many: they are held in memory.
_PHOTOGRAPHS = 2000


@dataclass(frozen=True)
class Source:
    """A model that was asked for by a text.

    - `name`: what to call it; `model`: in eval mode, for images in [0, 1].
    - `size`: rows and columns that it sees, None where it takes any; `channels`: of its images,
      None where that is not known.
    """

    name: str
    model: nn.Module
    size: tuple[int, int] | None
    channels: int | None = None


def load_model(text: str, *, device: str | torch.device = "cpu") -> Source:
    """Load the model of a text: one of `FORMS`, or the name of published weights alone.

    `path/to/file.py:factory` *runs that file* and calls `factory()`, which returns a `torch.nn`
    module for images in [0, 1], normalisation inside; a module by that name will do as well. It is
    put in eval mode. Raises `InputError` for a text that names no model, a file that fails, and a
    device that is not here.
    """
    check_device(device)
    library, _, name = text.partition(":")
    if _is_file(text):
        return _from_file(text, device)
    if library in ("torchvision", "timm") and name:
        model = models.load(text, device=device)
        return Source(text, model, _size_of(library, name, model))
    card_name = name if library == "robustkit" else text
    if card_name not in models.CARDS:
        known = [*(f"robustkit:{one}" for one in models.CARDS), *FORMS]
        raise unknown("model", text, known)
    card = models.card(card_name)
    channels, *size = card.shape
    loaded = models.load(card_name, device=device)
    return Source(card_name, loaded, (size[0], size[1]), channels)


def load_images(
    text: str,
    *,
    size: tuple[int, int] | None = None,
    limit: int | None = None,
    channels: int | None = None,
    outputs: str = "",
    seed: int = 0,
) -> Images:
    """Load the test images of a known dataset, or of a folder of your own.

    - `text`: a name that `robustkit.data.load` knows, or the path of a folder.
    - `size`: what the network sees. The images of a folder are resized to fit it, see
      `robustkit.report_card.photographs.read_folder`; without a size they must all have one.
    - `limit`: at most so many images: of a dataset the first, by default all, and of a folder some
      that follow from `seed`, by default two thousand.
    - `channels`: of what the network sees; with 1 the images of a folder are read as grey.
    - `outputs`: the path of a file that says which output each class folder stands for, see
      `robustkit.report_card.outputs.numbered`.

    Raises `InputError` and `DataError` as loading does.
    """
    if text in data.names():
        known = data.load(text, limit=limit)
        fields = {field.name: getattr(known, field.name) for field in dataclasses.fields(known)}
        return numbered(Images(**fields), outputs)
    path = Path(text.removeprefix("imagefolder:")).expanduser()
    if not path.is_dir():
        raise unknown("dataset or folder", text, [*data.names()[:-1], "path/to/folder"])
    most = _PHOTOGRAPHS if limit is None else limit
    check_count("limit", most, 1)
    found = read_folder(path.resolve(), size, limit=most, seed=seed, grey=channels == 1)
    return numbered(found, outputs)


def seen_by(
    sources: Sequence[Source], size: int | None = None
) -> tuple[tuple[int, int] | None, int | None]:
    """Return rows and columns that models see, and channels, as far as they are known.

    `size`, in pixels a side, goes before what is known. Raises `InputError` for models that cannot
    see the same images.
    """
    sizes = {one.size for one in sources} - {None}
    channels = {one.channels for one in sources} - {None}
    if len(sizes) > 1 and not size:
        raise InputError(f"the two models see images of different sizes, {sizes}; give one size.")
    if len(channels) > 1:
        raise InputError(f"the two models see images of different channels, {channels}.")
    window = (size, size) if size else next(iter(sizes), None)
    return window, next(iter(channels), None)


def _is_file(text: str) -> bool:
    return text.rpartition(":")[0].endswith(".py")


def _from_file(text: str, device: str | torch.device) -> Source:
    place, _, name = text.rpartition(":")
    path = Path(place).expanduser().resolve()
    if not path.is_file():
        raise InputError(f"there is no file {place}; a model of your own is path/to/file.py:name.")
    inputs.note(f"model/{path.name}", [path])
    with _beside(path), torch.random.fork_rng(devices=[]):
        module = _imported(path)
        if not hasattr(module, name):
            public = [each for each in vars(module) if not each.startswith("_")]
            raise unknown(f"name in {path.name}", name, public)
        found = getattr(module, name)
        if not isinstance(found, nn.Module):
            found = _called(found, path, name)
    return Source(f"{path.name}:{name}", found.eval().requires_grad_(False).to(device), None)


def _imported(path: Path) -> ModuleType:
    # A name of its own, so that a file called torch.py does not become torch.
    name = "robustkit_model_" + re.sub(r"\W", "_", path.stem)
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} cannot be imported as Python.")
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    # Whatever the file does wrong is told with the file's name.
    except (Exception, SystemExit) as error:
        raise InputError(f"{path.name} raised {type(error).__name__}: {error}") from error
    return module


def _called(factory: Any, path: Path, name: str) -> nn.Module:
    if not callable(factory):
        raise InputError(
            f"{name} in {path.name} is neither a module nor a function that makes one."
        )
    try:
        made = factory()
    # One that reads a command line of its own leaves Python where that does not suit it.
    except (Exception, SystemExit) as error:
        raise InputError(
            f"{name}() in {path.name} raised {type(error).__name__}: {error}"
        ) from error
    if not isinstance(made, nn.Module):
        raise InputError(
            f"{name}() in {path.name} returned {type(made).__name__}, not a torch.nn.Module."
        )
    return made


@contextmanager
def _beside(path: Path) -> Iterator[None]:
    # As when the file itself is run, what lies beside it can be imported.
    sys.path.insert(0, str(path.parent))
    before = {*sys.modules}
    try:
        yield
    finally:
        sys.path.remove(str(path.parent))
        # A second file has modules of its own beside it, perhaps by the same names.
        for name in {*sys.modules} - before:
            if _lies_in(path.parent, name):
                del sys.modules[name]


def _lies_in(folder: Path, name: str) -> bool:
    # A package of an environment that is kept in the folder does not lie there by its own name.
    top = folder / name.partition(".")[0]
    module = sys.modules[name]
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return any(
        Path(place).is_relative_to(top) or Path(place) == top.with_name(f"{top.name}.py")
        for place in places
        if place
    )


def _size_of(library: str, name: str, model: nn.Module) -> tuple[int, int] | None:
    if library == "timm":
        configuration: Any = getattr(getattr(model, "model", None), "pretrained_cfg", None) or {}
        shape = configuration.get("input_size")
        return None if shape is None else (int(shape[1]), int(shape[2]))
    from torchvision.models import get_model_weights

    crop = getattr(get_model_weights(name).DEFAULT.transforms(), "crop_size", None)
    return None if not crop else (int(crop[0]), int(crop[-1]))
