"""The rows of the scoreboard: coverage files, badges, places, and the cells that record."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from docutils import nodes
from robustkit_book import coverage, recorded, scoreboard

from robustkit import claims, project, records, strict_json
from robustkit.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
SOURCE = {"key": "key2020", "where": "Table 1"}
ROW = {"id": "gone", "statement": "It was there.", "source": SOURCE, "needs": "a machine"}
PLACE = {"source": SOURCE, "shows": "Numbers.", "known": "found", "rows": ["half", "gone"]}


def without(entry: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in keys}


class Checkout:
    """A checkout with one chapter, one claim and a laptop record."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def cover(self, row: dict[str, Any] = ROW, place: dict[str, Any] = PLACE) -> None:
        """Write the coverage file of the chapter."""
        content = {"note": "Read.", "rows": [row], "places": [place]}
        path = self.folder / "book" / "coverage" / "01_tiny.yml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    (tmp_path / "pyproject.toml").touch()
    for folder in ("notebooks", "book/claims", "book/coverage"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "notebooks" / "01_tiny.py").touch()
    claim = without(ROW, "needs") | {"id": "half", "ours": "share", "accept": {"at_most": 1}}
    claim |= {"because": "said", "profiles": ["laptop"]}
    (tmp_path / "book" / "claims" / "01_tiny.yml").write_text(
        yaml.safe_dump({"chapter": "01_tiny", "claims": [claim]}), encoding="utf-8"
    )
    record = records.Record("01_tiny", {"profile": "laptop"})
    record.scalar("share", 0.5, 0.4, 0.6)
    records.write(tmp_path / "book/results/laptop/01_tiny.json", record.as_dict())
    monkeypatch.chdir(tmp_path)
    made = Checkout(tmp_path)
    made.cover()
    return made


