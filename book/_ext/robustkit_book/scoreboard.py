"""The directive `{scoreboard}`: every claim with its numbers and verdict, or their count.

A table is made of document nodes, never of HTML, so whatever a claims file says is shown as text.
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

from .live import mark_live

STATUSES = (claims.REPRODUCED, claims.DIFFERS, claims.NOT_RUN, claims.NOT_JUDGED)


class Scoreboard(SphinxDirective):
    """One table a chapter; with `:summary:` one table of counts."""

    option_spec = {"summary": directives.flag}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        mark_live(self.env)
        try:
            rows = claims.scoreboard()
        except RobustkitError as error:
            raise self.error(f"scoreboard: {error}") from error
        if not rows:
            return [nodes.paragraph("", "No chapter has claims yet.")]
        chapters = {name: list(found) for name, found in groupby(rows, lambda r: r.claim.chapter)}
        if "summary" in self.options:
            return [self.summary(chapters)]
        return [self.chapter_table(name, found) for name, found in chapters.items()]

    def summary(self, chapters: dict[str, list[claims.ScoreRow]]) -> nodes.table:
        """Return the count of each verdict by chapter."""
        lines = []
        for name, rows in chapters.items():
            counted = Counter(row.overall.status for row in rows)
            cells = [[nodes.Text(str(counted[status]))] for status in STATUSES]
            lines.append(("", [self.chapter_link(name), *cells]))
        headings = [[verdict(status)] for status in STATUSES]
        caption = [nodes.Text("Number of claims by verdict.")]
        return table("scoreboard-summary", caption, [[nodes.Text("chapter")], *headings], lines)

    def chapter_table(self, name: str, rows: list[claims.ScoreRow]) -> nodes.table:
        """Return the table of the claims of one chapter."""
        written = claims.table(rows, "")
        lines = [
            (f"claim-{row.claim.id}", self.cells(row, line))
            for row, line in zip(rows, written.lines, strict=True)
        ]
        caption = [nodes.Text("Claims of "), *self.chapter_link(name), nodes.Text(".")]
        headings = [[nodes.Text(text)] for text in ("claim", "paper", "measured here", "verdict")]
        return table("scoreboard", caption, headings, lines)

    def cells(self, row: claims.ScoreRow, line: Line) -> list[list[nodes.Node]]:
        """Return the cells of a claim: what and where, the paper's value, ours, the verdict."""
        source = row.claim.source
        place = nodes.inline("", "", classes=["place"])
        place += [*self.markdown(f"{{cite:t}}`{source.key}`"), nodes.Text(f", {source.where}")]
        return [
            [nodes.Text(row.claim.statement), nodes.Text(" "), place],
            [nodes.Text(line.cells[0])],
            [part for profile in project.PROFILES for part in measurement(row, profile)],
            [
                verdict(row.overall.status, line.status),
                nodes.Text(" "),
                nodes.inline("", line.detail, classes=["reason"]),
            ],
        ]

    def chapter_link(self, name: str) -> list[nodes.Node]:
        return self.markdown(f"{{doc}}`/notebooks/{name}`")

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
    """Return a table with a caption and a heading for each column and row.

    A line is an identifier (or an empty text) and one list of nodes for each column.
    """
    group = nodes.tgroup(cols=len(headings))
    group += [nodes.colspec(colwidth=1, stub=int(i == 0)) for i in range(len(headings))]
    group += nodes.thead("", _row("", headings))
    group += nodes.tbody("", *(_row(identifier, cells) for identifier, cells in lines))
    return nodes.table("", nodes.title("", "", *caption), group, classes=[name])


def _row(identifier: str, cells: list[list[Any]]) -> nodes.row:
    entries = [nodes.entry("", nodes.paragraph("", "", *cell)) for cell in cells]
    return nodes.row("", *entries, ids=[identifier] if identifier else [])
