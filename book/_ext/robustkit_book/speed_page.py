"""The directives `{speed-goals}`, `{speed-table}` and `{speed-made}` of the speed page.

They show the records of the benchmarks, one of a processor and one of a GPU, side by side; where
there is none, they say so. All is made of document nodes.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import groupby
from typing import Any

import yaml
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from robustkit import project
from robustkit.errors import RobustkitError

from .live import mark_live
from .scoreboard import boxed, link, table
from .speed import (
    ABSENT,
    MET,
    MISSED,
    NAMES,
    Made,
    address_of,
    committed,
    described,
    read,
    rows_of,
    seconds,
)

_SIGNS = {MET: "reproduced", MISSED: "differs", ABSENT: "not-run"}
_KINDS = {"peer": "another package", "published": "the published code", "model": "the network"}


class _Speed(SphinxDirective, ABC):
    def run(self) -> list[nodes.Node]:
        mark_live(self.env)
        try:
            return self.shown(committed())
        except (RobustkitError, OSError, LookupError, TypeError, yaml.YAMLError) as error:
            raise self.error(f"{self.name}: {error!r}") from error

    @abstractmethod
    def shown(self, made: Made) -> list[nodes.Node]:
        """Return what the directive stands for."""

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
        tasks = list(dict.fromkeys(key[:2] for key in keys))
        # What only one of the records has stands with its task all the same.
        keys.sort(key=lambda key: tasks.index(key[:2]))
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
