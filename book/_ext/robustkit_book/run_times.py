"""The directives `{run-times}` and `{environment}`: what each chapter took and ran with."""

from collections.abc import Iterator, Mapping
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from robustkit import project
from robustkit.errors import RobustkitError

from .live import mark_live
from .provenance import FOLDER, duration, found
from .scoreboard import boxed, link, table

# By chapter, then by profile.
Made = Mapping[str, Mapping[str, Mapping[str, Any]]]


class RunTimes(SphinxDirective):
    """One table: a row a chapter, with time and peak memory at each profile, and their sums."""

    def run(self) -> list[nodes.Node]:
        mark_live(self.env)
        try:
            made = {name: found(name) for name in project.chapters()}
        except RobustkitError as error:
            raise self.error(f"{self.name}: {error}") from error
        return [self.shown(made)]

    def shown(self, made: Made) -> nodes.Node:
        """Return the table for the records of every chapter."""
        lines = [
            ("", [self.chapter_link(name), *self.cells(name, own)]) for name, own in made.items()
        ]
        total = [
            [nodes.Text(duration(sum(seconds)) if seconds else "not run")]
            for profile in project.PROFILES
            for seconds in [[time for own in made.values() for time in _seconds(own, profile)]]
        ]
        lines.append(("", [[nodes.Text("Together")], *total]))
        headings = [[nodes.Text(text)] for text in ("chapter", *project.PROFILES)]
        caption = [nodes.Text("Time by the clock and peak memory of the process, at each profile.")]
        return boxed("run-times", table("scoreboard run-times", caption, headings, lines))

    def cells(self, name: str, own: Mapping[str, Mapping[str, Any]]) -> Iterator[list[nodes.Node]]:
        """Yield the cell of each profile: a time that leads to the record, memory and hardware."""
        page = self.env.app.builder.get_relative_uri(self.env.docname, "index")
        for profile in project.PROFILES:
            if profile not in own:
                yield [nodes.inline("", "not run", classes=["reason"])]
                continue
            made = own[profile]["provenance"]
            address = f"{page.removesuffix('index.html')}{FOLDER}/{profile}/{name}.json"
            seconds = made.get("wall_seconds")
            time = "time unknown" if seconds is None else duration(seconds)
            parts = [link(address, time, "measured"), nodes.Text(" ")]
            for text in described(made):
                parts += [nodes.inline("", text, classes=["reason"]), nodes.Text(" ")]
            yield parts

    def chapter_link(self, name: str) -> list[nodes.Node]:
        parsed, _ = self.state.inline_text(f"{{doc}}`/notebooks/{name}`", self.lineno)
        return parsed


class Environment(RunTimes):
    """One table: the versions, processors and systems of all records, and who had them."""

    def shown(self, made: Made) -> nodes.Node:
        held: dict[str, dict[str, list[str]]] = {}
        for name, own in made.items():
            for profile, record in own.items():
                for what, value in facts(record["provenance"]):
                    held.setdefault(what, {}).setdefault(value, []).append(f"{name[:2]} {profile}")
        every = sum(map(len, made.values()))
        lines = [
            ("", [[nodes.Text(what)], self.values(values, every)]) for what, values in held.items()
        ]
        headings = [
            [nodes.Text(text)] for text in ("what", "version or kind, and the runs that had it")
        ]
        caption = [nodes.Text(f"What the {every} records of the chapters were made with.")]
        return boxed("environment", table("scoreboard environment", caption, headings, lines))

    def values(self, values: Mapping[str, list[str]], every: int) -> list[nodes.Node]:
        """Return the values of one fact, each on its line."""
        parts: list[nodes.Node] = []
        for value, runs in values.items():
            where = "all" if len(runs) == every else ", ".join(runs)
            line = nodes.inline("", f"{value} ", classes=["measured"])
            line += nodes.inline("", f"({where})", classes=["profile-list"])
            parts += [line, nodes.Text(" ")]
        return parts


def described(made: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a run needed: memory, threads and processor."""
    if made.get("peak_memory_mib") is not None:
        yield memory(made["peak_memory_mib"])
    if made.get("gpu_peak_memory_mib") is not None:
        yield f"{memory(made['gpu_peak_memory_mib'])} on the GPU"
    if made.get("threads"):
        yield f"{made['threads']} of {made['cores']} cores"


def facts(made: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a record says of its environment, as names and values."""
    for what, key in (("processor", "cpu"), ("GPU", "gpu"), ("system", "platform")):
        if made.get(key):
            yield what, str(made[key])
    for what in ("python", "robustkit"):
        if made.get(what):
            yield what, str(made[what])
    yield from made.get("packages", {}).items()
    if made.get("commit"):
        yield "commit", str(made["commit"])[:12]


def memory(mebibytes: float) -> str:
    """Return a size in the unit a person would use."""
    if mebibytes < 1024:
        return f"{mebibytes:.0f}\N{NO-BREAK SPACE}MiB"
    return f"{mebibytes / 1024:.1f}\N{NO-BREAK SPACE}GiB"


def _seconds(own: Mapping[str, Mapping[str, Any]], profile: str) -> list[float]:
    record = own.get(profile)
    seconds = None if record is None else record["provenance"].get("wall_seconds")
    return [] if seconds is None else [seconds]
