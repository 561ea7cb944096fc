"""Claims: what a paper says, what was measured here, and the verdict.

The entries are in `book/claims/<chapter>.yml`; `robustkit.claim_files` says how they are written.
A value that could not be read in the paper itself is shown as not verified and is never judged.
"""

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
    judged" (no rule, a profile at which the claim cannot be judged, or a rule that rests on a
    value of the paper that is not verified).
    """
    if record is None or not claim.ours:
        return Verdict(NOT_RUN, detail=claim.needs)
    if record["parameters"].get("profile") not in claim.profiles:
        # A number of the same name at another profile is about another network.
        return Verdict(NOT_JUDGED, detail=f"judged at {' and '.join(claim.profiles)}")
    scalars = record["scalars"]
    rival = claim.accept.bound if claim.accept and claim.accept.rule in ("above", "below") else ""
    for name in (claim.ours, rival):
        if name and name not in scalars:
            return Verdict(NOT_RUN, detail=f"the record has no scalar {name!r}")
    ours = scalars[claim.ours]
    status, detail = _judge(claim, record)
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
        rows += [_row(claim, found) for claim in claim_files.load(name)]
    return rows


def verdicts(
    chapter: str, record: records.Record | Mapping[str, Any]
) -> list[tuple[Claim, Verdict]]:
    """Return every claim of a chapter with its verdict by one record; none outside a checkout."""
    ours = record.as_dict() if isinstance(record, records.Record) else record
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
    ours = record.as_dict() if isinstance(record, records.Record) else record
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
        row = _row(claim, {"smoke": None, **found, profile: ours})
        shown = [row.verdicts[profile], *(verdict(claim, found[p]) for p in ("laptop", "paper"))]
        lines.append(_line(row, [str(cell) for cell in shown]))
    return ClaimsTable(caption, headings, tuple(lines))


def _row(claim: Claim, found: Mapping[str, Mapping[str, Any] | None]) -> ScoreRow:
    verdicts = {profile: verdict(claim, found[profile]) for profile in project.PROFILES}
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


def _judge(claim: Claim, record: Mapping[str, Any]) -> tuple[str, str]:
    accept, paper = claim.accept, claim.paper
    if accept is None:
        return NOT_JUDGED, "no tolerance is stated"
    # A threshold beside a number that nobody could check would rest on it; a comparison of two
    # numbers of ours does not.
    if paper and not paper.verified and accept.rule not in ("above", "below"):
        return NOT_JUDGED, "the paper's value is not verified"
    if _agrees(claim, record):
        return REPRODUCED, f"{accept}: {claim.because}"
    return DIFFERS, claim.differs or f"not {accept}"


def _agrees(claim: Claim, record: Mapping[str, Any]) -> bool:
    assert claim.accept is not None
    value, bound = records.value(record, claim.ours), claim.accept.bound
    match claim.accept.rule:
        case "within":
            assert claim.paper is not None
            assert claim.paper.value is not None
            scale = abs(claim.paper.value) if claim.accept.relative else 1.0
            return bool(abs(value - claim.paper.value) <= bound * scale)
        case "at_least":
            return bool(value >= bound)
        case "at_most":
            return bool(value <= bound)
        case "between":
            return bool(bound[0] <= value <= bound[1])
        case "above":
            return value > records.value(record, bound)
        case "below":
            return value < records.value(record, bound)
        case _:
            return bool(value == bound)
