"""The block 'How this page was made' at the foot of each page that shows a record."""

from collections.abc import Callable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from robustkit import project, records
from robustkit.errors import RobustkitError

from .live import mark_live
from .values import own_chapter

logger = logging.getLogger(__name__)

FOLDER = "_static/records"
# Pages that are no chapter, and the record that each shows.
OF_PAGES = {"book/reliability": "faults"}
TITLES = {
    "smoke": "Smoke: the numbers computed by the cells of this page",
    "laptop": "Laptop: a record kept in the repository",
    "paper": "Paper: a record kept in the repository",
}


def append_block(app: Sphinx, document: nodes.document) -> None:
    """Put the block at the end of a page that has a record (event `doctree-read`)."""
    chapter = own_chapter(app.env.docname) or OF_PAGES.get(app.env.docname, "")
    try:
        made = found(chapter) if chapter else {}
    except RobustkitError as error:
        logger.warning("%s", error, location=app.env.docname)
        return
    if not made:
        return
    mark_live(app.env)
    html = block(made, lambda profile: f"../{FOLDER}/{profile}/{chapter}.json")
    place = next(iter(document.findall(nodes.section)), document)
    place += nodes.raw("", html, format="html")


def found(chapter: str) -> dict[str, dict[str, Any]]:
    """Return the committed records of a chapter by profile."""
    every = {profile: records.committed(chapter, profile) for profile in project.PROFILES}
    return {profile: record for profile, record in every.items() if record is not None}


def copy_records(site: Path) -> None:
    """Place every committed record where the blocks link to."""
    for chapter in [*project.chapters(), *OF_PAGES.values()]:
        for profile, record in found(chapter).items():
            records.write(site / FOLDER / profile / f"{chapter}.json", record)


def block(made: Mapping[str, Mapping[str, Any]], address: Callable[[str], str]) -> str:
    """Return the closed block for records by profile, all text escaped."""
    parts = []
    for profile, record in made.items():
        rows = "".join(
            f"<dt>{escape(name)}</dt><dd>{content}</dd>" for name, content in _rows(record)
        )
        parts.append(
            f'<p class="rubric">{escape(TITLES.get(profile, profile))}</p><dl>{rows}</dl>'
            f'<p><a href="{escape(address(profile))}">The record as JSON</a></p>'
        )
    return (
        '<details class="provenance"><summary>How this page was made</summary>'
        f"{''.join(parts)}</details>"
    )


def _rows(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    made = record["provenance"]
    yield "Parameters", _codes(f"{name}={given}" for name, given in record["parameters"].items())
    if made.get("commit"):
        changed = ", with changes that were not committed" if made.get("changed") else ""
        yield "Commit", f"<code>{escape(str(made['commit'])[:12])}</code>{changed}"
    if made.get("python"):
        versions = {"python": made["python"], "robustkit": made.get("robustkit", "")}
        versions |= made.get("packages", {})
        yield "Versions", _codes(f"{name} {given}" for name, given in versions.items())
    hardware = [
        made.get("cpu"),
        f"{made['threads']} of {made['cores']} cores" if made.get("threads") else None,
        made.get("gpu"),
        made.get("platform"),
    ]
    if any(hardware):
        yield "Hardware", escape(", ".join(str(part) for part in hardware if part))
    if made.get("wall_seconds") is not None:
        yield "Time", escape(duration(made["wall_seconds"]))
    memory = [
        f"{made[key]} MiB{where}"
        for key, where in (("peak_memory_mib", ""), ("gpu_peak_memory_mib", " on the GPU"))
        if made.get(key) is not None
    ]
    if memory:
        yield "Peak memory", escape(", ".join(memory))
    if made.get("notebook"):
        yield "Notebook", _codes([f"sha256 {made['notebook'][:12]}"])
    inputs = made.get("inputs", {})
    sources = [name for name in inputs if name.startswith("robustkit/")]
    read = [name for name in inputs if name not in sources]
    if read:
        yield "Data and weights", _codes(f"{name} {inputs[name][:12]}" for name in read)
    if sources:
        yield "Package files", f"{len(sources)}, with their digests in the record"


def duration(seconds: float) -> str:
    """Return a time in the unit a person would use."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _codes(texts: Any) -> str:
    return " ".join(f"<code>{escape(str(text))}</code>" for text in texts)
