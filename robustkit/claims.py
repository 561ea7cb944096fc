"""Claims: what a paper says, what was measured here, and the verdict.

The entries are in `book/claims/<chapter>.yml`; `robustkit.claim_files` says how they are written.
A value that could not be read in the paper itself is shown as not verified, and its claim is never
judged, whatever the rule.

The estimate decides, unless its interval leaves the decision open; then the claim is not judged.
For `above` and `below`, where both numbers have an interval, the intervals must not touch. For
`at_least`, `at_most`, `between` and `within`, all of the interval must be on the same side of the
bound as the estimate. Numbers without an interval, such as exact counts, and `equals` are judged by
the estimate alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from robustkit import claim_files, inputs, project, records
from robustkit.claim_files import Claim
from robustkit.claims_table import ClaimsTable, Line, interval_text, number_text
from robustkit.errors import InputError

REPRODUCED, DIFFERS, NOT_RUN, NOT_JUDGED = "reproduced", "differs", "not run", "not judged"


@dataclass(frozen=True)
class Verdict:
    """What one record says of one claim: the status, our number with its interval, and why."""

    status: str
    value: float | int | bool | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    detail: str = ""

    def __str__(self) -> str:
        if self.value is None:
            return NOT_RUN if self.status == NOT_RUN else "-"
        return interval_text(self.value, self.low, self.high, self.unit)


@dataclass(frozen=True)
class ScoreRow:
    """A claim with its verdict at each profile, and the one that counts, with its profile."""

    claim: Claim
    verdicts: dict[str, Verdict]
    overall: Verdict
    profile: str


def verdict(claim: Claim, record: Mapping[str, Any] | None) -> Verdict:
    """Judge one claim by one record.

    The status is "reproduced", "differs", "not run" (no record, or no such scalar in it) or "not
    judged" (no rule, a profile at which the claim cannot be judged, a value of the paper that is
    not verified, or an interval that leaves the decision open).
    """
    if record is None or not claim.ours:
        return Verdict(NOT_RUN, detail=claim.needs)
    if record["parameters"].get("profile") not in claim.profiles:
        # A number of the same name at another profile is about another network.
        return Verdict(NOT_JUDGED, detail=f"judged at {' and '.join(claim.profiles)}")
    scalars = record["scalars"]
    for name in (claim.ours, _rival(claim)):
        if name and name not in scalars:
            return Verdict(NOT_RUN, detail=f"the record has no scalar {name!r}")
    ours = scalars[claim.ours]
    status, detail = _judge(claim, scalars)
    return Verdict(status, ours["value"], ours["low"], ours["high"], ours["unit"], detail)


def overall(claim: Claim, verdicts: Mapping[str, Verdict]) -> tuple[str, Verdict]:
    """Return the profile and verdict that count: of those judged, the one nearest the paper.

    When none is judged, that of the first profile at which the claim could be.
    """
    eligible = [name for name in reversed(project.PROFILES) if name in claim.profiles]
    judged = [name for name in eligible if verdicts[name].status in (REPRODUCED, DIFFERS)]
    profile = (judged or eligible[::-1])[0]
    return profile, verdicts[profile]


def scoreboard(chapter: str | None = None) -> list[ScoreRow]:
    """Return every claim of a chapter, or of the book, judged by the committed records."""
    rows = []
    for name in claim_files.chapters() if chapter is None else [chapter]:
        found = {profile: records.committed(name, profile) for profile in project.PROFILES}
        rows += [
            _row(claim, {profile: verdict(claim, made) for profile, made in found.items()})
            for claim in claim_files.load(name)
        ]
    return rows


def verdicts(
    chapter: str, record: records.Record | Mapping[str, Any]
) -> list[tuple[Claim, Verdict]]:
    """Return every claim of a chapter with its verdict by one record; none outside a checkout."""
    ours = _plain(record)
    try:
        project.root()
    except InputError:
        return []
    return [(claim, verdict(claim, ours)) for claim in claim_files.load(chapter)]


def table(rows: Sequence[ScoreRow], caption: str) -> ClaimsTable:
    """Return the table of a scoreboard, one column a profile."""
    lines = [
        _line(row, [str(row.verdicts[profile]) for profile in project.PROFILES]) for row in rows
    ]
    return ClaimsTable(caption, ("paper", *(f"{p} run" for p in project.PROFILES)), tuple(lines))


def compare(chapter: str, record: records.Record | Mapping[str, Any]) -> ClaimsTable:
    """Return the claims of a chapter beside the numbers of this run and the committed records.

    The verdict of this run takes the place of the committed one at its profile. Outside a
    checkout, where there are no claims files, the table is empty and says so.
    """
    ours = _plain(record)
    caption = f"Claims of chapter {chapter} and what this run measured"
    headings = ("paper", "this run", "laptop run", "paper run")
    try:
        file = claim_files.path(chapter)
    except InputError:
        note = "The claims come with the repository; run this notebook in a checkout to see them."
        return ClaimsTable(caption, headings, (), note)
    profile = ours["parameters"].get("profile", "smoke")
    if profile == "smoke":
        # The page shows these files, so it is stale when they change; the numbers of a long run
        # do not depend on them.
        inputs.note(f"book/claims/{file.name}", [file])
        for other in ("laptop", "paper"):
            result = project.results_path(chapter, other)
            inputs.note(f"book/results/{other}/{result.name}", [result])
    found = {name: records.committed(chapter, name) for name in ("laptop", "paper")}
    lines = []
    for claim in claim_files.load(chapter):
        this = verdict(claim, ours)
        others = {name: verdict(claim, made) for name, made in found.items()}
        row = _row(claim, {"smoke": verdict(claim, None), **others, profile: this})
        lines.append(_line(row, [str(this), *map(str, others.values())]))
    return ClaimsTable(caption, headings, tuple(lines))


def _plain(record: records.Record | Mapping[str, Any]) -> Mapping[str, Any]:
    return record.as_dict() if isinstance(record, records.Record) else record


def _row(claim: Claim, verdicts: dict[str, Verdict]) -> ScoreRow:
    profile, counts = overall(claim, verdicts)
    return ScoreRow(claim, verdicts, counts, profile)


def _line(row: ScoreRow, cells: list[str]) -> Line:
    claim = row.claim
    status = row.overall.status
    if status in (REPRODUCED, DIFFERS):
        status = f"{status} ({row.profile})"
    source = f"{claim.source.key}, {claim.source.where}"
    shown = (_paper_text(claim), *cells)
    return Line(claim.id, claim.statement, source, shown, status, row.overall.detail)


def _paper_text(claim: Claim) -> str:
    if claim.paper is None:
        return "-"
    text = claim.paper.text or number_text(claim.paper.value, claim.paper.unit)
    return text if claim.paper.verified else f"{text} (not verified)"


def _rival(claim: Claim) -> str:
    accept = claim.accept
    return str(accept.bound) if accept and accept.rule in ("above", "below") else ""


def _judge(claim: Claim, scalars: Mapping[str, dict[str, Any]]) -> tuple[str, str]:
    accept, rival = claim.accept, scalars.get(_rival(claim))
    if accept is None:
        return NOT_JUDGED, "no tolerance is stated"
    if claim.paper and not claim.paper.verified:
        return NOT_JUDGED, "the paper's value is not verified"
    agrees = _agrees(claim, scalars[claim.ours], rival)
    if agrees is None:
        return NOT_JUDGED, ("the intervals overlap" if rival else "the interval reaches the bound")
    # The name of a scalar says nothing to a reader; its number does.
    rule = f"{accept.rule} {_shown(rival)}" if rival else str(accept)
    if agrees:
        return REPRODUCED, f"{rule}: {claim.because}"
    return DIFFERS, claim.differs or f"not {rule}"


def _agrees(claim: Claim, ours: dict[str, Any], rival: dict[str, Any] | None) -> bool | None:
    assert claim.accept is not None
    bound = claim.accept.bound
    match claim.accept.rule:
        case "within":
            assert claim.paper is not None
            assert claim.paper.value is not None
            reach = bound * (abs(claim.paper.value) if claim.accept.relative else 1.0)
            return _inside(ours, claim.paper.value - reach, claim.paper.value + reach)
        case "at_least":
            return _inside(ours, bound, math.inf)
        case "at_most":
            return _inside(ours, -math.inf, bound)
        case "between":
            return _inside(ours, *bound)
        case "above":
            assert rival is not None
            return _less(rival, ours)
        case "below":
            assert rival is not None
            return _less(ours, rival)
        case _:
            return bool(ours["value"] == bound)


def _inside(scalar: dict[str, Any], least: float, most: float) -> bool | None:
    value, low, high = scalar["value"], scalar["low"], scalar["high"]
    inside = bool(least <= value <= most)
    if low is None and high is None:
        return inside
    low, high = value if low is None else low, value if high is None else high
    settled = least <= low and high <= most if inside else high < least or low > most
    return inside if settled else None


def _less(one: dict[str, Any], other: dict[str, Any]) -> bool | None:
    if None in (one["low"], one["high"], other["low"], other["high"]):
        return bool(one["value"] < other["value"])
    if one["high"] < other["low"]:
        return True
    return False if other["high"] < one["low"] else None


def _shown(scalar: dict[str, Any]) -> str:
    return interval_text(scalar["value"], scalar["low"], scalar["high"], scalar["unit"])
