"""What a judged cell depends on, in digests: options, and the code that makes images."""

import ast
from collections.abc import Mapping
from pathlib import Path

import robustkit
from robustkit import inputs

_PACKAGE = Path(robustkit.__file__).parent


def describe_options(options: Mapping[str, object]) -> dict[str, object]:
    """Return options of a corruption as plain values, a folder as a digest of the files in it.

    Folders are the options whose names end in "_folder".
    """
    return {
        name: _contents(Path(str(value))) if name.endswith("_folder") and value else repr(value)
        for name, value in options.items()
    }


def _contents(folder: Path) -> str:
    files = sorted(file for file in folder.iterdir() if file.is_file()) if folder.is_dir() else []
    return f"{[file.name for file in files]} {inputs.digest(files)}"


def describe_code(package: Path = _PACKAGE) -> str:
    """Return a digest of the source files that make corrupted images; `package` is robustkit."""
    files = makers(package)
    return f"{[file.relative_to(package).as_posix() for file in files]} {inputs.digest(files)}"


def makers(package: Path) -> list[Path]:
    """List the files of robustkit that make corrupted images: what `corrupt` imports, at any depth.

    Files of packages that only gather what stands elsewhere count where something is taken from
    them. Only the text of the files is read.
    """
    found: set[Path] = set()
    waiting = {package / "corruptions" / "corrupt.py"}
    while waiting:
        file = waiting.pop()
        found.add(file)
        waiting |= _imported(file, package) - found
    return sorted(found)


def _imported(file: Path, package: Path) -> set[Path]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    ]
    files = {_file(name, package) for name in names}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            own = [_file(f"{node.module}.{alias.name}", package) for alias in node.names]
            files |= {one or _file(node.module, package) for one in own}
    return {one for one in files if one is not None}


def _file(name: str, package: Path) -> Path | None:
    """Return the file of a module of robustkit, or None where there is none of that name."""
    first, *rest = name.split(".")
    place = package.joinpath(*rest)
    options = (place / "__init__.py", place.with_suffix(".py")) if first == "robustkit" else ()
    return next((option for option in options if option.is_file()), None)
