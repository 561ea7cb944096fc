import math

import pytest
import yaml
from bs4 import BeautifulSoup

from robustkit import claim_files, claims, inputs, project, records, strict_json
from robustkit.claims_table import ClaimsTable, Line, interval_text, number_text, text_table
from robustkit.errors import DataError, UnknownNameError

ENTRY = {
    "id": "answer",
    "statement": "The answer is 42.",
    "source": {"key": "adams1979", "where": "chapter 27"},
    "paper": {"value": 42, "verified": True},
    "ours": "answer",
    "accept": {"within": 1},
    "because": "rounding",
    "profiles": ["smoke", "laptop"],
    "needs": "a large computer",
}


def record(profile="smoke", **scalars):
    made = records.Record("01_tiny", {"profile": profile})
    for name, value in scalars.items():
        made.scalar(name, value, value, value, unit="s")
    return made


def claim(checkout, **changes):
    entry = {key: value for key, value in {**ENTRY, **changes}.items() if value is not None}
    checkout.claims.write_text(yaml.safe_dump({"chapter": "01_tiny", "claims": [entry]}))
    [loaded] = claim_files.load("01_tiny")
    return loaded


def judge(checkout, value, profile="smoke", other=0.0, **changes):
    found = record(profile, answer=value, other=other).as_dict()
    return claims.verdict(claim(checkout, **changes), found)


UNVERIFIED = {"value": 42, "verified": False}
RELATIVE = {"within": 0.1, "relative": True}


@pytest.mark.parametrize(
    ("accept", "agrees", "differs"),
    [
        ({"within": 1}, [41, 42.5, 43.0], [40.9, 43.1, math.nan, math.inf]),
        (RELATIVE, [37.81, 46.19], [37.79, 46.21]),
        ({"at_least": 1}, [1, math.inf], [0.99, -math.inf, math.nan]),
        ({"at_most": 1}, [1, -3], [1.01, math.nan]),
        ({"between": [0, 1]}, [0, 1, 0.5], [-0.1, 1.1, math.nan]),
        ({"equals": 3}, [3, 3.0], [3.1, math.nan]),
        ({"equals": True}, [True], [False]),
        ({"above": "other"}, [0.1], [-1, math.nan]),
        ({"below": "other"}, [-0.1], [1, math.nan]),
    ],
)
def test_each_rule_accepts_up_to_its_bound(checkout, accept, agrees, differs):
    for value in agrees:
        assert judge(checkout, value, accept=accept).status == claims.REPRODUCED
    for value in differs:
        assert judge(checkout, value, accept=accept).status == claims.DIFFERS


def test_a_relative_tolerance_is_of_the_size_of_the_value(checkout):
    paper = {"value": -10, "verified": True}
    assert judge(checkout, -10.9, paper=paper, accept=RELATIVE).status == claims.REPRODUCED
    assert judge(checkout, -11.1, paper=paper, accept=RELATIVE).status == claims.DIFFERS


def test_a_verdict_has_our_number_and_the_reason(checkout):
    found = judge(checkout, 42.5)
    assert (found.value, found.low, found.high, found.unit) == (42.5, 42.5, 42.5, "s")
    assert found.detail == "within 1 of the paper's value: rounding"
    assert judge(checkout, 0).detail == "not within 1 of the paper's value"
    assert judge(checkout, 0, differs="we round down").detail == "we round down"


@pytest.mark.parametrize(
    "accept",
    [
        *({"within": 1}, {"at_least": 1}, {"between": [0, 99]}, {"equals": 42}),
        *({"above": "other"}, {"below": "other"}),
    ],
)
@pytest.mark.parametrize("value", [42, 0])
def test_a_value_that_is_not_verified_is_never_judged(checkout, accept, value):
    found = judge(checkout, value, paper=UNVERIFIED, accept=accept)
    assert found.status == claims.NOT_JUDGED
    assert found.detail == "the paper's value is not verified"
    assert found.value == value


def judge_intervals(checkout, accept, answer, other=(0.0, None, None), **changes):
    made = records.Record("01_tiny", {"profile": "smoke"})
    made.scalar("answer", *answer)
    made.scalar("other", *other, unit="s")
    return claims.verdict(claim(checkout, accept=accept, **changes), made.as_dict())


OTHER = (0.5, 0.4, 0.6)


