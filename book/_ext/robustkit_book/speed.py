"""The directives `{speed-goals}`, `{speed-table}` and `{speed-made}` of the speed page.

They show the records that `benchmarks/all.py` writes, one of a processor and one of a GPU, side by
side; where there is none, they say so. All is made of document nodes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from robustkit import project, records
from robustkit.errors import RobustkitError

from .live import mark_live
from .provenance import FOLDER
from .scoreboard import boxed, link, table

FOLDERS = {"cpu": "laptop", "gpu": "gpu"}
NAMES = {"cpu": "processor", "gpu": "GPU"}
# What a selection of crops is beside, where others have a peer.
FORWARD = "forward pass"
MET, MISSED, ABSENT = "met", "not met", "not measured"
_SIGNS = {MET: "reproduced", MISSED: "differs", ABSENT: "not-run"}
_KINDS = {"peer": "another package", "published": "the published code", "model": "the network"}
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


class _Speed(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        mark_live(self.env)
        try:
            return self.shown(committed())
        except (RobustkitError, OSError, LookupError, TypeError, yaml.YAMLError) as error:
            raise self.error(f"{self.name}: {error!r}") from error

    def shown(self, made: Made) -> list[nodes.Node]:
        """Return what the directive stands for."""
        raise NotImplementedError

    def chapter_link(self, name: str) -> list[nodes.Node]:
        if not name:
            return [nodes.Text("The networks themselves")]
        parsed, _ = self.state.inline_text(f"{{doc}}`/notebooks/{name}`", self.lineno)
        return parsed


class SpeedGoals(_Speed):
    """One table of all goals: the bound, what was measured, met or not."""

    def shown(self, made: Made) -> list[nodes.Node]:
        lines = []
        for chapter, goals in read(project.root() / "book" / "speed.yml").items():
            for position, goal in enumerate(goals):
                value, status = goal.judged(made)
                above = [*self.chapter_link(chapter), nodes.Text(": ")] if not position else []
                measured = value or f"no number of a {NAMES[goal.device]} yet"
                cells = [
                    [*above, nodes.Text(goal.statement)],
                    [nodes.Text(goal.asked())],
                    [nodes.Text(measured), nodes.Text(" "), sign(status)],
                ]
                lines.append(("", cells))
        headings = [[nodes.Text(text)] for text in ("goal", "asked", "measured")]
        caption = [nodes.Text(" ".join(_tally(lines)))]
        return [boxed("speed-goals", table("scoreboard speed-goals", caption, headings, lines))]


class SpeedTable(_Speed):
    """One table of all benchmarks: a row a contender, a column a record."""

    def shown(self, made: Made) -> list[nodes.Node]:
        rows = {device: rows_of(record) for device, record in made.items()}
        keys = list(dict.fromkeys(key for own in rows.values() for key in own))
        if not keys:
            return [nodes.paragraph("", "Not run yet: there is no record of the benchmarks.")]
        lines = []
        for (chapter, _task), own in groupby(keys, key=lambda key: key[:2]):
            for position, key in enumerate(own):
                first = next(rows[device][key] for device in rows if key in rows[device])
                head: list[nodes.Node] = []
                if not position:
                    title = nodes.inline("", "", classes=["task"])
                    title += [*self.chapter_link(chapter), nodes.Text(f". {first['task']}, ")]
                    title += nodes.Text(f"one {first['unit']}")
                    head = [title, nodes.Text(" ")]
                head.append(nodes.Text(first["contender"]))
                if first["kind"] in _KINDS:
                    where = nodes.inline("", _KINDS[first["kind"]], classes=["place"])
                    head += [nodes.Text(" "), where]
                cells = [self.cell(rows[device].get(key), made[device]) for device in rows]
                lines.append(("", [head, *cells]))
        headings = [[nodes.Text(text)] for text in ("what", *(f"on a {n}" for n in NAMES.values()))]
        caption = [nodes.Text("Time, and how many times as fast as what it is compared with.")]
        return [boxed("speed-table", table("scoreboard speed", caption, headings, lines))]

    def cell(
        self, row: Mapping[str, Any] | None, record: Mapping[str, Any] | None
    ) -> list[nodes.Node]:
        """Return the cell of one contender on one kind of hardware."""
        if record is None or row is None:
            return [nodes.inline("", "not run", classes=["reason"])]
        if row["wall"] is None:
            return [nodes.inline("", row["status"], classes=["reason"])]
        unit = row["unit"].partition(",")[0]
        count = f" over {row['count']:,.0f} {unit}{'s' if row['count'] > 1 else ''}"
        first = nodes.inline("", "", classes=["measured"])
        first += nodes.strong("", seconds(row["wall"]))
        first += nodes.inline("", count, classes=["profile-list"])
        found: list[nodes.Node] = [first, nodes.Text(" ")]
        for part, kind in described(row, record):
            found += [nodes.inline("", part, classes=[kind]), nodes.Text(" ")]
        return found


class SpeedMade(_Speed):
    """The hardware, versions, sizes and commit of each record."""

    def shown(self, made: Made) -> list[nodes.Node]:
        lines = []
        for device, record in made.items():
            parts: list[nodes.Node] = []
            for text in _made(record) if record else ["not run"]:
                parts += [nodes.inline("", text, classes=["measured"]), nodes.Text(" ")]
            for text in _sizes(record) if record else []:
                line = nodes.inline("", "", nodes.literal("", text), classes=["measured"])
                parts += [line, nodes.Text(" ")]
            if record:
                page = self.env.app.builder.get_relative_uri(self.env.docname, "index")
                address = f"{page.removesuffix('index.html')}{address_of(device)}"
                parts.append(link(address, "The record as JSON", "recorded"))
            lines.append(("", [[nodes.Text(NAMES[device])], parts]))
        headings = [[nodes.Text(text)] for text in ("record", "made with")]
        caption = [nodes.Text("The records behind this page.")]
        return [boxed("speed-made", table("scoreboard speed-made", caption, headings, lines))]


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


def sign(status: str) -> nodes.inline:
    """Return whether a goal is met, with the sign and colour of a verdict."""
    return nodes.inline("", status, classes=["robustkit-verdict", f"robustkit-{_SIGNS[status]}"])


def _tally(lines: list[tuple[str, list[list[nodes.Node]]]]) -> list[str]:
    statuses = [cells[-1][-1].astext() for _, cells in lines]
    counts = ", ".join(f"{statuses.count(one)} {one}" for one in _SIGNS)
    return [f"{len(lines)} goals: {counts}."]


def _made(record: Mapping[str, Any]) -> list[str]:
    made, given = record["provenance"], record["parameters"]
    hardware = [made.get("cpu"), f"{given['threads']} of {made.get('cores')} cores"]
    hardware += [made["gpu"]] if made.get("gpu") else []
    changed = ", with changes that were not committed" if made.get("changed") else ""
    versions = {"python": made["python"], "robustkit": made["robustkit"]} | made["packages"]
    return [
        ", ".join(str(part) for part in hardware if part),
        f"commit {str(made.get('commit', 'unknown'))[:12]}{changed}",
        ", ".join(f"{name} {version}" for name, version in versions.items()),
        f"in {made['wall_seconds'] / 60:.1f} minutes"
        + (", small sizes that only try the page" if given["quick"] else ""),
    ]


def _sizes(record: Mapping[str, Any]) -> list[str]:
    sizes = record["tables"]["sizes"]
    both = zip(sizes["benchmark"], sizes["sizes"], strict=True)
    return [f"{name} {options}".strip() for name, options in both]
