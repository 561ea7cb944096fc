"""The verdicts that were accepted, and what has become of each since.

`book/verdicts.yml` maps every chapter to its claims and every claim to its verdict, with the
profile that it was judged at: `reproduced (laptop)`. `robustkit claims --accept` writes the file
and `robustkit claims --check` compares with it, so that no claim gets worse unseen.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from robustkit import claims, project
from robustkit.errors import DataError
from robustkit.files import write_atomic

BETTER, WORSE, NEW, REMOVED = "better", "worse", "new", "removed"

_STATUSES = (claims.REPRODUCED, claims.DIFFERS, claims.NOT_RUN, claims.NOT_JUDGED)
_JUDGED = (claims.REPRODUCED, claims.DIFFERS)
_FORM = re.compile(r"([a-z ]+?)(?: \(([a-z]+)\))?")
_HEAD = (
    "# The accepted verdicts. `robustkit claims --check` compares with them, and\n"
    "# `robustkit claims --accept` writes this file: do not edit it by hand.\n"
)


@dataclass(frozen=True)
class Change:
    """A claim whose verdict is not the accepted one; `old` or `new` is empty where it is absent."""

    chapter: str
    claim: str
    kind: str
    old: str
    new: str

    def __str__(self) -> str:
        name = f"{self.chapter}/{self.claim}"
        if self.kind == NEW:
            return f"{name}: new, {self.new}"
        if self.kind == REMOVED:
            return f"{name}: removed, was {self.old}"
        return f"{name}: {self.kind}, was {self.old}, is {self.new}"


def path() -> Path:
    """Return the file of the accepted verdicts."""
    return project.root() / "book" / "verdicts.yml"


def today(chapter: str | None = None) -> dict[str, dict[str, str]]:
    """Return the verdict of every claim of a chapter, or of the book, by the committed records."""
    found: dict[str, dict[str, str]] = {}
    for row in claims.scoreboard(chapter):
        status = row.overall.status
        text = f"{status} ({row.profile})" if status in _JUDGED else status
        found.setdefault(row.claim.chapter, {})[row.claim.id] = text
    return found


def accepted() -> dict[str, dict[str, str]]:
    """Return the accepted verdicts; raises `DataError` when the file is absent or damaged."""
    file = path()
    if not file.is_file():
        raise DataError(f"{file} is absent: write it by robustkit claims --accept, and commit it.")
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(own, dict) for own in content.values()):
        raise DataError(f"{file} must map each chapter to its claims and their verdicts.")
    for chapter, own in content.items():
        for claim, text in own.items():
            _parsed(text, f"{file}, {chapter}, {claim}")
    return content


def accept(chapter: str | None = None) -> list[Change]:
    """Keep the verdicts of today, of one chapter or of the book; return what that changes.

    The file is written whole or not at all; the other chapters of it stay as they are.
    """
    old = accepted() if path().is_file() else {}
    others = {name: own for name, own in old.items() if name != chapter} if chapter else {}
    kept = others | today(chapter)
    content = yaml.safe_dump(dict(sorted(kept.items())), sort_keys=False, allow_unicode=True)
    write_atomic(path(), _HEAD + content)
    return compare(old, kept)


def check(chapter: str | None = None) -> list[Change]:
    """Return what differs today from the accepted verdicts, of one chapter or of the book.

    Raises `DataError` when the file of accepted verdicts is absent or damaged.
    """
    old = accepted()
    if chapter is not None:
        old = {name: own for name, own in old.items() if name == chapter}
    return compare(old, today(chapter))


def compare(
    old: Mapping[str, Mapping[str, str]], new: Mapping[str, Mapping[str, str]]
) -> list[Change]:
    """Return every claim whose verdict in `new` is not that in `old`, chapter by chapter.

    A verdict is better when it is reproduced now, when a claim that was not run has a number, or
    when the same verdict comes from a profile nearer the paper. Every other change is worse: what
    was reproduced is not, what did not differ does, a number is gone, or it counts for less.
    """
    changes = []
    for chapter in sorted({*old, *new}):
        before, after = old.get(chapter, {}), new.get(chapter, {})
        for claim in dict.fromkeys([*before, *after]):
            was, now = before.get(claim, ""), after.get(claim, "")
            if was != now:
                changes.append(Change(chapter, claim, _kind(was, now), was, now))
    return changes


def failures(changes: Iterable[Change]) -> list[Change]:
    """Return the changes that a check does not let pass: worse verdicts and removed claims."""
    return [change for change in changes if change.kind in (WORSE, REMOVED)]


def _kind(was: str, now: str) -> str:
    if not was:
        return NEW
    if not now:
        return REMOVED
    (old, lower), (new, higher) = _parsed(was, "old"), _parsed(now, "new")
    if old == new:
        better = project.PROFILES.index(higher) > project.PROFILES.index(lower)
    else:
        better = new == claims.REPRODUCED or (old, new) == (claims.NOT_RUN, claims.NOT_JUDGED)
    return BETTER if better else WORSE


def _parsed(text: Any, where: str) -> tuple[str, str]:
    form = _FORM.fullmatch(text) if isinstance(text, str) else None
    if form is None or form[1] not in _STATUSES:
        raise DataError(f"{where}: {text!r} is no verdict; known are {', '.join(_STATUSES)}.")
    if (form[1] in _JUDGED) != (form[2] in project.PROFILES):
        raise DataError(f"{where}: {text!r} must name a profile if it was judged, and only then.")
    return form[1], form[2] or ""