@pytest.mark.parametrize(
    ("answer", "other", "above", "below"),
    [
        ((0.8, 0.7, 0.9), OTHER, "reproduced", "differs"),
        ((0.2, 0.1, 0.3), OTHER, "differs", "reproduced"),
        ((0.8, 0.59, 0.9), OTHER, "not judged", "not judged"),
        ((0.2, 0.1, 0.4), OTHER, "not judged", "not judged"),
        ((0.5, None, None), (0.4, None, None), "reproduced", "differs"),
        ((0.5, None, None), (0.5, None, None), "differs", "differs"),
        # An interval on one side alone is no comparison of two.
        ((0.55, None, None), OTHER, "reproduced", "differs"),
    ],
)
def test_two_numbers_differ_when_their_intervals_are_apart(checkout, answer, other, above, below):
    for rule, status in (("above", above), ("below", below)):
        found = judge_intervals(checkout, {rule: "other"}, answer, other)
        assert found.status == status
        assert (found.detail == "the intervals overlap") == (status == "not judged")
        assert "other" not in found.detail


def test_a_comparison_shows_the_number_compared_with(checkout):
    high, low = (0.8, 0.7, 0.9), (0.2, 0.1, 0.3)
    found = judge_intervals(checkout, {"above": "other"}, high, OTHER)
    assert found.detail == "above 0.5 s [0.4, 0.6]: rounding"
    found = judge_intervals(checkout, {"above": "other"}, low, OTHER)
    assert found.detail == "not above 0.5 s [0.4, 0.6]"


@pytest.mark.parametrize(
    ("accept", "answer", "status"),
    [
        ({"at_least": 1}, (2, 1, 3), "reproduced"),
        ({"at_least": 1}, (2, 0.9, 3), "not judged"),
        ({"at_least": 1}, (0.9, 0.8, 1), "not judged"),
        ({"at_least": 1}, (0.5, 0.1, 0.9), "differs"),
        ({"at_least": 1}, (2, 1.5, math.inf), "reproduced"),
        ({"at_most": 1}, (0.5, 0.1, 1), "reproduced"),
        ({"at_most": 1}, (0.5, 0.1, 1.1), "not judged"),
        ({"at_most": 1}, (2, 1, 3), "not judged"),
        ({"at_most": 1}, (2, 1.5, math.inf), "differs"),
        # A bound that is undefined says nothing; the other one counts.
        ({"at_most": 1}, (0.5, None, 1.1), "not judged"),
        ({"at_most": 1}, (0.5, None, 0.9), "reproduced"),
        ({"between": [0, 1]}, (0.5, 0, 1), "reproduced"),
        ({"between": [0, 1]}, (0.5, -0.1, 0.9), "not judged"),
        ({"between": [0, 1]}, (2, -1, 3), "not judged"),
        ({"between": [0, 1]}, (2, 1.1, 3), "differs"),
        ({"within": 1}, (42.5, 41, 43), "reproduced"),
        ({"within": 1}, (42.5, 41.5, 43.5), "not judged"),
        ({"within": 1}, (45, 42, 46), "not judged"),
        ({"within": 1}, (45, 44, 46), "differs"),
        ({"equals": 42}, (42, 41, 43), "reproduced"),
    ],
)
def test_an_interval_that_reaches_the_bound_leaves_it_open(checkout, accept, answer, status):
    found = judge_intervals(checkout, accept, answer)
    assert found.status == status
    assert (found.detail == "the interval reaches the bound") == (status == "not judged")
    assert found.value == answer[0]


def test_what_cannot_be_judged_is_not(checkout):
    assert judge(checkout, 42, "paper").status == claims.NOT_JUDGED
    assert judge(checkout, 42, "paper").detail == "judged at smoke and laptop"
    found = judge(checkout, 42, accept=None, because=None)
    assert (found.status, found.detail) == (claims.NOT_JUDGED, "no tolerance is stated")


def test_what_was_not_run_says_what_it_needs(checkout):
    made = claim(checkout)
    assert claims.verdict(made, None) == claims.Verdict("not run", detail="a large computer")
    found = claims.verdict(made, record(other=1).as_dict())
    assert (found.status, found.detail) == ("not run", "the record has no scalar 'answer'")
    made = claim(checkout, accept={"above": "rival"})
    found = claims.verdict(made, record(answer=1).as_dict())
    assert (found.status, found.detail) == ("not run", "the record has no scalar 'rival'")
    made = claim(checkout, ours=None, accept=None)
    assert claims.verdict(made, record(answer=1).as_dict()).status == claims.NOT_RUN


def commit(checkout, made):
    profile = made.parameters["profile"]
    if profile == "smoke":
        notebook = {"metadata": {"robustkit": {"record": made.as_dict()}}}
        checkout.notebook.write_text(strict_json.dumps(notebook))
    else:
        records.write(project.results_path("01_tiny", profile), made.as_dict())


