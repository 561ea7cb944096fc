"""What a run has read: data, weights and package files, by name and sha256.

Loaders call `note`; the record of a run keeps the names and digests, and a finished run is
repeated only when one of them changed.
"""

import hashlib
import sys
from pathlib import Path
from typing import TypedDict

from robustkit.files import sha256


class Entry(TypedDict):
    """One name that a process has read: a digest of its files, and where they lie."""

    digest: str
    files: list[str]


_noted: dict[str, list[Path]] = {}


def note(name: str, files: list[Path]) -> None:
    """Remember that this process has read `files` under a machine-independent `name`."""
    _noted[name] = sorted({*_noted.get(name, []), *files})


def digest(files: list[Path]) -> str:
    """Return one sha256 over the contents of files, in the order given."""
    total = hashlib.sha256()
    for file in files:
        total.update(sha256(file).encode() if file.is_file() else b"absent")
    return total.hexdigest()


def noted() -> dict[str, list[Path]]:
    """Return what has been read so far, and the robustkit source files that are loaded."""
    package = Path(__file__).parent
    found = dict(_noted)
    for module in list(sys.modules.values()):
        source = getattr(module, "__file__", None)
        if source and Path(source).is_relative_to(package) and source.endswith(".py"):
            found[f"robustkit/{Path(source).relative_to(package).as_posix()}"] = [Path(source)]
    return dict(sorted(found.items()))


class FirstRead:
    """What this process has read, each with the digest that it had when this first saw it.

    What is edited while a process works is not what it works with.
    """

    def __init__(self) -> None:
        self._digests: dict[tuple[str, ...], str] = {}
        self.entries()

    def entries(self) -> dict[str, Entry]:
        """Return all that has been read so far, by name."""
        return {
            name: {"digest": self.digest(files), "files": [str(file.resolve()) for file in files]}
            for name, files in noted().items()
        }

    def digest(self, files: list[Path]) -> str:
        """Return the digest of files, as they were when it was first asked for."""
        key = tuple(str(file.resolve()) for file in files)
        if key not in self._digests:
            self._digests[key] = digest(files)
        return self._digests[key]
