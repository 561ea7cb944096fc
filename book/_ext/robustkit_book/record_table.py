"""The directive `{record-table}`: a table of a committed record, on any page.

    ```{record-table} faults/laptop.tasks
    The caption.
    ```

The first column names the rows. All is made of document nodes, so what a record says is text.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from robustkit import records
from robustkit.errors import InputError, RobustkitError, unknown

from .live import mark_live
from .scoreboard import table


class RecordTable(SphinxDirective):
    """One table; its argument is chapter/profile.name, its content the caption."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        mark_live(self.env)
        caption, _ = self.state.inline_text(" ".join(self.content), self.lineno)
        try:
            return [drawn(found(self.arguments[0]), caption)]
        except RobustkitError as error:
            raise self.error(f"record-table: {error}") from error


def found(text: str) -> Mapping[str, Sequence[Any]]:
    """Return the columns that `text` asks for, as in `faults/laptop.tasks`.

    Raises `RobustkitError` for a text that cannot be read and for a record or table that is not
    there.
    """
    chapter, _, rest = text.partition("/")
    profile, _, name = rest.partition(".")
    if not name:
        raise InputError(f"cannot read {text!r}: write chapter/profile.table.")
    record = records.committed(chapter, profile)
    if record is None:
        raise InputError(f"there is no {profile} record of chapter {chapter!r}.")
    if name not in record["tables"]:
        raise unknown("table", name, record["tables"])
    columns: Mapping[str, Sequence[Any]] = record["tables"][name]
    return columns


def drawn(columns: Mapping[str, Sequence[Any]], caption: list[nodes.Node]) -> nodes.table:
    """Return columns as a table; an underscore in the name of one is a space."""
    headings = [[nodes.Text(name.replace("_", " "))] for name in columns]
    rows = zip(*columns.values(), strict=True)
    lines = [("", [[nodes.Text(_written(cell))] for cell in row]) for row in rows]
    return table("scoreboard record-table", caption, headings, lines)


def _written(cell: Any) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)
