"""Tables and figures of the papers: which rows of the scoreboard answer each of them.

`book/coverage/<chapter>.yml` is read by the scoreboard alone, so that it can change without running
a chapter again. It has three keys: `note`, how the list is known; `rows`, what the claims of the
chapter leave out and nobody judges; and `places`, the tables and figures.

- A row has `id`, `statement` and `source` as a claim has, `paper` where a value is known, and one
  of `needs`, what a run asks for (then it is not run), and `open`, why it is not judged; beside
  `open` it may name `ours`, a scalar, with the `profiles` at which it is shown.
- A place has `source`, `shows` (what is to be seen there), `known` (found in a source that was
  at hand, recalled, or unread) and `rows`, the claims and rows that answer it; `leaves`, what
  those leave out, is optional.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from robustkit import claim_files, claims, project, records
from robustkit.claim_files import Claim, Paper, Source
from robustkit.errors import DataError, unknown

Made = Mapping[str, Mapping[str, Any] | None]

KNOWN = ("found", "recalled", "unread")


@dataclass(frozen=True)
class Place:
    """A table or figure of a paper, and the rows of the scoreboard that answer it."""

    source: Source
    shows: str
    known: str
    rows: tuple[str, ...]
    leaves: str


@dataclass(frozen=True)
class Coverage:
    """What the file of one chapter says."""

    note: str
    rows: tuple[claims.ScoreRow, ...]
    places: tuple[Place, ...]


def scoreboard() -> list[claims.ScoreRow]:
    """Return the claims of each chapter of the book, then the rows that only the coverage has."""
    judged = claims.scoreboard()
    names = dict.fromkeys([row.claim.chapter for row in judged] + [*chapters()])
    return [
        row
        for name in sorted(names)
        for row in (*(row for row in judged if row.claim.chapter == name), *load(name).rows)
    ]


def chapters() -> list[str]:
    """Return the chapters of this checkout that have a coverage file, in the order of the book."""
    return [name for name in project.chapters() if _path(name).is_file()]


def load(chapter: str) -> Coverage:
    """Return the coverage of a chapter; empty where there is no file.

    Raises `DataError` that names file, entry and key for anything that is not as the top of this
    module says.
    """
    path = _path(chapter)
    if not path.is_file():
        return Coverage("", (), ())
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    fields = _fields(content, str(path), {"note": str, "rows": list, "places": list}, {})
    made = {profile: records.committed(chapter, profile) for profile in project.PROFILES}
    rows = [
        _row(chapter, entry, f"{path}, row {position}", made)
        for position, entry in enumerate(fields["rows"], 1)
    ]
    places = [
        _place(entry, f"{path}, place {position}")
        for position, entry in enumerate(fields["places"], 1)
    ]
    listed = claim_files.load(chapter) if chapter in claim_files.chapters() else []
    known = [claim.id for claim in [*listed, *(row.claim for row in rows)]]
    for name in known:
        if known.count(name) > 1:
            raise DataError(f"{path}: two rows of the scoreboard have the id {name!r}.")
    for place in places:
        for name in place.rows:
            if name not in known:
                raise DataError(f"{path}, {place.source.where}: {unknown('row', name, known)}")
    return Coverage(fields["note"].strip(), tuple(rows), tuple(places))


def _path(chapter: str) -> Path:
    return project.root() / "book" / "coverage" / f"{chapter}.yml"


def _row(chapter: str, entry: Any, where: str, made: Made) -> claims.ScoreRow:
    required = {"id": str, "statement": str, "source": dict}
    optional = {"paper": dict, "needs": str, "open": str, "ours": str, "profiles": list}
    fields = _fields(entry, where, required, optional)
    where = f"{where} ({fields['id']})"
    if ("needs" in fields) == ("open" in fields):
        raise DataError(f"{where}: give one of needs and open.")
    if ("ours" in fields) != ("profiles" in fields) or ("ours" in fields and "needs" in fields):
        raise DataError(f"{where}: ours and profiles go together, beside open.")
    for profile in fields.get("profiles", ()):
        if profile not in project.PROFILES:
            raise DataError(f"{where}: {unknown('profile', str(profile), project.PROFILES)}")
    claim = Claim(
        chapter=chapter,
        id=fields["id"],
        statement=fields["statement"],
        source=_source(fields, where),
        paper=_paper(fields["paper"], f"{where}, paper") if "paper" in fields else None,
        ours=fields.get("ours", ""),
        accept=None,
        because="",
        # What was not run is the paper's own experiment.
        profiles=tuple(fields.get("profiles", ("paper",) if "needs" in fields else ())),
        differs="",
        needs=fields.get("needs", "").strip(),
    )
    verdicts = {profile: claims.verdict(claim, record) for profile, record in made.items()}
    # Without a rule to judge by, a number is not judged already; only the reason is missing.
    overall = (
        claims.Verdict(claims.NOT_RUN, detail=claim.needs)
        if "needs" in fields
        else claims.Verdict(claims.NOT_JUDGED, detail=fields["open"].strip())
    )
    return claims.ScoreRow(claim, verdicts, overall, "")


def _place(entry: Any, where: str) -> Place:
    required = {"source": dict, "shows": str, "known": str, "rows": list}
    fields = _fields(entry, where, required, {"leaves": str})
    source = _source(fields, where)
    where = f"{where} ({source.where})"
    if fields["known"] not in KNOWN:
        raise DataError(f"{where}: {unknown('way to know', fields['known'], KNOWN)}")
    if not fields["rows"]:
        raise DataError(f"{where}: name at least one row, if need be one that is not run.")
    rows = tuple(str(name) for name in fields["rows"])
    return Place(source, fields["shows"], fields["known"], rows, fields.get("leaves", "").strip())


def _source(fields: Mapping[str, Any], where: str) -> Source:
    return Source(**_fields(fields["source"], f"{where}, source", {"key": str, "where": str}, {}))


def _paper(entry: dict[str, Any], where: str) -> Paper:
    fields = _fields(entry, where, {"text": str, "verified": bool}, {})
    return Paper(None, "", fields["text"], fields["verified"])


def _fields(
    entry: Any, where: str, required: Mapping[str, type], optional: Mapping[str, type]
) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise DataError(f"{where} must be a mapping of keys to values.")
    kinds = {**required, **optional}
    for key, value in entry.items():
        if key not in kinds:
            raise DataError(f"{where}: {unknown('key', str(key), kinds)}")
        if not isinstance(value, kinds[key]):
            raise DataError(f"{where}, {key} must be a {kinds[key].__name__}, got {value!r}.")
    missing: Sequence[str] = [key for key in required if key not in entry]
    if missing:
        raise DataError(f"{where}: the key {missing[0]!r} is missing.")
    return entry