def test_the_profile_nearest_the_paper_counts(checkout):
    claim(checkout, profiles=["smoke", "laptop", "paper"])
    [row] = claims.scoreboard()
    assert (row.profile, row.overall.status) == ("smoke", "not run")
    commit(checkout, record("smoke", answer=42))
    [row] = claims.scoreboard("01_tiny")
    assert (row.profile, row.overall.status) == ("smoke", "reproduced")
    commit(checkout, record("laptop", answer=50))
    [row] = claims.scoreboard("01_tiny")
    assert (row.profile, row.overall.status) == ("laptop", "differs")
    assert {profile: found.status for profile, found in row.verdicts.items()} == {
        "smoke": "reproduced",
        "laptop": "differs",
        "paper": "not run",
    }
    caption, head, _, line = repr(claims.table([row], "The tiny chapter")).splitlines()
    assert caption == "The tiny chapter"
    assert " ".join(head.split()) == "claim paper smoke run laptop run paper run verdict"
    assert line == (
        "answer  42     42 s [42, 42]  50 s [50, 50]  not run    "
        "differs (laptop): not within 1 of the paper's value"
    )


def test_a_claim_for_the_paper_profile_is_not_run_by_smoke(checkout):
    claim(checkout, profiles=["paper"])
    commit(checkout, record("smoke", answer=42))
    [row] = claims.scoreboard()
    assert (row.profile, row.overall.status, row.overall.detail) == (
        *("paper", "not run", "a large computer"),
    )


def test_an_unknown_chapter_of_claims_gets_the_near_match(checkout):
    claim(checkout)
    with pytest.raises(UnknownNameError, match="Did you mean '01_tiny'"):
        claims.scoreboard("01_tinny")


def test_a_chapter_shows_this_run_beside_the_committed_ones(checkout, monkeypatch):
    monkeypatch.setattr(inputs, "_noted", {})
    claim(checkout)
    commit(checkout, record("laptop", answer=41.5))
    shown = claims.compare("01_tiny", record("smoke", answer=50))
    assert [line.rstrip("-") for line in repr(shown).splitlines()] == [
        "Claims of chapter 01_tiny and what this run measured",
        "claim   paper  this run       laptop run           paper run  verdict",
        "------  -----  -------------  -------------------  ---------  ",
        "answer  42     50 s [50, 50]  41.5 s [41.5, 41.5]  not run    "
        "reproduced (laptop): within 1 of the paper's value: rounding",
    ]
    # The page shows these files, so a run of the page depends on them.
    assert set(inputs._noted) == {
        "book/claims/01_tiny.yml",
        "book/results/laptop/01_tiny.json",
        "book/results/paper/01_tiny.json",
    }


def test_a_long_run_does_not_depend_on_the_claims(checkout, monkeypatch):
    monkeypatch.setattr(inputs, "_noted", {})
    claim(checkout)
    shown = claims.compare("01_tiny", record("laptop", answer=50).as_dict())
    assert inputs._noted == {}
    assert "differs (laptop): not within 1" in repr(shown)


def test_the_verdicts_of_this_run_are_listed(checkout):
    claim(checkout)
    for value, status in ((42, "reproduced"), (50, "differs")):
        [(listed, found)] = claims.verdicts("01_tiny", record(answer=value))
        assert (listed.id, found.status) == ("answer", status)
    with pytest.raises(UnknownNameError, match="Did you mean '01_tiny'"):
        claims.verdicts("01_tinny", record())
    with pytest.raises(UnknownNameError, match="Did you mean '01_tiny'"):
        claims.compare("01_tinny", record())


def test_outside_a_checkout_the_table_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(project, "__file__", str(tmp_path / "site-packages" / "project.py"))
    assert claims.verdicts("01_tiny", record(answer=1)) == []
    shown = claims.compare("01_tiny", record(answer=1))
    assert "run this notebook in a checkout" in repr(shown)
    assert "run this notebook in a checkout" in shown._repr_html_()


def test_every_text_of_the_user_is_escaped_in_html(checkout):
    evil = '<script>alert("x")</script>&'
    claim(
        checkout,
        id=evil,
        statement=evil,
        source={"key": evil, "where": evil},
        paper={"value": 42, "text": evil, "verified": False},
        because=evil,
        differs=evil,
        needs=evil,
        ours=evil,
    )
    made = record(**{evil: 1})
    made.scalars[evil]["unit"] = evil
    html = claims.compare("01_tiny", made)._repr_html_()
    html += claims.table(claims.scoreboard(), evil)._repr_html_()
    assert "<script" not in html
    page = BeautifulSoup(html, "html.parser")
    assert page.find("script") is None
    assert page.find("th", scope="row").get_text().startswith(evil)
    assert page.find_all("caption")[1].get_text() == evil


