"""Records: the numbers of one run, with intervals, tables and provenance, in one JSON file."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robustkit import inputs, project, provenance, strict_json
from robustkit.errors import DataError, InputError, unknown
from robustkit.files import write_atomic

# Scalars of records from before levels were kept have no "level"; that changes nothing else.
SCHEMA = 1
RUN_FOLDER = "ROBUSTKIT_RUN_DIR"


class Record:
    """The numbers of a run of `chapter` with `parameters` (name to plain value).

    Raises `InputError` when a parameter is not a number, a text, a flag or a list of these.
    """

    def __init__(self, chapter: str, parameters: Mapping[str, Any]) -> None:
        self.chapter = chapter
        self.parameters = {
            name: strict_json.parameter(name, given) for name, given in parameters.items()
        }
        self.scalars: dict[str, dict[str, Any]] = {}
        self.tables: dict[str, dict[str, list[Any]]] = {}
        # What is edited or committed during the run is not what ran.
        started = bool(os.environ.get(RUN_FOLDER))
        self._read = inputs.FirstRead() if started else None
        self._checkout = provenance.commit() if started else {}

    def scalar(
        self,
        name: str,
        value: Any,
        low: Any = None,
        high: Any = None,
        *,
        unit: str = "",
        count: int | None = None,
        note: str = "",
    ) -> None:
        """Keep one number with its interval [low, high], its unit and the count it rests on.

        `value` is a number, a flag, a NumPy or torch scalar, or an interval object with
        `estimate`, `low` and `high`, and with `level` and `count` where it knows them; a `count`
        given here wins. The level of an interval given by its bounds is not known. Raises
        `InputError` for anything else, for a name in use and for an interval upside down.
        """
        if name in self.scalars:
            raise InputError(
                f"the record has a scalar {name!r} already; give each its own name, or run the "
                "cell that makes the record again to start over."
            )
        level = None
        if hasattr(value, "estimate"):
            level, known = _level_and_count(name, value)
            count = known if count is None else count
            value, low, high = value.estimate, value.low, value.high
        lower, upper = _bound(name, low), _bound(name, high)
        if lower is not None and upper is not None and lower > upper:
            raise InputError(f"the interval of scalar {name!r} is upside down: [{lower}, {upper}].")
        self.scalars[name] = {
            "value": strict_json.number(f"scalar {name!r}", value),
            "low": lower,
            "high": upper,
            "level": level,
            "unit": unit,
            "count": count,
            "note": note,
        }

    def table(self, name: str, columns: Mapping[str, Any]) -> None:
        """Keep a table or curve: named columns of equal length of numbers, texts or flags.

        Lists, arrays and tensors are accepted; None stands for an absent cell. Raises
        `InputError` for unequal lengths, nested cells, mixed kinds and a name in use.
        """
        if name in self.tables:
            raise InputError(f"the record has a table {name!r} already; give each its own name.")
        table = {key: strict_json.column(f"{name}.{key}", cells) for key, cells in columns.items()}
        lengths = {key: len(cells) for key, cells in table.items()}
        if len(set(lengths.values())) > 1:
            raise InputError(f"the columns of table {name!r} differ in length: {lengths}.")
        self.tables[name] = table

    def value(self, name: str) -> float | int | bool:
        """Return the value of a scalar; raises `UnknownNameError` with the near match."""
        return value(self.as_dict(), name)

    def as_dict(self) -> dict[str, Any]:
        """Return the record as it is read back from its file, with no provenance yet."""
        return {
            "schema": SCHEMA,
            "chapter": self.chapter,
            "parameters": self.parameters,
            "scalars": self.scalars,
            "tables": self.tables,
            "provenance": {},
        }

    def finish(self) -> None:
        """Print one line and, in a run started by robustkit, write the record and its inputs."""
        folder = os.environ.get(RUN_FOLDER)
        if folder:
            read_files = (self._read or inputs.FirstRead()).entries()
            digests = {name: entry["digest"] for name, entry in read_files.items()}
            write_atomic(Path(folder) / "inputs.json", strict_json.dumps(read_files))
            record = {**self.as_dict(), "provenance": provenance.collect(digests, self._checkout)}
            write(Path(folder) / "record.json", record)
        print(f"record {self.chapter}: {len(self.scalars)} scalars, {len(self.tables)} tables")


def value(record: Mapping[str, Any], name: str) -> float | int | bool:
    """Return the value of a scalar of a record; raises `UnknownNameError` with the near match."""
    if name not in record["scalars"]:
        raise unknown("scalar", name, record["scalars"])
    found: float | int | bool = record["scalars"][name]["value"]
    return found


def frame(record: Mapping[str, Any], name: str) -> Any:
    """Return a table of a record as a pandas DataFrame; raises `UnknownNameError`."""
    import pandas

    if name not in record["tables"]:
        raise unknown("table", name, record["tables"])
    return pandas.DataFrame(record["tables"][name])


def side_by_side(first: Mapping[str, Any] | None, second: Mapping[str, Any], name: str) -> Any:
    """Return a table of two records as one DataFrame, each row under the profile it was made at.

    A record that is None or lacks the table, or has it empty, is left out; where both do, the
    DataFrame is empty.
    """
    import pandas

    frames = {
        record["parameters"]["profile"]: frame(record, name)
        for record in (first, second)
        if record is not None and name in record["tables"]
    }
    filled = {profile: table for profile, table in frames.items() if len(table)}
    return pandas.concat(filled) if filled else pandas.DataFrame()


def read(path: Path) -> dict[str, Any]:
    """Read a record; raises `DataError` that names a file that is absent, truncated or foreign."""
    return decode(strict_json.read(path), str(path))


def write(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record, whole or not at all."""
    write_atomic(path, strict_json.dumps(record))


