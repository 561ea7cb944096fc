"""Text notebooks: reading a chapter, and the form of an executed one that is committed.

The text (py:percent) is the truth. What is derived from it is the same each time: the
identifiers of cells follow from position and source, and no time or path of the machine stays.
Only its code decides what a run does; new prose goes beside the outputs that are there.
"""

import copy
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robustkit.errors import InputError
from robustkit.files import write_atomic
from robustkit.parameters import Parameter, parse
from robustkit.strict_json import dumps

_KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
_LANGUAGE = {
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
}
_OF_THE_NOTEBOOK = ("papermill", "jupytext", "widgets")
_INJECTED = "injected-parameters"
_DRAWING = "image/svg+xml"
_PLACES = re.compile(r'(?<=\s)(?:d|x|y)="[-+\s\d.A-Za-z]*"')
_OF_THE_CELL = ("papermill", "execution", "ExecuteTime", "lines_to_next_cell")


def source(path: Path) -> str:
    """Return the text of a chapter; raises `InputError` when there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"there is no chapter at {path} ({error}).") from error


def code_hash(notebook: Any) -> str:
    """Return the sha256 of the sources of the code cells of a notebook, in their order.

    Prose, tags and captions do not count: they change nothing that a run computes.
    """
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


def read(path: Path) -> Any:
    """Return the notebook of a text chapter, without outputs, as an nbformat `NotebookNode`."""
    return from_text(source(path))


def from_text(text: str) -> Any:
    """Return the notebook of py:percent text, with identifiers that follow from the text."""
    import jupytext

    notebook = jupytext.reads(text, fmt="py:percent")
    clean(notebook)
    return notebook


def parameters(path: Path) -> list[Parameter]:
    """Return the typed parameters of a text chapter, from its cell tagged `parameters`.

    Raises `InputError` when there is not exactly one such cell, or when it is not typed.
    """
    return parameters_of(read(path), path.name)


def parameters_of(notebook: Any, where: str) -> list[Parameter]:
    """Return the typed parameters of a notebook; `where` names it in errors."""
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise InputError(
            f"{where} has {len(cells)} cells tagged 'parameters'; it needs one, opened by the line "
            '# %% tags=["parameters"].'
        )
    return parse(cells[0].source, where)


def clean(notebook: Any) -> None:
    """Strip from a notebook, in place, what depends on the machine, the moment and the tools.

    Outputs, execution counts, tags and figure metadata stay; text that one cell printed in
    several pieces becomes one piece, because where it was cut is a matter of timing. Drawings lose
    the white space between their elements.
    """
    for key in _OF_THE_NOTEBOOK:
        notebook.metadata.pop(key, None)
    notebook.metadata["kernelspec"] = dict(_KERNEL)
    notebook.metadata["language_info"] = dict(_LANGUAGE)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for position, cell in enumerate(notebook.cells):
        for key in _OF_THE_CELL:
            cell.metadata.pop(key, None)
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]
        cell["id"] = hashlib.sha256(f"{position}\n{cell.source}".encode()).hexdigest()[:12]
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
            for output in cell.outputs:
                if _DRAWING in output.get("data", {}):
                    output.data[_DRAWING] = _compact(output.data[_DRAWING])


def refreshed(executed: Any, text: Any) -> Any:
    """Return the notebook of a text with the outputs and execution counts of an executed one.

    Prose, tags and figure metadata are those of the text; a cell of injected parameters stays.
    Raises `InputError` when the two do not have the same code.
    """
    page = copy.deepcopy(text)
    done = [cell for cell in executed.cells if cell.cell_type == "code"]
    injected = [cell for cell in done if _INJECTED in cell.metadata.get("tags", [])]
    done = [cell for cell in done if cell not in injected]
    code = [cell for cell in page.cells if cell.cell_type == "code"]
    if [cell.source for cell in code] != [cell.source for cell in done]:
        raise InputError("the code has changed since it was executed. Run the chapter again.")
    for cell, before in zip(code, done, strict=True):
        cell.outputs = copy.deepcopy(before.outputs)
        cell.execution_count = before.execution_count
    for position, cell in enumerate(page.cells, 1):
        if "parameters" in cell.metadata.get("tags", []):
            page.cells[position:position] = copy.deepcopy(injected)
            break
    clean(page)
    return page


def write(path: Path, notebook: Any, record: Mapping[str, Any]) -> None:
    """Write an executed notebook that carries its record, whole or not at all."""
    write_atomic(path, dumps_with(notebook, record))


def dumps_with(notebook: Any, record: Mapping[str, Any]) -> str:
    """Return the JSON text of an executed notebook that carries its record."""
    import nbformat

    # nbformat sorts keys, which would lose the order of the scalars and of the columns of a table.
    plain = json.loads(nbformat.writes(notebook))
    plain["metadata"]["robustkit"] = {"record": record}
    return dumps(plain)


def _compact(drawing: str) -> str:
    # A line of a drawing is an element of a list in the file, with an indent of its own.
    line = re.sub(r"\s*\n\s*", " ", re.sub(r">\s+<", "><", drawing))
    # Places are in points; nobody sees less than a hundredth.
    return _PLACES.sub(lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), line)


def _joined(outputs: list[Any]) -> list[Any]:
    joined: list[Any] = []
    for output in outputs:
        before = joined[-1] if joined else None
        if (
            before is not None
            and output.output_type == before.output_type == "stream"
            and output.name == before.name
        ):
            before.text += output.text
        else:
            joined.append(output)
    return joined
