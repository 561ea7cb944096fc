"""The errors of chosen cells of a table, or a refusal that names what is missing or there twice."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robustkit.corruptions.benchmark.table import CLEAN, CorruptionTable
from robustkit.errors import InputError

if TYPE_CHECKING:
    import pandas

Array = NDArray[np.float64]


def select(
    table: "CorruptionTable | pandas.DataFrame",
    corruptions: Sequence[str],
    severities: Sequence[int],
    what: str,
) -> tuple[Array, Array | None]:
    """Return the errors of cells, `(corruptions, severities, N)`, and on clean images, `(N,)`.

    Those of a `CorruptionTable` are 0 or 1, one an image; a DataFrame has their mean, and N is 1.
    Clean errors are None where the table has none. `what` is the table's name in messages. Raises
    `InputError` for cells that are missing or duplicate, and errors that are no fractions.
    """
    keys, errors = _rows(table, what)
    counts, places = Counter(keys), {key: row for row, key in enumerate(keys)}
    wanted = [(name, severity) for name in corruptions for severity in severities]
    missing = [cell for cell in wanted if cell not in counts]
    if missing:
        raise InputError(
            f"the {what} lacks {_named(missing, severities)}. It is not judged without them: "
            "evaluate them, or name what to judge with corruptions=... or severities=...."
        )
    twice = [cell for cell in [CLEAN, *wanted] if counts[cell] > 1]
    if twice:
        raise InputError(
            f"the {what} has more than one row for {_named(twice, severities)}. Pass the rows of "
            "one model and one run."
        )
    chosen = errors[[places[cell] for cell in [CLEAN, *wanted] if cell in places]]
    if not ((chosen >= 0) & (chosen <= 1)).all():
        raise InputError(
            f"the {what} has errors outside [0, 1] or NaN; they are fractions: divide percent by "
            "100."
        )
    clean = chosen[0] if CLEAN in places else None
    cells = chosen[-len(wanted) :]
    return cells.reshape(len(corruptions), len(severities), -1), clean


def _rows(
    table: "CorruptionTable | pandas.DataFrame", what: str
) -> tuple[list[tuple[str, int]], Array]:
    if isinstance(table, CorruptionTable):
        errors: Array = 1.0 - table.hits.cpu().numpy()
        if table.clean is None:
            return list(table.cells), errors
        return [CLEAN, *table.cells], np.concatenate(
            [1.0 - table.clean.cpu().numpy()[None], errors]
        )
    absent = [name for name in ("corruption", "severity", "error") if name not in table]
    if absent:
        raise InputError(f"the {what} has no column {', '.join(absent)}.")
    keys = list(zip(table["corruption"], table["severity"], strict=True))
    return keys, table["error"].to_numpy(dtype=np.float64)[:, None]


def _named(cells: list[tuple[str, int]], severities: Sequence[int]) -> str:
    """Name cells: a corruption alone where all its severities are meant."""
    groups: dict[str, list[int]] = {}
    for name, severity in cells:
        groups.setdefault(name, []).append(severity)
    return "; ".join(
        name
        if len(found) == len(severities) or (name, found) == (CLEAN[0], [CLEAN[1]])
        else f"{name} at severity {', '.join(map(str, found))}"
        for name, found in groups.items()
    )
