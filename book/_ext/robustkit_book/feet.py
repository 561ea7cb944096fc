"""The foot of a figure: a quiet line that leads to its cell, to its record and to its parameters.

A figure of a chapter is drawn by the cell above it from the numbers of that run, whose record the
notebook carries, and in some cells also from committed records of larger profiles. Which cells
these are follows from the source: a name that holds such a record marks the cells, functions and
names that use it.
"""

import ast
from collections.abc import Iterable, Mapping
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from robustkit import project, strict_json
from robustkit.errors import RobustkitError

from .live import mark_live
from .provenance import FOLDER, found
from .values import own_chapter

logger = logging.getLogger(__name__)

_BODIES = ("body", "orelse", "finalbody")


def add_feet(app: Sphinx, document: nodes.document) -> None:
    """Put a foot under each figure that a cell of a chapter draws (event `doctree-read`)."""
    chapter = own_chapter(app.env.docname)
    if not chapter:
        return
    try:
        made = found(chapter)
        notebook = strict_json.read(project.notebook_path(chapter)) if made else {"cells": []}
    except RobustkitError as error:
        logger.warning("%s", error, location=app.env.docname)
        return
    cells, larger = notebook["cells"], drawn_from_committed(notebook)
    containers = {
        container["cell_index"]: container
        for container in document.findall(nodes.container)
        if container.get("nb_element") == "cell_code" and "cell_index" in container
    }
    parameters = next(
        (_target(containers[at], cells[at]) for at in containers if _is_parameters(cells[at])), ""
    )
    for index, container in containers.items():
        figures = list(container.findall(nodes.figure))
        if figures:
            mark_live(app.env)
        own = [name for name in made if name == "smoke" or index in larger]
        for figure in figures:
            number = cells[index].get("execution_count")
            target = _target(container, cells[index])
            figure.parent.insert(
                figure.parent.index(figure) + 1,
                foot(chapter, f"cell {number}", target, own, parameters),
            )


def foot(chapter: str, cell: str, target: str, made: list[str], parameters: str) -> nodes.container:
    """Return the line: links to the cell, to each record by profile, and to the parameters."""
    links = [("#" + target, cell)]
    links += [(f"../{FOLDER}/{profile}/{chapter}.json", f"{profile} record") for profile in made]
    links += [("#" + parameters, "parameters")] if parameters else []
    line = nodes.paragraph("", "Drawn by ")
    for position, (address, text) in enumerate(links):
        line += nodes.Text(" · ") if position else nodes.Text("")
        line += nodes.reference("", text, refuri=address, internal=True)
    return nodes.container("", line, classes=["figure-foot"])


def drawn_from_committed(notebook: Mapping[str, Any]) -> set[int]:
    """Return the indices of the code cells that use a record that was committed before the run."""
    held: set[str] = set()
    cells = set()
    for index, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] != "code":
            continue
        try:
            tree = ast.parse("".join(cell["source"]))
        except SyntaxError:  # a magic of IPython
            continue
        # All are followed, also those behind one that uses a record.
        if sum(_follow(part, held) for part in tree.body):
            cells.add(index)
    return cells


def _follow(part: ast.stmt, held: set[str]) -> bool:
    """Tell whether a statement uses a held name, and keep `held` in step with what it names."""
    if isinstance(part, ast.FunctionDef):
        _name([part.name], held, _uses(part, held))
        return False
    if isinstance(part, ast.Assign | ast.AnnAssign | ast.AugAssign):
        used = part.value is not None and _uses(part.value, held)
        targets = part.targets if isinstance(part, ast.Assign) else [part.target]
        _name(_stored(targets), held, used)
        return used
    bodies = [part_of for field in _BODIES for part_of in getattr(part, field, [])]
    if not bodies:
        return _uses(part, held)
    heads = [getattr(part, field) for field in ("test", "iter") if hasattr(part, field)]
    heads += [item.context_expr for item in getattr(part, "items", [])]
    used = any(_uses(head, held) for head in heads)
    targets = [part.target] if isinstance(part, ast.For) else []
    targets += [item.optional_vars for item in getattr(part, "items", []) if item.optional_vars]
    _name(_stored(targets), held, used and "test" not in part._fields)
    return sum(_follow(below, held) for below in bodies) > 0 or used


def _uses(part: ast.AST, held: set[str]) -> bool:
    # Arguments, and the names of functions and comprehensions, are none of those outside.
    inner = (ast.FunctionDef, ast.Lambda, ast.comprehension)
    own = {one.arg for one in ast.walk(part) if isinstance(one, ast.arg)}
    own |= {*_stored(one for one in ast.walk(part) if isinstance(one, inner))}
    held = held - own
    return any(
        (isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load) and one.id in held)
        or (isinstance(one, ast.Attribute) and one.attr == "committed")
        for one in ast.walk(part)
    )


def _name(names: Iterable[str], held: set[str], used: bool) -> None:
    for name in names:
        (held.add if used else held.discard)(name)


def _stored(targets: Iterable[ast.AST]) -> list[str]:
    return [
        one.id
        for target in targets
        for one in ast.walk(target)
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
    ]


def _is_parameters(cell: Mapping[str, Any]) -> bool:
    return "parameters" in cell["metadata"].get("tags", [])


def _target(container: nodes.container, cell: Mapping[str, Any]) -> str:
    """Return the target of a cell, which it gets if it has none."""
    target = f"cell-{cell['id']}"
    if target not in container["ids"]:
        container["ids"].append(target)
    return target
