"""Accepted verdicts: what counts as worse, and the commands that compare and accept."""

from itertools import product
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from robustkit import cli, records, verdicts
from robustkit.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [
    "reproduced (paper)",
    "reproduced (laptop)",
    "differs (laptop)",
    "differs (smoke)",
    "not judged",
    "not run",
]


class Checkout:
    """A checkout with two chapters, in which each claim says that a scalar is at least one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "book" / "verdicts.yml"

    def write(self, chapter: str = "01_tiny", profile: str = "laptop", **scalars: float) -> None:
        """Write the claims of a chapter, one for each scalar, and its record."""
        claims = [
            {
                "id": name,
                "statement": "It is one.",
                "source": {"key": "adams1979", "where": "chapter 27"},
                "ours": name,
                "accept": {"at_least": 1},
                "because": "said",
                "profiles": ["laptop", "paper"],
            }
            for name in scalars
        ]
        content = yaml.safe_dump({"chapter": chapter, "claims": claims})
        (self.folder / "book" / "claims" / f"{chapter}.yml").write_text(content, encoding="utf-8")
        record = records.Record(chapter, {"profile": profile})
        for name, value in scalars.items():
            record.scalar(name, value)
        records.write(
            self.folder / "book" / "results" / profile / f"{chapter}.json", record.as_dict()
        )


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    for folder in ("notebooks", "book/claims", "book/results/laptop", "book/results/paper"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    made = Checkout(tmp_path)
    made.write(one=1, two=2)
    made.write("02_more", three=0)
    return made


def call(*arguments: str):
    return CliRunner().invoke(cli.cli, ["claims", *arguments])


def kind(was: str, now: str) -> str:
    [change] = verdicts.compare({"01": {"claim": was}}, {"01": {"claim": now}})
    return change.kind


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        ("reproduced (laptop)", "differs (laptop)", "worse"),
        ("reproduced (laptop)", "differs (paper)", "worse"),
        ("reproduced (laptop)", "not judged", "worse"),
        ("reproduced (laptop)", "not run", "worse"),
        ("reproduced (laptop)", "reproduced (smoke)", "worse"),
        ("reproduced (laptop)", "reproduced (paper)", "better"),
        ("differs (laptop)", "reproduced (smoke)", "better"),
        ("differs (laptop)", "not run", "worse"),
        ("differs (laptop)", "not judged", "worse"),
        ("not judged", "reproduced (smoke)", "better"),
        ("not judged", "differs (smoke)", "worse"),
        ("not judged", "not run", "worse"),
        ("not run", "not judged", "better"),
        ("not run", "reproduced (laptop)", "better"),
        ("not run", "differs (laptop)", "worse"),
    ],
)
def test_a_change_is_better_or_worse(was: str, now: str, expected: str) -> None:
    assert kind(was, now) == expected


def test_no_way_leads_back_to_better() -> None:
    # Otherwise two changes that pass could end where a check should have failed.
    for first, second in product(TEXTS, TEXTS):
        if first == second:
            assert verdicts.compare({"01": {"claim": first}}, {"01": {"claim": first}}) == []
        elif kind(first, second) == "better":
            assert kind(second, first) == "worse"


def test_claims_that_come_and_go_are_named_in_the_order_of_the_book() -> None:
    old = {"02": {"gone": "not run"}, "01": {"same": "not run", "lost": "not judged"}}
    new = {"01": {"same": "not run", "found": "differs (smoke)"}}
    changes = verdicts.compare(old, new)
    assert [str(change) for change in changes] == [
        "01/lost: removed, was not judged",
        "01/found: new, differs (smoke)",
        "02/gone: removed, was not run",
    ]
    assert verdicts.failures(changes) == [changes[0], changes[2]]


def test_what_was_accepted_passes_the_check(checkout: Checkout) -> None:
    done = call("--accept")
    assert done.exit_code == 0
    assert "01_tiny/one: new, reproduced (laptop)" in done.output
    assert verdicts.accepted() == {
        "01_tiny": {"one": "reproduced (laptop)", "two": "reproduced (laptop)"},
        "02_more": {"three": "differs (laptop)"},
    }
    done = call("--check")
    assert (done.exit_code, done.output) == (0, "every verdict is the accepted one\n")


def test_a_worse_verdict_fails_and_is_named_with_both(checkout: Checkout) -> None:
    call("--accept")
    before = checkout.file.read_bytes()
    checkout.write(one=0, two=2)
    done = call("--check")
    assert done.exit_code == 1
    assert "01_tiny/one: worse, was reproduced (laptop), is differs (laptop)" in done.output
    assert "two" not in done.output
    assert checkout.file.read_bytes() == before
    assert call("--check", "02_more").exit_code == 0
    assert call("--accept").exit_code == 0
    assert call("--check").exit_code == 0


def test_a_better_verdict_passes_and_is_named(checkout: Checkout) -> None:
    call("--accept")
    checkout.write("02_more", three=1)
    checkout.write(profile="paper", one=1, two=2)
    done = call("--check")
    assert done.exit_code == 0
    assert done.output.splitlines() == [
        "01_tiny/one: better, was reproduced (laptop), is reproduced (paper)",
        "01_tiny/two: better, was reproduced (laptop), is reproduced (paper)",
        "02_more/three: better, was differs (laptop), is reproduced (laptop)",
    ]


def test_a_new_claim_passes_even_where_it_differs(checkout: Checkout) -> None:
    call("--accept")
    checkout.write(one=1, two=2, four=0)
    done = call("--check")
    assert (done.exit_code, done.output) == (0, "01_tiny/four: new, differs (laptop)\n")


def test_a_removed_claim_fails(checkout: Checkout) -> None:
    call("--accept")
    checkout.write(one=1)
    done = call("--check")
    assert done.exit_code == 1
    assert "01_tiny/two: removed, was reproduced (laptop)" in done.output
    call("--accept")
    assert call("--check").exit_code == 0


def test_a_lost_record_fails(checkout: Checkout) -> None:
    call("--accept")
    (checkout.folder / "book" / "results" / "laptop" / "02_more.json").unlink()
    done = call("--check")
    assert done.exit_code == 1
    assert "02_more/three: worse, was differs (laptop), is not run" in done.output


def test_one_chapter_is_accepted_alone(checkout: Checkout) -> None:
    call("--accept")
    checkout.write(one=0, two=2)
    checkout.write("02_more", three=1)
    done = call("--accept", "02_more")
    assert done.output == "02_more/three: better, was differs (laptop), is reproduced (laptop)\n"
    assert verdicts.accepted()["01_tiny"]["one"] == "reproduced (laptop)"
    assert list(verdicts.accepted()) == ["01_tiny", "02_more"]
    assert call("--check").exit_code == 1


def test_an_interrupted_write_leaves_the_old_file(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("--accept")
    before = checkout.file.read_bytes()
    checkout.write(one=0, two=2)

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        verdicts.accept()
    assert checkout.file.read_bytes() == before
    assert [path.name for path in checkout.file.parent.glob("*verdicts*")] == [checkout.file.name]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("01_tiny: [", "cannot be read"),
        ("- 01_tiny", "must map each chapter"),
        ("01_tiny: reproduced", "must map each chapter"),
        ("01_tiny: {one: perfect}", "'perfect' is no verdict"),
        ("01_tiny: {one: 1}", "1 is no verdict"),
        ("01_tiny: {one: reproduced}", "must name a profile"),
        ("01_tiny: {one: reproduced (desktop)}", "must name a profile"),
        ("01_tiny: {one: not run (laptop)}", "must name a profile"),
    ],
)
def test_a_damaged_file_is_refused(checkout: Checkout, content: str, says: str) -> None:
    checkout.file.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=says) as raised:
        verdicts.check()
    assert str(checkout.file) in str(raised.value)
    done = call("--check")
    assert done.exit_code == 1
    assert says in done.output


def test_a_check_without_accepted_verdicts_says_what_to_do(checkout: Checkout) -> None:
    done = call("--check")
    assert done.exit_code == 1
    assert "robustkit claims --accept" in done.output


def test_checking_and_accepting_at_once_is_not_understood(checkout: Checkout) -> None:
    done = call("--check", "--accept")
    assert done.exit_code == 2
    assert not checkout.file.exists()


def test_no_claim_of_the_book_is_worse_than_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert verdicts.accepted()
    assert [str(change) for change in verdicts.failures(verdicts.check())] == []
