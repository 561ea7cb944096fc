"""What a protocol costs: its images times the seconds an image took, from committed records.

`book/costs.yml` is a list of entries:

- `work`: what is done, in words; `images`: how many images it is done to;
- `chapter`: whose records say how long one takes, and where: `scalar`, its name, or `table` with
  `column` and `where`, the cells that name the row;
- `seconds`, optional: how many seconds the unit of that number is, 0.001 for milliseconds.

A record counts for the device it was made on. Nothing is guessed: where no record has the rate, the
table says which is needed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from robustkit import project, records
from robustkit.errors import DataError

HEADINGS = (
    "work",
    "images",
    "seconds an image, CPU",
    "CPU core hours",
    "seconds an image, GPU",
    "GPU hours",
    "shards",
)
# A job of this length fits the limits of most clusters, and loses little when it is killed.
SHARD_HOURS = 4.0


@dataclass(frozen=True)
class Work:
    """One line of the protocol, and where its rate stands in the records of a chapter."""

    work: str
    images: int
    chapter: str
    scalar: str = ""
    table: str = ""
    column: str = ""
    where: Mapping[str, Any] = field(default_factory=dict)
    seconds: int | float = 1.0


@dataclass(frozen=True)
class Rate:
    """Seconds that one image took on a device, and how many of its cores worked on it."""

    seconds: float
    cores: int


def load() -> list[Work]:
    """Return the work of `book/costs.yml`; raises `DataError` that names the entry at fault."""
    file = project.root() / "book" / "costs.yml"
    try:
        entries = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"{file.name} cannot be read: {error}") from error
    if not isinstance(entries, list):
        raise DataError(f"{file.name} must be a list of entries.")
    return [_work(entry, f"{file.name}, entry {at}") for at, entry in enumerate(entries, 1)]


def rate(work: Work, device: str) -> Rate | None:
    """Return the rate of `work` on "cpu" or "gpu" from the largest committed run that has it."""
    found = None
    for profile in ("laptop", "paper"):
        record = records.committed(work.chapter, profile)
        if record is None:
            continue
        made = record["provenance"]
        seconds = _seconds(work, record)
        # What was collected has no device of its own.
        on_gpu = {"gpu" in machine for machine in made.get("shards", [made])}
        if seconds is not None and on_gpu == {device == "gpu"}:
            cores = made.get("threads") or made.get("cores") or 1
            found = Rate(seconds, 1 if device == "gpu" else cores)
    return found


def table() -> list[list[str]]:
    """Return the cells of the table of costs, one row for each work, under `HEADINGS`.

    Shards are as many as keep each within `SHARD_HOURS`, on the machine of the GPU record, or of
    the CPU record where there is no other.
    """
    rows = []
    for work in load():
        cells, shards = [work.work, f"{work.images:,}"], ""
        for device in ("cpu", "gpu"):
            found = rate(work, device)
            if found is None:
                cells += [f"needs a {device.upper()} record", ""]
                continue
            hours = work.images * found.seconds / 3600
            cells += [f"{found.seconds:.3g}", f"{hours * found.cores:,.3g}"]
            kind = device.upper()
            shards = f"{math.ceil(hours / SHARD_HOURS)} on the {kind} machine"
        rows.append([*cells, shards])
    return rows


def _work(entry: Any, where: str) -> Work:
    if not isinstance(entry, dict):
        raise DataError(f"{where} must have keys and values, got {entry!r}.")
    try:
        work = Work(**entry)
    except TypeError as error:
        raise DataError(f"{where}: {error}; see robustkit.costs for its keys.") from error
    kinds = (
        isinstance(work.images, int) and work.images > 0,
        isinstance(work.seconds, int | float) and work.seconds > 0,
        bool(work.scalar) != bool(work.table and work.column and work.where),
    )
    if not all(kinds):
        raise DataError(
            f"{where}: images and seconds must be positive numbers, and the rate is either a "
            "scalar or a table with column and where."
        )
    return work


def _seconds(work: Work, record: Mapping[str, Any]) -> float | None:
    if work.scalar:
        found = record["scalars"].get(work.scalar)
        return None if found is None else work.seconds * found["value"]
    columns = record["tables"].get(work.table, {})
    if work.column not in columns or not work.where.keys() <= columns.keys():
        return None
    for row, value in enumerate(columns[work.column]):
        if all(columns[name][row] == cell for name, cell in work.where.items()):
            return work.seconds * float(value)
    return None
