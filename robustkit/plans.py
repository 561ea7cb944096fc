"""Plans: what a run will be, checked and named before anything runs."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustkit import notebooks, project, strict_json
from robustkit.errors import InputError
from robustkit.parameters import resolve


@dataclass(frozen=True)
class Plan:
    """A run to be: text, hash of its code, checked parameters, those to inject, and its folder.

    `whole` is the prekey of the run that this one is a shard of; where it is not one, its own.
    """

    chapter: str
    text: str
    code: str
    parameters: dict[str, Any]
    injected: dict[str, Any]
    prekey: str
    whole: str

    @property
    def folder(self) -> Path:
        return project.root() / "runs" / self.chapter / self.prekey[:16]

    @property
    def pieces(self) -> Path:
        return project.root() / "runs" / self.chapter / self.whole[:16] / "pieces"

    @property
    def shard(self) -> tuple[int, int]:
        """Which shard this run is, of how many; (0, 1) for a run that is not split."""
        return self.parameters.get("shard", 0), self.parameters.get("shards", 1)

    @property
    def installs(self) -> bool:
        """Whether this is the run that the book shows: all at its default but the profile."""
        return set(self.injected) <= {"profile"}


def plan(chapter: str, parameters: Mapping[str, Any], *, profile: str = "smoke") -> Plan:
    """Check a chapter and its parameters, without running; "profile" in `parameters` wins.

    Raises `UnknownNameError` and `InputError` for what the chapter does not accept.
    """
    chapter = project.chapter(chapter)
    path = project.text_path(chapter)
    text = notebooks.source(path)
    notebook = notebooks.from_text(text)
    specs = notebooks.parameters_of(notebook, path.name)
    resolved = resolve(specs, {"profile": profile, **parameters})
    # What is at its default is not injected, so that a default run keeps the cells of the text.
    defaults = resolve(specs, {})
    injected = {name: value for name, value in resolved.items() if value != defaults[name]}
    code = notebooks.code_hash(notebook)
    prekey, whole = (
        hashed([chapter, code, strict_json.encode(values)])
        for values in (resolved, resolved | _unsplit(resolved))
    )
    return Plan(chapter, text, code, resolved, injected, prekey, whole)


def hashed(item: Any) -> str:
    """Return the sha256 of a text, or of plain values written as JSON."""
    text = item if isinstance(item, str) else json.dumps(item, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _unsplit(resolved: dict[str, Any]) -> dict[str, Any]:
    if not {"shard", "shards"} <= resolved.keys():
        return {}
    shard, shards = resolved["shard"], resolved["shards"]
    if not 0 <= shard < shards:
        raise InputError(f"shard must lie in [0, shards), got shard {shard} of {shards}.")
    return {"shard": 0, "shards": 1}
