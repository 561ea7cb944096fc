"""The directive `{scoreboard}`: every claim with its numbers and verdict, or a badge a chapter.

All is made of document nodes, never of HTML, so whatever a claims file says is shown as text.
"""

from collections import Counter
from itertools import groupby
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from robustkit import claims, project
from robustkit.claims_table import Line
from robustkit.errors import RobustkitError

from . import coverage, recorded
from .live import mark_live

PAGE = "book/scoreboard"
STATUSES = (claims.REPRODUCED, claims.DIFFERS, claims.NOT_JUDGED, claims.NOT_RUN)


class Scoreboard(SphinxDirective):
    """One table a chapter; with `:summary:` one badge a chapter, which leads to its rows."""

    option_spec = {"summary": directives.flag}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        mark_live(self.env)
        try:
            rows = coverage.scoreboard()
            if not rows:
                return [nodes.paragraph("", "No chapter has claims yet.")]
            chapters = {name: list(own) for name, own in groupby(rows, lambda r: r.claim.chapter)}
            if "summary" in self.options:
                return [self.summary(chapters)]
            return [self.chapter_table(name, own) for name, own in chapters.items()]
        except RobustkitError as error:
            raise self.error(f"scoreboard: {error}") from error

    def summary(self, chapters: dict[str, list[claims.ScoreRow]]) -> nodes.bullet_list:
        """Return each chapter with its badge."""
        page = self.relative(PAGE)
        badges = {name: badge(own, f"{page}?chapter={name}") for name, own in chapters.items()}
        items = [
            nodes.list_item("", nodes.paragraph("", "", *self.chapter_link(name), made))
            for name, made in badges.items()
        ]
        return nodes.bullet_list("", *items, classes=["robustkit-badges"])

    def chapter_table(self, name: str, rows: list[claims.ScoreRow]) -> nodes.container:
        """Return the table of the claims of one chapter, in a box that links can lead to."""
        written = claims.table(rows, "")
        cells = {
            scalar: f"{self.relative(f'notebooks/{name}')}#{target}"
            for scalar, target in recorded.targets(name).items()
        }
        lines = [
            (f"claim-{row.claim.id}", self.cells(row, line, cells.get(row.claim.ours, "")))
            for row, line in zip(rows, written.lines, strict=True)
        ]
        caption = [nodes.Text("Claims of "), *self.chapter_link(name), nodes.Text(".")]
        headings = [[nodes.Text(text)] for text in ("claim", "paper", "measured here", "verdict")]
        return boxed(f"claims-{name}", table("scoreboard", caption, headings, lines))

    def cells(self, row: claims.ScoreRow, line: Line, cell: str) -> list[list[nodes.Node]]:
        """Return the cells of a claim: what and where, the paper's value, ours, the verdict."""
        source = row.claim.source
        place = nodes.inline("", "", classes=["place"])
        place += [*self.markdown(f"{{cite:t}}`{source.key}`"), nodes.Text(f", {source.where}")]
        return [
            [nodes.Text(row.claim.statement), nodes.Text(" "), place],
            [nodes.Text(line.cells[0])],
            [
                *(part for profile in project.PROFILES for part in measurement(row, profile)),
                *([link(cell, "the cell that records it", "recorded")] if cell else []),
            ],
            [
                verdict(row.overall.status, line.status),
                nodes.Text(" "),
                nodes.inline("", line.detail, classes=["reason"]),
            ],
        ]

    def chapter_link(self, name: str) -> list[nodes.Node]:
        return self.markdown(f"{{doc}}`/notebooks/{name}`")

    def relative(self, page: str) -> str:
        return self.env.app.builder.get_relative_uri(self.env.docname, page)

    def markdown(self, text: str) -> list[nodes.Node]:
        parsed, _ = self.state.inline_text(text, self.lineno)
        return parsed


def measurement(row: claims.ScoreRow, profile: str) -> list[nodes.Node]:
    """Return our number at one profile and its verdict there; nothing where none is to be had."""
    judged = row.verdicts[profile]
    if profile not in row.claim.profiles and judged.value is None:
        return []
    line = nodes.inline("", "", classes=["measured"])
    line += [nodes.inline("", profile, classes=["profile"]), nodes.Text(f" {judged} ")]
    if judged.value is not None:
        line += verdict(judged.status)
    return [line]


def badge(rows: list[claims.ScoreRow], address: str) -> nodes.inline:
    """Return how many rows of a chapter have each verdict, as links that filter the scoreboard.

    `address` is that of the scoreboard with the chapter as a query; without a script the links
    lead to the whole table of the chapter.
    """
    counted = Counter(row.overall.status for row in rows)
    made = nodes.inline("", "", classes=["robustkit-badge"])
    for status in STATUSES:
        text = f"{counted[status]} {status}"
        query = f"{address}&verdict={status.replace(' ', '-')}#claims-{rows[0].claim.chapter}"
        shown = verdict(status, text)
        made += [nodes.Text(" "), link(query, shown) if counted[status] else shown]
    return made


def boxed(name: str, content: nodes.Node) -> nodes.container:
    """Return content in a box with an identifier of ours; that of a table is Sphinx's."""
    return nodes.container("", content, ids=[name], classes=["scoreboard-box"])


def link(address: str, text: str | nodes.inline, kind: str = "") -> nodes.inline:
    """Return a link within the site, as a line of its own class if one is given."""
    shown = nodes.Text(text) if isinstance(text, str) else text
    found = nodes.reference("", "", shown, refuri=address, internal=True)
    return nodes.inline("", "", found, classes=[kind] if kind else [])


def verdict(status: str, text: str = "") -> nodes.inline:
    """Return a verdict as text, with the class that adds its sign and colour."""
    kind = status.replace(" ", "-")
    return nodes.inline("", text or status, classes=["robustkit-verdict", f"robustkit-{kind}"])


def table(
    name: str,
    caption: list[nodes.Node],
    headings: list[list[nodes.Node]],
    lines: list[tuple[str, list[list[Any]]]],
) -> nodes.table:
    """Return a table of a class with a caption and a heading for each column and row.

    A line is an identifier (or an empty text) and one list of nodes for each column.
    """
    group = nodes.tgroup(cols=len(headings))
    group += [nodes.colspec(colwidth=1, stub=int(i == 0)) for i in range(len(headings))]
    group += nodes.thead("", _row("", headings))
    group += nodes.tbody("", *(_row(identifier, cells) for identifier, cells in lines))
    return nodes.table("", nodes.title("", "", *caption), group, classes=name.split())


def _row(identifier: str, cells: list[list[Any]]) -> nodes.row:
    entries = [nodes.entry("", nodes.paragraph("", "", *cell)) for cell in cells]
    return nodes.row("", *entries, ids=[identifier] if identifier else [])