class TestCoverage:
    def test_a_row_follows_the_claims_and_says_what_it_needs(self, checkout: Checkout) -> None:
        claim, row = coverage.scoreboard()
        assert (claim.claim.id, claim.overall.status) == ("half", claims.REPRODUCED)
        assert (row.claim.id, row.overall.status) == ("gone", claims.NOT_RUN)
        assert row.overall.detail == "a machine"
        (line,) = [
            part for profile in project.PROFILES for part in scoreboard.measurement(row, profile)
        ]
        assert line.astext() == "paper not run "

    def test_a_number_without_a_rule_is_shown_and_not_judged(self, checkout: Checkout) -> None:
        own = {"open": "not read", "ours": "share", "profiles": ["laptop", "paper"]}
        own |= {"paper": {"text": "0.4", "verified": False}}
        checkout.cover(without(ROW, "needs") | own)
        _, row = coverage.scoreboard()
        assert (row.overall.status, row.overall.detail) == (claims.NOT_JUDGED, "not read")
        (line,) = scoreboard.measurement(row, "laptop")
        assert line.astext() == "laptop 0.5 [0.4, 0.6] not judged"
        assert scoreboard.measurement(row, "smoke") == []
        (written,) = claims.table([row], "").lines
        assert written.cells[0] == "0.4 (not verified)"

    def test_a_drawing_has_no_numbers(self, checkout: Checkout) -> None:
        checkout.cover(without(ROW, "needs") | {"open": "a drawing"})
        _, row = coverage.scoreboard()
        assert row.overall.status == claims.NOT_JUDGED
        assert [scoreboard.measurement(row, profile) for profile in project.PROFILES] == [[]] * 3

    def test_a_chapter_without_a_file_has_its_claims_alone(self, checkout: Checkout) -> None:
        (checkout.folder / "book" / "coverage" / "01_tiny.yml").unlink()
        assert [row.claim.id for row in coverage.scoreboard()] == ["half"]
        assert coverage.chapters() == []

    def test_a_file_waits_for_its_chapter(self, checkout: Checkout) -> None:
        (checkout.folder / "notebooks" / "01_tiny.py").unlink()
        assert coverage.chapters() == []

    @pytest.mark.parametrize(
        ("row", "place", "says"),
        [
            (ROW | {"need": "x"}, PLACE, "Did you mean 'needs'"),
            (ROW | {"open": "x"}, PLACE, "one of needs and open"),
            (without(ROW, "needs"), PLACE, "one of needs and open"),
            (ROW | {"ours": "share"}, PLACE, "ours and profiles"),
            (ROW | {"ours": "share", "profiles": ["laptop"]}, PLACE, "ours and profiles"),
            (
                without(ROW, "needs") | {"open": "x", "ours": "share", "profiles": ["labtop"]},
                PLACE,
                "Did you mean 'laptop'",
            ),
            (ROW | {"id": "half"}, PLACE, "two rows of the scoreboard"),
            (ROW | {"statement": 3}, PLACE, "statement must be a str"),
            (ROW | {"paper": {"text": "0.4"}}, PLACE, "'verified' is missing"),
            (ROW, PLACE | {"rows": ["halff"]}, "Did you mean 'half'"),
            (ROW, PLACE | {"rows": []}, "at least one row"),
            (ROW, PLACE | {"known": "read"}, "unknown way to know"),
            (ROW, without(PLACE, "shows"), "'shows' is missing"),
        ],
    )
    def test_a_file_is_read_strictly(
        self, checkout: Checkout, row: dict[str, Any], place: dict[str, Any], says: str
    ) -> None:
        checkout.cover(row, place)
        with pytest.raises(DataError, match=says):
            coverage.load("01_tiny")

    def test_the_book_has_each_row_once_and_uses_every_row_that_it_adds(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(ROOT)
        names = [row.claim.id for row in coverage.scoreboard()]
        assert len(names) == len(set(names))
        covered = coverage.chapters()
        assert {"02_sparse", "03_features", "04_corruptions"} <= {*covered}
        for chapter in covered:
            found = coverage.load(chapter)
            used = {name for place in found.places for name in place.rows}
            assert {row.claim.id for row in found.rows} <= used

    def test_no_recollection_of_the_book_is_verified(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(ROOT)
        for chapter in coverage.chapters():
            found = coverage.load(chapter)
            verified = {
                row.claim.id for row in found.rows if row.claim.paper and row.claim.paper.verified
            }
            for place in found.places:
                if place.known != "found":
                    assert not verified & {*place.rows}


class TestBadge:
    def test_counts_every_row_once(self, checkout: Checkout) -> None:
        made = scoreboard.badge(coverage.scoreboard(), "page.html?chapter=01_tiny")
        assert made.astext() == " 1 reproduced 0 differs 0 not judged 1 not run"
        links = [reference["refuri"] for reference in made.findall(nodes.reference)]
        assert links == [
            "page.html?chapter=01_tiny&verdict=reproduced#claims-01_tiny",
            "page.html?chapter=01_tiny&verdict=not-run#claims-01_tiny",
        ]


def notebook(*sources: str) -> dict[str, Any]:
    cells = [
        {"cell_type": "code", "id": f"c{index}", "source": source.splitlines(keepends=True)}
        for index, source in enumerate(sources)
    ]
    return {"cells": [{"cell_type": "markdown", "source": ["record.scalar('no')"]}, *cells]}


def targets(names: str, *sources: str) -> dict[str, str]:
    cells = recorded.recording_cells(notebook(*sources))
    return {name: cell.target for name, cell in recorded.assign(cells, names.split()).items()}


class TestRecorded:
    def test_a_name_leads_to_the_cell_that_spells_it_out(self) -> None:
        found = targets(
            "first second", 'record.scalar("first", 1)', "pass", 'record.scalar("second", 2)'
        )
        assert found == {"first": "cell-c0", "second": "cell-c2"}

    def test_braces_match_what_a_loop_puts_in(self) -> None:
        loop = 'for role in ROLES:\n    record.scalar(f"{role}_share", 1)'
        assert targets("a_share b_share other", loop, 'record.scalar("other", 1)') == {
            "a_share": "cell-c0",
            "b_share": "cell-c0",
            "other": "cell-c1",
        }

    def test_a_function_counts_where_it_is_called(self) -> None:
        defined = 'def keep(role):\n    record.scalar(f"{role}_share", 1)'
        assert targets("a_share b_share", defined, 'keep("a")', "keep(later)") == {
            "a_share": "cell-c1",
            "b_share": "cell-c1",
        }
        assert targets("a_share mid b_share", defined, 'keep("a")', M, "keep(later)") == {
            "a_share": "cell-c1",
            "mid": "cell-c2",
            "b_share": "cell-c3",
        }

    def test_a_key_of_the_cell_tells_two_alike_apart(self) -> None:
        early = 'for family in FAMILIES:\n    record.scalar(f"{family}_gain", 1)'
        late = 'for label in ("warp", "curve"):\n    record.scalar(label + "_gain", 1)'
        assert targets("noise_gain warp_gain curve_gain", early, late) == {
            "noise_gain": "cell-c0",
            "warp_gain": "cell-c1",
            "curve_gain": "cell-c1",
        }

    def test_the_order_of_the_record_decides_the_rest(self) -> None:
        loop = 'for role in ROLES:\n    record.scalar(f"{role}_share", 1)'
        assert targets("a_share mid b_share", loop, M, loop) == {
            "a_share": "cell-c0",
            "mid": "cell-c1",
            "b_share": "cell-c2",
        }

    def test_a_name_that_no_cell_has_is_left_out(self) -> None:
        assert targets("strange mid", "%timeit record.scalar('strange', 1)", M) == {
            "mid": "cell-c1"
        }
        assert targets("mid", "pass") == {}

    @pytest.mark.parametrize(
        "chapter", sorted(path.stem for path in ROOT.glob("book/claims/*.yml"))
    )
    def test_every_number_of_the_book_has_one_cell(
        self, chapter: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(ROOT)
        path = project.notebook_path(chapter)
        if not path.exists():
            pytest.skip(f"{chapter} was not run yet")
        cells = recorded.recording_cells(strict_json.read(path))
        made = [records.committed(chapter, profile) for profile in project.PROFILES]
        orders = [list(record["scalars"]) for record in made if record is not None]
        assigned = [recorded.assign(cells, names) for names in orders]
        for names, own in zip(orders, assigned, strict=True):
            assert list(own) == names
            assert all(own[name] == assigned[0].get(name, own[name]) for name in names)
        found = recorded.targets(chapter)
        claimed = {row.claim.ours for row in claims.scoreboard(chapter)}
        assert all(claimed & {*names} <= {*found} for names in orders)

    @pytest.mark.parametrize(
        ("chapter", "name", "has"),
        [
            ("01_preliminaries", "lenet_relative_l2", '"gradient sign l2"'),
            ("02_sparse", "standard_jsma_fooled", "_within_one_pixel_limit"),
            ("02_sparse", "mobilenet_published_fooled", '"photographs", large'),
            ("03_features", "digits_low", "DIGIT_MEAN, DIGIT_STD ="),
            ("03_features", "mobilenet_high", "Path(photographs)"),
            ("03_features", "low_pass_high_in_both", "CUT = 16"),
            ("04_corruptions", "noise_gain", "corruptions.FAMILIES"),
            ("04_corruptions", "warp_gain", "fresh_over_pool"),
        ],
    )
    def test_known_numbers_lead_to_their_cell(
        self, chapter: str, name: str, has: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(ROOT)
        cells = json.loads(project.notebook_path(chapter).read_text(encoding="utf-8"))["cells"]
        target = recorded.targets(chapter)[name].removeprefix("cell-")
        [source] = ["".join(cell["source"]) for cell in cells if cell["id"] == target]
        assert has in source


M = 'record.scalar("mid", 1)'
