"""Where a number is made: the cell of a chapter that records a scalar, and a target for it.

Neither notebook nor record says which cell called `record.scalar`, so it is worked out from both.
The source of a cell gives the names it can record: a text, or an f-string, whose braces match
anything. A function counts in the cells that call it, not in the one that defines it. What is left
open by that, the record decides: it keeps its scalars in the order of the cells.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from robustkit import project, records, strict_json
from robustkit.errors import RobustkitError

from .values import own_chapter

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cell:
    """A code cell that records: its place in the notebook, its target, what its source names."""

    index: int
    target: str
    patterns: tuple[str, ...]
    texts: frozenset[str]

    def fit(self, name: str) -> int | None:
        """Return how closely the source names a scalar (letters it spells out), or None."""
        fits = []
        for pattern in self.patterns:
            match = re.fullmatch(pattern, name)
            if match:
                # Letters under a brace count when the cell has them as a text, such as a key.
                open_letters = sum(len(part) for part in match.groups() if part not in self.texts)
                fits.append(len(name) - open_letters)
        return max(fits, default=None)


def recording_cells(notebook: Mapping[str, Any]) -> list[Cell]:
    """Return the code cells of a notebook, as parsed JSON, that record scalars."""
    functions: dict[str, list[str]] = {}
    found = []
    for index, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        try:
            tree = ast.parse(source)
        except SyntaxError:  # a magic of IPython
            continue
        defined = [part for part in tree.body if isinstance(part, ast.FunctionDef)]
        for function in defined:
            functions[function.name] = list(_patterns(function, functions))
        rest = ast.Module([part for part in tree.body if part not in defined], [])
        patterns = tuple(_patterns(rest, functions))
        if patterns:
            texts = {part.value for part in ast.walk(rest) if _is_text(part)}
            found.append(Cell(index, f"cell-{cell['id']}", patterns, frozenset(texts)))
    return found


def assign(cells: Sequence[Cell], names: Sequence[str]) -> dict[str, Cell]:
    """Return the cell of each scalar, given in the order of recording.

    Of all ways to go through the cells from first to last, the one that fits the names best is
    taken; on a tie, the earlier cells. A name that fits nowhere, or only out of order, is left out.
    """
    # For each cell: the best total fit of the names so far with the last of them in that cell or
    # before, and the names with their cells.
    best: list[tuple[int, dict[str, Cell]]] = [(0, {}) for _ in cells]
    for name in names:
        after: list[tuple[int, dict[str, Cell]]] = []
        for cell, (total, chosen) in zip(cells, best, strict=True):
            fit = cell.fit(name)
            here = (total, chosen) if fit is None else (total + 1 + fit, {**chosen, name: cell})
            after.append(here if not after or here[0] > after[-1][0] else after[-1])
        best = after
    return best[-1][1] if best else {}


def targets(chapter: str) -> dict[str, str]:
    """Return the target in the chapter's page of each scalar of its committed records.

    Raises `DataError` for a damaged notebook or record.
    """
    path = project.notebook_path(chapter)
    if not path.exists():
        return {}
    made = [records.committed(chapter, profile) for profile in project.PROFILES]
    orders = [tuple(record["scalars"]) for record in made if record is not None]
    return _targets(path, path.stat().st_mtime_ns, tuple(orders))


@cache
def _targets(path: Path, changed: int, orders: tuple[tuple[str, ...], ...]) -> dict[str, str]:
    cells = recording_cells(strict_json.read(path))
    found: dict[str, str] = {}
    for names in orders:
        found |= {name: cell.target for name, cell in assign(cells, names).items()}
    return found


def mark_cells(app: Sphinx, document: nodes.document) -> None:
    """Give each cell of a chapter that records a target to link to (event `doctree-read`)."""
    chapter = own_chapter(app.env.docname)
    try:
        used = {*targets(chapter).values()} if chapter else set()
        cells = recording_cells(strict_json.read(project.notebook_path(chapter))) if used else []
    except RobustkitError as error:
        logger.warning("%s", error, location=app.env.docname)
        return
    names = {cell.index: cell.target for cell in cells if cell.target in used}
    for container in document.findall(nodes.container):
        index = container.get("cell_index")
        if container.get("nb_element") == "cell_code" and index in names:
            container["ids"].append(names[index])


def _patterns(tree: ast.AST, functions: Mapping[str, list[str]]) -> Iterator[str]:
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        if isinstance(call.func, ast.Attribute) and call.func.attr == "scalar" and call.args:
            yield _pattern(call.args[0])
        elif isinstance(call.func, ast.Name):
            yield from functions.get(call.func.id, [])


def _pattern(name: ast.expr) -> str:
    if isinstance(name, ast.JoinedStr):
        return "".join(map(_pattern, name.values))
    if isinstance(name, ast.BinOp):
        return _pattern(name.left) + _pattern(name.right)
    return re.escape(name.value) if _is_text(name) else "(.+)"


def _is_text(part: ast.AST) -> bool:
    return isinstance(part, ast.Constant) and isinstance(part.value, str)
