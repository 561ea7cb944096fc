"""Numbers in strict JSON: what a record may hold, and how NaN and infinities get there and back.

JSON has no NaN and no Infinity. An undefined number is written as null, an infinite one as "inf"
or "-inf". A column of a table is of one kind (numbers, texts or flags), so that reading back is
unambiguous.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robustkit.errors import DataError, InputError

_INFINITE = {"inf": math.inf, "-inf": -math.inf}


def number(what: str, given: Any) -> float | int | bool:
    """Return a number, flag, NumPy or torch scalar as a plain Python value.

    Raises `InputError` that names `what` for anything else.
    """
    try:
        plain = given.item() if hasattr(given, "item") else given
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{what} must be one number, got several: {error}") from error
    if not isinstance(plain, bool | int | float):
        raise InputError(f"{what} must be a number, got {type(given).__name__} {given!r}.")
    return plain


def column(what: str, given: Any) -> list[Any]:
    """Return a list, array or tensor as a plain column of one kind, None being an absent cell.

    Raises `InputError` that names `what` for nested cells and mixed kinds.
    """
    cells = given.tolist() if hasattr(given, "tolist") else given
    if not isinstance(cells, list | tuple | range):
        raise InputError(f"column {what} must be a list, array or tensor, got {given!r}.")
    cells = [
        cell if cell is None or isinstance(cell, str) else number(f"a cell of {what}", cell)
        for cell in cells
    ]
    kinds = {_kind(cell) for cell in cells} - {"absent"}
    if len(kinds) > 1:
        raise InputError(f"column {what} mixes {' and '.join(sorted(kinds))}; use two columns.")
    if kinds == {"text"} and {cell for cell in cells if cell is not None} <= set(_INFINITE):
        raise InputError(f"column {what} holds only texts that stand for infinite numbers.")
    return column_back(cells)


def parameter(name: str, given: Any) -> Any:
    """Return the plain JSON value of a parameter, an infinity as its text.

    Raises `InputError` for NaN, which equals nothing, and for anything but numbers, texts, flags,
    None and lists of these.
    """
    if isinstance(given, list | tuple):
        return [parameter(name, item) for item in given]
    if given is None or isinstance(given, str):
        return given
    plain = number(f"parameter {name!r}", given)
    if isinstance(plain, float) and math.isnan(plain):
        raise InputError(f"parameter {name!r} is NaN.")
    return encode(plain)


def encode(item: Any) -> Any:
    """Return nested mappings and lists with every NaN as None and every infinity as its text."""
    if isinstance(item, Mapping):
        return {key: encode(part) for key, part in item.items()}
    if isinstance(item, list | tuple):
        return [encode(part) for part in item]
    if isinstance(item, float) and math.isnan(item):
        return None
    return str(item) if isinstance(item, float) and math.isinf(item) else item


def number_back(stored: Any) -> float | int | bool:
    """Return the number that `encode` was given; raises TypeError for what is not a number."""
    found = math.nan if stored is None else _INFINITE.get(stored, stored)
    if not isinstance(found, bool | int | float):
        raise TypeError(f"{stored!r} is not a number")
    return found


def column_back(stored: Any) -> list[Any]:
    """Return the column that `encode` was given; raises TypeError for what is not a column."""
    if not isinstance(stored, list):
        raise TypeError(f"{stored!r} is not a column")
    kinds = {_kind(cell) for cell in stored if cell not in _INFINITE}
    if kinds & {"text", "flags"}:
        return stored
    return [number_back(cell) for cell in stored]


def dumps(item: Any) -> str:
    """Return strict JSON of an encoded `item`."""
    return json.dumps(encode(item), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read(path: Path) -> Any:
    """Read a JSON file; raises `DataError` that names a file that is absent or truncated."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}. Run the chapter again.") from None


def _kind(cell: Any) -> str:
    if cell is None:
        return "absent"
    if isinstance(cell, str):
        return "text"
    return "flags" if isinstance(cell, bool) else "numbers"