def test_the_table_is_accessible(checkout):
    claim(checkout)
    page = BeautifulSoup(claims.compare("01_tiny", record(answer=42))._repr_html_(), "html.parser")
    assert page.caption.get_text()
    heads = [cell.get_text() for cell in page.find_all("th", scope="col")]
    assert heads == ["claim", "paper", "this run", "laptop run", "paper run", "verdict"]
    [row] = page.tbody.find_all("tr")
    assert len(row.find_all(["th", "td"])) == len(heads)
    assert row.find("td", class_="robustkit-reproduced").strong.get_text() == "reproduced (smoke)"
    assert all(cell.get_text() for cell in page.find_all(["th", "td"]))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.123456, "", "0.1235"),
        (91.7, "%", "91.7%"),
        (10000, "images", "10000 images"),
        (3.0, "", "3"),
        (1.5e-7, "", "1.5e-07"),
        (True, "", "yes"),
        (False, "", "no"),
        (math.nan, "", "undefined"),
        (math.inf, "px", "infinite"),
        (-math.inf, "", "-infinite"),
        (None, "", "-"),
    ],
)
def test_numbers_are_shown_to_four_digits(value, unit, text):
    assert number_text(value, unit) == text


def test_an_interval_stands_in_brackets():
    assert interval_text(0.5, 0.25, math.inf, "%") == "0.5% [0.25, infinite]"
    assert interval_text(0.5, None, None, "%") == "0.5%"


def test_text_columns_are_aligned():
    assert text_table(["a", "bcd"], [["xyz", "1"]]) == "a    bcd\n---  ---\nxyz  1"


def test_a_line_without_a_reason_has_none():
    line = Line("a", "A.", "key, p. 1", ("1",), "not run", "")
    shown = ClaimsTable("c", ("paper",), (line,))
    assert repr(shown).endswith("not run")
    assert shown._repr_html_().count("<small>") == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"statment": "x"}, "unknown key 'statment'. Did you mean 'statement'"),
        ({"id": None}, "the key 'id' is missing"),
        ({"id": 3}, "id must be a text"),
        ({"profiles": []}, "name at least one profile"),
        ({"profiles": ["labtop"]}, "unknown profile 'labtop'. Did you mean 'laptop'"),
        ({"source": {"key": "x"}}, "source: the key 'where' is missing"),
        ({"source": "x"}, "source must be a mapping"),
        ({"paper": {"value": 1}}, "paper: the key 'verified' is missing"),
        ({"paper": {"verified": True}}, "give a value or a text"),
        ({"paper": {"verified": 1, "value": 1}}, "verified must be true or false"),
        ({"paper": {"verified": True, "value": "1e-3"}}, "a point before an exponent"),
        ({"paper": {"verified": True, "value": True}}, "must be a number"),
        ({"paper": {"verified": True, "text": "most"}}, "within asks for the paper's value"),
        ({"paper": None}, "within asks for the paper's value"),
        ({"because": None}, "accept asks for because"),
        ({"ours": None}, "accept asks for because .* and ours"),
        ({"ours": None, "accept": None, "needs": None}, "must say what it needs"),
        ({"accept": {}}, "exactly one of within"),
        ({"accept": {"within": 1, "at_least": 1}}, "exactly one of within"),
        ({"accept": {"at_leest": 1}}, "Did you mean 'at_least'"),
        ({"accept": {"at_least": 1, "relative": True}}, "relative goes with within"),
        ({"accept": {"between": [1]}}, "between takes"),
        ({"accept": {"between": [2, 1]}}, "between takes"),
        ({"accept": {"between": ["a", "b"]}}, "between must be a number"),
        ({"accept": {"equals": "one"}}, "equals must be a number"),
        ({"accept": {"above": 1}}, "above must be a text"),
    ],
)
def test_a_claims_file_is_read_strictly(checkout, changes, message):
    with pytest.raises(DataError, match=rf"(?s)01_tiny\.yml, claim 1.*{message}"):
        claim(checkout, **changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "cannot be read"),
        ("- 1", "must be a mapping"),
        ("claims: []", "the key 'chapter' is missing"),
        ("{chapter: 02_other, claims: []}", "of chapter '02_other'"),
        ("{chapter: 01_tiny, claim: []}", "unknown key 'claim'. Did you mean 'claims'"),
        ("{chapter: 01_tiny, claims: {}}", "claims must be a list"),
        ("{chapter: 01_tiny, claims: [1]}", "must be a mapping"),
        (
            yaml.safe_dump({"chapter": "01_tiny", "claims": [ENTRY, ENTRY]}),
            "two claims with the id 'answer'",
        ),
    ],
)
def test_a_file_of_another_form_is_refused(checkout, text, message):
    checkout.claims.write_text(text)
    with pytest.raises(DataError, match=message):
        claim_files.load("01_tiny")