def decode(stored: Any, source: str) -> dict[str, Any]:
    """Return the record of parsed JSON, numbers back in place; `source` names it in errors.

    Raises `DataError` when it is not a record of this schema.
    """
    if not isinstance(stored, dict) or stored.get("schema") != SCHEMA:
        raise DataError(f"{source} is not a record of schema {SCHEMA}. Run the chapter again.")
    try:
        kinds = [type(stored[key]) for key in ("chapter", "parameters", "provenance")]
        if kinds != [str, dict, dict]:
            raise TypeError("chapter, parameters or provenance is of the wrong kind")
        scalars = {name: _scalar_back(scalar) for name, scalar in stored["scalars"].items()}
        tables = {
            name: {key: strict_json.column_back(cells) for key, cells in table.items()}
            for name, table in stored["tables"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{source} is a damaged record: {error!r}. Run the chapter again."
        ) from error
    return {**stored, "scalars": scalars, "tables": tables}


def committed(chapter: str, profile: str) -> dict[str, Any] | None:
    """Return the committed record of a chapter at a profile, or None when it was never run.

    The smoke record is in the executed notebook; the others lie under `book/results/`. Raises
    `UnknownNameError` for an unknown profile, `DataError` for a damaged file.
    """
    if profile not in project.PROFILES:
        raise unknown("profile", profile, project.PROFILES)
    if profile == "smoke":
        return embedded(project.notebook_path(chapter))
    path = project.results_path(chapter, profile)
    return read(path) if path.exists() else None


def embedded(notebook: Path) -> dict[str, Any] | None:
    """Return the record that an executed notebook carries, or None; raises `DataError`."""
    if not notebook.exists():
        return None
    try:
        stored = strict_json.read(notebook)["metadata"].get("robustkit", {}).get("record")
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{notebook} is not a notebook. Run the chapter again.") from error
    return None if stored is None else decode(stored, str(notebook))


def _bound(name: str, given: Any) -> float | None:
    if given is None:
        return None
    bound = float(strict_json.number(f"a bound of scalar {name!r}", given))
    # An undefined bound is no bound: null in the file means both.
    return None if math.isnan(bound) else bound


def _level_and_count(name: str, interval: Any) -> tuple[float | None, int | None]:
    level, count = getattr(interval, "level", None), getattr(interval, "count", None)
    return (
        None
        if level is None
        else float(strict_json.number(f"the level of scalar {name!r}", level)),
        # A tuple has a method of this name, and zero observations stand for an unknown number.
        count if isinstance(count, int) and count > 0 else None,
    )


def _scalar_back(stored: dict[str, Any]) -> dict[str, Any]:
    low, high = (
        None if stored[key] is None else float(strict_json.number_back(stored[key]))
        for key in ("low", "high")
    )
    return {**stored, "value": strict_json.number_back(stored["value"]), "low": low, "high": high}
