"""Guards over an executed notebook: each returns what is wrong with it, an empty list if nothing.

They check what papermill, nbval and the book do not: that a page was run as a whole, agrees with
its text, is not older than the package, and tells nothing about the machine that made it.
"""

import getpass
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import robustkit
from robustkit import inputs, notebooks

_TEXT_TYPES = ("text/", "image/svg", "application/json", "application/javascript")
_TRACES = {
    "an absolute path": re.compile(
        r"(?<![\w.:/<&~-])/(?:[\w.@+-]+/)+[\w.@+-]+|\b[A-Z]:\\\\?[\w.]+|\bfile://|(?<!\w)~/\w"
    ),
    "a memory address": re.compile(r"\b0x[0-9a-fA-F]{6,}\b"),
    "a moment": re.compile(
        r"\b(?:19|20)\d\d-[01]\d-[0-3]\d[T ][0-2]\d:[0-5]\d|\b[0-2]\d:[0-5]\d:[0-5]\d\b"
    ),
}
_ENCODED = re.compile(r"data:[\w/+.-]+;base64,[A-Za-z0-9+/=\s]+")
# Accounts and hosts that are also words; shorter ones than five letters are taken for words.
_WORDS = {"admin", "build", "builder", "debian", "localhost", "runner", "ubuntu"}


def executed(notebook: Any) -> list[str]:
    """All code cells were executed, in order from one, without an error or a warning."""
    problems = []
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    if not counts:
        problems.append("the notebook has no code cell")
    elif counts != list(range(1, len(counts) + 1)):
        problems.append(f"code cells were not executed in order, all once: {counts}")
    for where, output in _outputs(notebook):
        if output.output_type == "error":
            problems.append(f"{where} ends with {output.ename}")
        if output.output_type == "stream" and output.name == "stderr":
            problems.append(f"{where} wrote to standard error: {output.text.strip()[:80]!r}")
    return problems


def paired(notebook: Any, text: Any) -> list[str]:
    """The notebook has the cells of its text: the same types, sources, tags and identifiers."""
    ours = [_identity(cell) for cell in notebook.cells]
    theirs = [_identity(cell) for cell in text.cells]
    problems = [
        f"cell {position} is not that of the text"
        for position, (one, other) in enumerate(zip(ours, theirs, strict=False), 1)
        if one != other
    ]
    if len(ours) != len(theirs):
        problems.append(f"the notebook has {len(ours)} cells, its text {len(theirs)}")
    return problems


def fresh(notebook: Any, text: Path, root: Path) -> list[str]:
    """The notebook was made by the package, the code and the book files of today."""
    record = notebook.metadata.get("robustkit", {}).get("record")
    if record is None:
        return ["the notebook carries no record: it was not made by robustkit run or build"]
    problems = []
    if record["provenance"].get("notebook") != notebooks.code_hash(notebooks.read(text)):
        problems.append(f"the code of {text.name} has changed since the run")
    read = record["provenance"].get("inputs", {})
    if "robustkit/__init__.py" not in read:
        problems.append("the record does not say which package files were used")
    package = Path(robustkit.__file__).parent
    for name, digest in read.items():
        folder, _, below = name.partition("/")
        place = {"robustkit": package / below, "book": root / name}.get(folder)
        if place is not None and inputs.digest([place]) != digest:
            problems.append(f"{name} has changed since the run")
    return problems


def anonymous(notebook: Any) -> list[str]:
    """No output holds an absolute path, a user or host name, a memory address or a moment."""
    names = {name for name in (getpass.getuser(), platform.node()) if len(name) > 4} - _WORDS
    patterns = {
        **_TRACES,
        **{f"the name {name!r}": re.compile(rf"\b{re.escape(name)}\b") for name in names},
    }
    return [
        f"{where} shows {what}: {found.group()!r}"
        for where, output in _outputs(notebook)
        for text in _texts(output)
        for what, pattern in patterns.items()
        if (found := pattern.search(text))
    ]


def described(notebook: Any) -> list[str]:
    """Every cell with an image has a caption, a name to refer to and an alternative text."""
    problems = []
    names: list[str] = []
    for position, cell in enumerate(notebook.cells, 1):
        kinds = [kind for output in cell.get("outputs", []) for kind in output.get("data", {})]
        if not any(kind.startswith("image/") for kind in kinds):
            continue
        metadata = cell.metadata.get("mystnb", {})
        figure, image = metadata.get("figure", {}), metadata.get("image", {})
        given = {"caption": figure.get("caption"), "name": figure.get("name")}
        given["alternative text"] = image.get("alt")
        problems += [
            f"the figure of cell {position} has no {what}"
            for what, text in given.items()
            if not str(text or "").strip()
        ]
        names.append(figure.get("name"))
    problems += [f"two figures are named {name!r}" for name in set(names) if names.count(name) > 1]
    return problems


def _outputs(notebook: Any) -> Iterator[tuple[str, Any]]:
    for position, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", []):
            yield f"cell {position}", output


def _texts(output: Any) -> Iterator[str]:
    if output.output_type == "stream":
        yield output.text
    for kind, content in output.get("data", {}).items():
        if kind.startswith(_TEXT_TYPES):
            # Letters and strokes of an encoded image look like a path now and then.
            yield _ENCODED.sub("", content if isinstance(content, str) else str(content))


def _identity(cell: Any) -> tuple[Any, ...]:
    return cell.cell_type, cell.source, tuple(cell.metadata.get("tags", [])), cell.id
