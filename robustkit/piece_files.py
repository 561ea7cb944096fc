"""Files of pieces: a result of some images, and all that it was made of, whole or absent."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from robustkit import inputs, provenance
from robustkit.digests import describe_model, digest
from robustkit.errors import DataError, InputError
from robustkit.files import write_atomic
from robustkit.joining import Parts


@dataclass(frozen=True)
class Piece:
    """A result, the seconds that making it took, and which of its tensors were not on a device."""

    parts: Parts
    seconds: float
    on_host: frozenset[str]


def write(
    path: Path, piece: Piece, made_of: Mapping[str, str], read_files: inputs.FirstRead
) -> None:
    """Write a piece with what it was made of, and with what this process has read so far."""
    header = {
        "made of": dict(made_of),
        "inputs": read_files.entries(),
        "packages": provenance.packages(),
        "kind": piece.parts.kind,
        # The format sorts its tensors; a table made of a mapping is in the order of its names.
        "names": list(piece.parts.tensors),
        "plain": piece.parts.plain,
        "on host": sorted(piece.on_host),
        "seconds": piece.seconds,
    }
    # The format has no tensors that share memory; an empty name is not a key of it.
    tensors = {f"t {name}": tensor.cpu().clone() for name, tensor in piece.parts.tensors.items()}
    write_atomic(path, save(tensors, {"robustkit": json.dumps(header)}))


def read(path: Path, made_of: Mapping[str, str], read_files: inputs.FirstRead) -> Piece | None:
    """Return a piece, or None where there is no file; what it had read counts as read here too.

    Raises `DataError` that says why when the file is damaged, was made of something else, or has
    read what is not what this process reads.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["robustkit"])
            tensors = {name: file.get_tensor(f"t {name}") for name in header["names"]}
        found, entries = dict(header["made of"]), dict(header["inputs"])
        versions: dict[str, str] = dict(header["packages"])
        parts = Parts(header["kind"], tensors, dict(header["plain"]))
        piece = Piece(parts, float(header["seconds"]), frozenset(header["on host"]))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error})") from error
    differing = [name for name in made_of if found.get(name) != made_of[name]]
    differing += [
        name
        for name, entry in entries.items()
        if entry["digest"] != read_files.digest([Path(file) for file in entry["files"]])
    ]
    here = provenance.packages()
    # Builds of one version for several kinds of machine have one name up to a plus sign.
    differing += [
        f"version of {name}"
        for name, version in versions.items()
        if here.get(name, version).partition("+")[0] != version.partition("+")[0]
    ]
    if differing:
        raise DataError(f"{path} was made with another {', '.join(differing)}")
    for name, entry in entries.items():
        inputs.note(name, [Path(file) for file in entry["files"]])
    return piece


def describe(of: object) -> str:
    """Return a digest of models, by class, layers and state, of tensors and of plain values.

    Raises `InputError` for anything else.
    """
    if isinstance(of, Mapping):
        return " ".join(f"{name}={describe(part)}" for name, part in of.items())
    if isinstance(of, nn.Module):
        return describe_model(of)
    if isinstance(of, Tensor):
        return digest({"": of})
    if of is None or isinstance(of, bool | int | float | str):
        return repr(of)
    raise InputError(f"a piece cannot be made of {type(of).__name__}; name models and tensors.")


def describe_rows(rows: Tensor, tensors: tuple[Tensor, ...]) -> str:
    """Return a digest of the images of a block: their positions and what the function is given."""
    named = {str(place): tensor for place, tensor in enumerate(tensors)}
    return digest({"rows": rows, **named})


def on_device(piece: Piece, device: torch.device) -> Parts:
    """Return the parts of a piece, with those on a device that were on one when it was made."""
    tensors = {
        name: tensor if name in piece.on_host else tensor.to(device)
        for name, tensor in piece.parts.tensors.items()
    }
    return Parts(piece.parts.kind, tensors, piece.parts.plain)
