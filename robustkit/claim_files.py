"""Claims files: what a paper says and how it is to be judged, read and checked strictly.

`book/claims/<chapter>.yml` has two keys, `chapter` (its own name) and `claims`, a list of entries:

- `id`, `statement`: a short name, unique in the book, and the claim in one sentence;
- `source`: `key` in the bibliography and `where` in the work (table, figure, section);
- `paper`, optional: `value`, `unit`, `text` (how to show it) and `verified`, whether the value was
  read in the paper itself;
- `ours`: the scalar of the record that answers it; without it the claim is not run yet;
- `accept`, optional, with `because`, the reason for the tolerance: one of `within: x` of the
  paper's value (a fraction of it with `relative: true`), `at_least: x`, `at_most: x`,
  `between: [a, b]`, `equals: x`, `above: scalar`, `below: scalar`;
- `profiles`: where it can be judged, of smoke, laptop and paper;
- `differs`, optional: why ours differs; `needs`, optional: what a run that is absent asks for.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from robustkit import project
from robustkit.errors import DataError, unknown

_RULES = ("within", "at_least", "at_most", "between", "equals", "above", "below")


@dataclass(frozen=True)
class Source:
    """Where the claim is made: a key of the bibliography and the place in that work."""

    key: str
    where: str


@dataclass(frozen=True)
class Paper:
    """What the paper gives: a number, or a text, and whether it was read in the paper itself."""

    value: float | None
    unit: str
    text: str
    verified: bool


@dataclass(frozen=True)
class Accept:
    """When ours agrees: a rule and its bound (a number, two numbers, a flag or a scalar's name)."""

    rule: str
    bound: Any
    relative: bool

    def __str__(self) -> str:
        if self.rule == "within":
            return f"within {self.bound:g}{' times' if self.relative else ' of'} the paper's value"
        if self.rule == "between":
            return f"between {self.bound[0]:g} and {self.bound[1]:g}"
        return f"{self.rule.replace('_', ' ')} {self.bound}"


@dataclass(frozen=True)
class Claim:
    """One claim of a paper, as its entry in the claims file says."""

    chapter: str
    id: str
    statement: str
    source: Source
    paper: Paper | None
    ours: str
    accept: Accept | None
    because: str
    profiles: tuple[str, ...]
    differs: str
    needs: str


def path(chapter: str) -> Path:
    """Return the claims file of a chapter."""
    return project.root() / "book" / "claims" / f"{chapter}.yml"


def chapters() -> list[str]:
    """Return the names of the chapters that have claims, in the order of the book."""
    return sorted(file.stem for file in (project.root() / "book" / "claims").glob("*.yml"))


def load(chapter: str) -> list[Claim]:
    """Return the claims of a chapter, in the order of its file.

    Raises `DataError` that names the file, the claim and the key for anything that is not as
    the top of this module says, with the near match for an unknown key.
    """
    if chapter not in chapters():
        raise unknown("chapter with claims", chapter, chapters())
    file = path(chapter)
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"{file.name} cannot be read: {error}") from error
    fields = _fields(content, file.name, {"chapter": str, "claims": list}, {})
    if fields["chapter"] != chapter:
        raise DataError(f"{file.name} is of chapter {fields['chapter']!r}; it must be its own.")
    claims = [
        _claim(chapter, entry, f"{file.name}, claim {position}")
        for position, entry in enumerate(fields["claims"], 1)
    ]
    names = [claim.id for claim in claims]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{file.name} has two claims with the id {name!r}.")
    return claims


def _claim(chapter: str, entry: Any, where: str) -> Claim:
    required = {"id": str, "statement": str, "source": dict, "profiles": list}
    texts = {"ours": str, "because": str, "differs": str, "needs": str}
    fields = _fields(entry, where, required, {**texts, "paper": dict, "accept": dict})
    where = f"{where} ({fields['id']})"
    source = _fields(fields["source"], f"{where}, source", {"key": str, "where": str}, {})
    for profile in fields["profiles"]:
        if profile not in project.PROFILES:
            raise DataError(f"{where}: {unknown('profile', str(profile), project.PROFILES)}")
    paper = _paper(fields["paper"], f"{where}, paper") if "paper" in fields else None
    accept = _accept(fields["accept"], f"{where}, accept") if "accept" in fields else None
    if not fields["profiles"]:
        raise DataError(f"{where}: name at least one profile.")
    if accept and not ("because" in fields and "ours" in fields):
        raise DataError(f"{where}: accept asks for because (the reason) and ours (the scalar).")
    if accept and accept.rule == "within" and (paper is None or paper.value is None):
        raise DataError(f"{where}: within asks for the paper's value.")
    if "ours" not in fields and "needs" not in fields:
        raise DataError(f"{where}: a claim without ours must say what it needs.")
    return Claim(
        chapter=chapter,
        id=fields["id"],
        statement=fields["statement"],
        source=Source(**source),
        paper=paper,
        accept=accept,
        profiles=tuple(fields["profiles"]),
        **{key: fields.get(key, "").strip() for key in texts},
    )


def _paper(entry: dict[str, Any], where: str) -> Paper:
    optional = {"value": float, "unit": str, "text": str}
    fields = _fields(entry, where, {"verified": bool}, optional)
    if "value" not in fields and "text" not in fields:
        raise DataError(f"{where}: give a value or a text.")
    return Paper(**{"value": None, "unit": "", "text": "", **fields})


def _accept(entry: dict[str, Any], where: str) -> Accept:
    numbers: dict[str, Any] = dict.fromkeys(("within", "at_least", "at_most"), float)
    others = {"between": list, "equals": object, "above": str, "below": str, "relative": bool}
    fields = _fields(entry, where, {}, {**numbers, **others})
    relative = fields.pop("relative", False)
    if len(fields) != 1:
        raise DataError(f"{where}: give exactly one of {', '.join(_RULES)}.")
    [(rule, bound)] = fields.items()
    if relative and rule != "within":
        raise DataError(f"{where}: relative goes with within only.")
    if rule == "equals" and not isinstance(bound, bool):
        bound = _typed(bound, float, f"{where}, equals")
    if rule == "between":
        bound = tuple(_typed(end, float, f"{where}, between") for end in bound)
        if len(bound) != 2 or bound[0] > bound[1]:
            raise DataError(f"{where}: between takes [low, high].")
    return Accept(rule, bound, relative)


def _fields(
    entry: Any, where: str, required: dict[str, Any], optional: dict[str, Any]
) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise DataError(f"{where} must be a mapping of keys to values.")
    kinds = {**required, **optional}
    for key in entry:
        if key not in kinds:
            raise DataError(f"{where}: {unknown('key', str(key), kinds)}")
    for key in required:
        if key not in entry:
            raise DataError(f"{where}: the key {key!r} is missing.")
    return {key: _typed(item, kinds[key], f"{where}, {key}") for key, item in entry.items()}


def _typed(item: Any, kind: Any, where: str) -> Any:
    if kind is float and type(item) is int:
        return float(item)
    if not isinstance(item, kind) or (kind is float and isinstance(item, bool)):
        raise DataError(f"{where} must be {_NAMES.get(kind, kind.__name__)}, got {item!r}.")
    return item


_NAMES = {
    float: "a number (with a point before an exponent: 1.0e-3)",
    str: "a text",
    list: "a list",
    dict: "a mapping",
    bool: "true or false",
}
