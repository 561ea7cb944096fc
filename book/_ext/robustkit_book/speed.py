"""The records that `benchmarks/all.py` writes: their rows in words, and the goals they answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from robustkit import project, records

from .provenance import FOLDER

FOLDERS = {"cpu": "laptop", "gpu": "gpu"}
NAMES = {"cpu": "processor", "gpu": "GPU"}
# What a selection of crops is beside, where others have a peer.
FORWARD = "forward pass"
MET, MISSED, ABSENT = "met", "not met", "not measured"
_UNITS = {
    "share": lambda value: f"{100 * value:.3g}\N{NO-BREAK SPACE}%",
    "times": lambda value: f"{value:.3g}\N{NO-BREAK SPACE}×",
    "ratio": lambda value: f"{value:.3g}",
    "count": lambda value: f"{value:.3g}",
    "copies": lambda value: f"{value:.2g} copies",
    "seconds": lambda value: f"{value:.3g}\N{NO-BREAK SPACE}s",
    "GiB": lambda value: f"{value:.3g}\N{NO-BREAK SPACE}GiB",
}

Made = Mapping[str, Mapping[str, Any] | None]


@dataclass(frozen=True)
class Goal:
    """A goal: what is asked, of which hardware, the scalar that answers it, and its bound."""

    statement: str
    device: str
    by: str
    bound: float
    least: bool
    unit: str

    def asked(self) -> str:
        """Return the bound as text."""
        return f"{'≥' if self.least else '≤'} {_UNITS[self.unit](self.bound)}"

    def judged(self, made: Made) -> tuple[str, str]:
        """Return what was measured as text, and whether the goal is met."""
        record = made[self.device]
        scalar = None if record is None else record["scalars"].get(self.by)
        if scalar is None:
            return "", ABSENT
        value, count = scalar["value"], scalar["count"]
        met = value >= self.bound if self.least else value <= self.bound
        remarks = [f"on {count:,}"] if count else []
        remarks += [scalar["note"]] if scalar["note"] else []
        shown = _UNITS[self.unit](value)
        return f"{shown} ({'; '.join(remarks)})" if remarks else shown, MET if met else MISSED


def committed() -> Made:
    """Return the committed records of the benchmarks by device; None where there is none."""
    folder = project.root() / "book" / "results"
    paths = {device: folder / name / "speed.json" for device, name in FOLDERS.items()}
    return {device: records.read(path) if path.exists() else None for device, path in paths.items()}


def address_of(device: str) -> str:
    """Return where the site has the record of a device, from its root."""
    return f"{FOLDER}/{FOLDERS[device]}/speed.json"


def copy_records(site: Path) -> None:
    """Place the committed records of the benchmarks where the page links to."""
    for device, record in committed().items():
        if record is not None:
            records.write(site / address_of(device), record)


def read(path: Path) -> dict[str, list[Goal]]:
    """Return the goals of the file by chapter; raises `LookupError` for one that is not whole."""
    found = {}
    for part in yaml.safe_load(path.read_text(encoding="utf-8")):
        found[part["chapter"]] = [
            Goal(
                one["statement"],
                one["device"],
                one["by"],
                float(one["at_least"] if "at_least" in one else one["at_most"]),
                "at_least" in one,
                one["unit"],
            )
            for one in part["goals"]
        ]
    return found


def rows_of(record: Mapping[str, Any] | None) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Return the rows of a record by chapter, task and contender, in their order."""
    if record is None:
        return {}
    columns = record["tables"]["rows"]
    # An absent number of a column comes back undefined, which alone differs from itself.
    rows = [
        {key: None if cell != cell else cell for key, cell in zip(columns, cells, strict=True)}
        for cells in zip(*columns.values(), strict=True)
    ]
    return {(row["chapter"], row["task"], row["contender"]): row for row in rows}


def described(row: Mapping[str, Any], record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a row says beside its time, each with its class."""
    said = []
    own = own_pass(record, row["size"])
    costs = []
    if row["reference"] == FORWARD and row["contender"] != FORWARD:
        shares = (f"{100 / row[key]:.3g}" for key in ("times_wall", "times_processor"))
        wall, processor = shares
        said.append((f"{wall}\N{NO-BREAK SPACE}% ({processor}) of a {FORWARD}", "measured"))
    elif row["reference"] and row["reference"] != row["contender"]:
        times = f"{row['times_wall']:.3g}\N{NO-BREAK SPACE}× ({row['times_processor']:.3g})"
        said.append((f"{times} as fast as {row['reference']}", "measured"))
    if own and row["kind"] != "model" and row["reference"] != FORWARD:
        passes = row["wall"] / own
        costs.append(f"{passes:,.0f} of a pass" if passes >= 100 else f"{passes:.3g} of a pass")
    if row["inside"] is not None:
        costs.append(f"{100 * row['inside']:.1f}\N{NO-BREAK SPACE}% in passes")
    if costs:
        said.append((", ".join(costs), "reason"))
    if row["found"]:
        said.append((row["found"], "reason"))
    return said


def own_pass(record: Mapping[str, Any], size: int) -> float | None:
    """Return the seconds of the network's own forward pass of one image of a size."""
    own = [
        row["wall"]
        for row in rows_of(record).values()
        if not row["chapter"] and row["size"] == size and "backward" not in row["contender"]
    ]
    return own[0] if own else None


def seconds(value: float) -> str:
    """Return a time in the unit that keeps it near one."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size:
            return f"{value / size:.3g}\N{NO-BREAK SPACE}{unit}"
    return f"{value / 1e-9:.3g}\N{NO-BREAK SPACE}ns"
