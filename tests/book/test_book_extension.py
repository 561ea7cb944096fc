"""The parts of the book's extension on small examples."""

import json
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from docutils import nodes
from robustkit_book import (
    figures,
    mathjax,
    parity,
    polish,
    provenance,
    record_table,
    scoreboard,
    signatures,
    values,
)
from robustkit_book.works import Work, authors

from robustkit import claims
from robustkit.errors import InputError, RobustkitError
from robustkit.plots import DARK

RECORD = {
    "schema": 1,
    "chapter": "01_example",
    "parameters": {"profile": "laptop", "name": "<b>&"},
    "scalars": {
        "share": {"value": 0.5, "low": 0.4, "high": 0.6, "unit": "", "count": 100, "note": ""},
        "time": {"value": 12.3456, "low": None, "high": None, "unit": "s", "count": 1, "note": ""},
        "never": {"value": "inf", "low": 2.0, "high": "inf", "unit": "", "count": 3, "note": ""},
    },
    "tables": {"counts": {"the_name": ["<b>", "two"], "share": [0.123456, 2]}},
    "provenance": {"python": "3.11", "inputs": {"robustkit/x.py": "a" * 64, "cifar10": "b" * 64}},
}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one chapter, one claim and a laptop record."""
    (tmp_path / "pyproject.toml").touch()
    for folder in ("notebooks", "book/claims", "book/results/laptop"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "notebooks" / "01_example.py").touch()
    path = tmp_path / "book" / "results" / "laptop" / "01_example.json"
    path.write_text(json.dumps(RECORD), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def soup(html: str) -> BeautifulSoup:
    return BeautifulSoup(html, "html.parser")


class TestValue:
    @pytest.mark.parametrize(
        ("asked", "text"),
        [
            ("laptop.share", "0.5"),
            ("laptop.share|interval", "0.5 [0.4, 0.6]"),
            ("laptop.share:.1%|interval", "50.0% [40.0%, 60.0%]"),
            ("laptop.time", "12.35 s"),
            ("laptop.time:.1f", "12.3\N{NO-BREAK SPACE}s"),
            ("01_example/laptop.share", "0.5"),
            ("laptop.never|interval", "infinite [2, infinite]"),
        ],
    )
    def test_prints_the_number(self, checkout: Path, asked: str, text: str) -> None:
        assert values.resolve(asked, "01_example") == text

    @pytest.mark.parametrize(
        ("asked", "chapter", "says"),
        [
            ("laptop.shar", "01_example", "Did you mean 'share'"),
            ("labtop.share", "01_example", "Did you mean 'laptop'"),
            ("paper.share", "01_example", "no paper record"),
            ("laptop.share", "", "write chapter/laptop.share"),
            ("laptop.time|interval", "01_example", "no interval"),
            ("laptop.share:.2q", "01_example", "not a format"),
            ("just words", "01_example", "cannot read"),
        ],
    )
    def test_refuses_what_is_not_there(
        self, checkout: Path, asked: str, chapter: str, says: str
    ) -> None:
        with pytest.raises(RobustkitError, match=says):
            values.resolve(asked, chapter)

    def test_knows_the_chapter_of_a_page(self) -> None:
        assert values.own_chapter("notebooks/01_example") == "01_example"
        assert values.own_chapter("book/scoreboard") == ""


class TestRecordTable:
    def test_rows_are_those_of_the_record_as_text(self, checkout: Path) -> None:
        columns = record_table.found("01_example/laptop.counts")
        page = soup(rendered(record_table.drawn(columns, [nodes.Text("Words.")])))
        assert page.caption is not None
        assert page.caption.get_text() == "Words."
        assert [cell.get_text() for cell in page.select("thead th")] == ["the name", "share"]
        assert [cell.get_text(strip=True) for cell in page.select("tbody :is(th, td)")] == [
            *("<b>", "0.1235"),
            *("two", "2"),
        ]

    @pytest.mark.parametrize(
        ("asked", "words"),
        [
            ("01_example.counts", "write chapter/profile.table"),
            ("01_example/smoke.counts", "no smoke record of chapter '01_example'"),
            ("01_example/laptop.count", "counts"),
        ],
    )
    def test_what_is_not_there_is_named(self, checkout: Path, asked: str, words: str) -> None:
        with pytest.raises(RobustkitError, match=words):
            record_table.found(asked)


class TestFigures:
    def test_recolours_in_one_pass_and_only_whole_colours(self) -> None:
        svg = "fill: #1f2328; stroke: #FFFFFF; href='#1f2328ab'"
        swapped = figures.recolour(svg, {"#1f2328": "#ffffff", "#ffffff": "#1f2328"})
        assert swapped == "fill: #ffffff; stroke: #1f2328; href='#1f2328ab'"

    def test_dark_palette_keeps_every_colour_apart(self) -> None:
        assert len(set(DARK.values())) == len(DARK)
        assert not set(DARK) & set(DARK.values())

    def test_pairs_a_figure_with_its_twin(self, tmp_path: Path) -> None:
        (tmp_path / "a.svg").write_text("<svg fill='#1f2328'/>", encoding="utf-8")
        page = soup(
            '<div class="cell_output"><figure><img id="x" alt="A line." src="a.svg"/>'
            "<figcaption>Words.</figcaption></figure></div>"
        )
        figures.add_dark_twins(page, tmp_path, DARK)
        light, dark = page.select("span.figure-pair > img")
        assert (light["src"], light["class"], light["alt"]) == ("a.svg", ["only-light"], "A line.")
        assert (dark["src"], dark["class"], dark["alt"]) == ("a-dark.svg", ["only-dark"], "A line.")
        assert light["id"] == "x"
        assert not dark.has_attr("id")
        assert DARK["#1f2328"] in (tmp_path / "a-dark.svg").read_text(encoding="utf-8")
        # The theme hides captions beside an image of the other scheme.
        assert not page.select("img ~ figcaption")

    def test_leaves_a_pair_alone_but_follows_the_palette(self, tmp_path: Path) -> None:
        (tmp_path / "a.svg").write_text("#1f2328", encoding="utf-8")
        page = soup('<div class="cell_output"><img alt="A line." src="a.svg"/></div>')
        figures.add_dark_twins(page, tmp_path, DARK)
        once = str(page)
        figures.add_dark_twins(page, tmp_path, {"#1f2328": "#abcdef"})
        assert str(page) == once
        assert (tmp_path / "a-dark.svg").read_text(encoding="utf-8") == "#abcdef"


class TestPolish:
    def test_drops_what_asks_another_host(self) -> None:
        page = soup(
            '<link href="https://a.example/x.css" rel="stylesheet"/><script src="//b.example/y.js">'
            '</script><img src="z.svg"/><a href="https://c.example">stays</a>'
        )
        polish.drop_external_requests(page)
        assert str(page) == '<img src="z.svg"/><a href="https://c.example">stays</a>'

    def test_names_table_headers(self) -> None:
        page = soup(
            "<table><thead><tr><th></th><th>a</th></tr></thead>"
            "<tbody><tr><th>0</th><td>1</td></tr></tbody></table>"
        )
        polish.name_table_headers(page)
        assert [cell["scope"] for cell in page.select("th")] == ["col", "row"]
        assert page.thead is not None
        assert len(page.thead.select("td")) == 1

    def test_completes_a_redirect(self) -> None:
        page = soup('<meta http-equiv="Refresh" content="0; url=book/index.html"/>')
        polish.complete_redirect(page)
        assert page.html is not None
        assert page.html["lang"] == "en"
        assert page.select_one("a[href='book/index.html']")
        once = str(page)
        polish.complete_redirect(page)
        assert str(page) == once

    def test_names_and_links_the_source_of_a_claim(self, tmp_path: Path) -> None:
        page = soup(
            "<table class='robustkit-claims'><tr><th><small>key2020, Table 1</small></th></tr>"
            "</table>"
        )
        works = {"key2020": Work("A & B (2020)", "book/bibliography.html#id1")}
        for _ in range(2):
            polish.link_sources(page, tmp_path / "notebooks", tmp_path, works)
        link = page.select_one("small a")
        assert link is not None
        assert link["href"] == "../book/bibliography.html#id1"
        assert page.get_text() == "A & B (2020), Table 1"

    def test_whole_pass_is_idempotent(self, tmp_path: Path) -> None:
        page = tmp_path / "page.html"
        page.write_text(
            "<!DOCTYPE html>\n<nav><ul><li><a>API</a><details><summary><i></i></summary></details>"
            "</li></ul></nav><div id='pst-primary-sidebar'></div><p>a &amp; b\xa0&lt;c</p>"
            "<dl><dt class='sig'>f(<dl><dd>x</dd></dl>)</dt><dd></dd></dl>"
            "<div class='citation-list' role='list'><div class='citation'></div></div>",
            encoding="utf-8",
        )
        polish.polish(tmp_path, DARK, {})
        once = page.read_text(encoding="utf-8")
        assert 'aria-label="Pages under API"' in once
        assert 'role="listitem"' in once
        assert '<dt class="sig">f(<div' in once
        polish.polish(tmp_path, DARK, {})
        assert page.read_text(encoding="utf-8") == once


class TestProvenance:
    def test_escapes_and_counts(self, checkout: Path) -> None:
        made = provenance.found("01_example")
        assert list(made) == ["laptop"]
        page = soup(provenance.block(made, lambda profile: f'{profile}"/x.json'))
        text = page.get_text(" ")
        assert "name=<b>&" in text
        assert "cifar10 bbbbbbbbbbbb" in text
        assert "1, with their digests in the record" in text
        assert not page.find("b")
        link = page.find("a")
        assert link is not None
        assert link["href"] == 'laptop"/x.json'

    def test_copies_the_record_that_it_links_to(self, checkout: Path, tmp_path: Path) -> None:
        provenance.copy_records(tmp_path / "site")
        copied = tmp_path / "site" / provenance.FOLDER / "laptop" / "01_example.json"
        assert json.loads(copied.read_text(encoding="utf-8")) == RECORD

    @pytest.mark.parametrize(
        ("seconds", "text"), [(12.4, "12 s"), (600, "10 min"), (9000, "2.5 h")]
    )
    def test_writes_a_duration(self, seconds: float, text: str) -> None:
        assert provenance.duration(seconds) == text


class TestScoreboard:
    CLAIM = (
        "chapter: 01_example\nclaims:\n- id: half\n  statement: {statement}\n"
        "  source: {{key: key2020, where: Table 1}}\n  paper: {{value: 0.5, verified: true}}\n"
        "  ours: share\n  accept: {{within: 0.1}}\n  because: said\n  profiles: [laptop]\n"
    )

    def rows(self, checkout: Path, statement: str) -> list[claims.ScoreRow]:
        path = checkout / "book" / "claims" / "01_example.yml"
        path.write_text(self.CLAIM.format(statement=json.dumps(statement)), encoding="utf-8")
        return claims.scoreboard()

    def test_shows_number_interval_and_verdict(self, checkout: Path) -> None:
        (row,) = self.rows(checkout, "Half of them.")
        (line,) = scoreboard.measurement(row, "laptop")
        assert line.astext() == "laptop 0.5 [0.4, 0.6] reproduced"
        assert scoreboard.measurement(row, "smoke") == []

    def test_a_script_in_a_claim_is_text(self, checkout: Path) -> None:
        (row,) = self.rows(checkout, "<script>alert(1)</script>")
        cell: list[nodes.Node] = [nodes.Text(row.claim.statement)]
        made = scoreboard.table(
            "scoreboard", [nodes.Text("Words.")], [cell], [("claim-half", [cell])]
        )
        assert rendered(made).count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2
        assert "<script>" not in rendered(made)

    def test_a_verdict_is_a_word_and_a_class(self) -> None:
        made = scoreboard.verdict("not run")
        assert made.astext() == "not run"
        assert made["classes"] == ["robustkit-verdict", "robustkit-not-run"]


class TestParity:
    ROWS = {  # noqa: RUF012
        "fog": {
            "comparisons": {
                "formula": {
                    "with": "<script>alert(1)</script>",
                    "largest": 1e-12,
                    "unit": "range",
                    "file": "test_fog.py",
                },
                "single": {
                    "with": "float32",
                    "largest": 2e-6,
                    "unit": "range",
                    "file": "test_fog.py",
                },
            }
        },
        "motion_blur": {
            "comparisons": {
                "outputs": {
                    "with": "stored",
                    "largest": 1,
                    "unit": "levels",
                    "share": 0.003,
                    "file": "test_motion.py",
                },
            },
            "different": "No <b>magic</b>.",
        },
    }

    def test_a_row_holds_what_the_file_says_as_text(self) -> None:
        page = soup(rendered(parity.rows_table(self.ROWS)))
        assert not page.find(["script", "b"])
        assert page.table is not None
        assert page.table["class"] == ["parity"]
        assert len(page.select("thead th")) == 3
        fog, motion = page.select("tbody tr")
        assert motion["id"] == "parity-motion-blur"
        first, second, third = (cell.get_text().split() for cell in fog.select("th, td"))
        assert first == ["fog", "test_fog.py"]
        assert " ".join(second) == (
            "<script>alert(1)</script>: 10⁻¹² of the range float32: 2 · 10⁻⁶ of the range"
        )
        assert third == ["nothing"]
        assert "stored: 1 level, in at most 0.3\N{NO-BREAK SPACE}% of" in motion.get_text()
        assert "No <b>magic</b>." in motion.get_text()

    @pytest.mark.parametrize(
        ("row", "text"),
        [
            ({"unit": "range", "largest": 0}, "equal"),
            ({"unit": "range", "largest": 2e-4, "share": 0.002}, "2 · 10⁻⁴ of the range, for all"),
            ({"unit": "levels", "largest": 0}, "equal in every level"),
            ({"unit": "levels", "largest": 0.5}, "0.5 level"),
            ({"unit": "levels", "largest": 40, "share": 0.02}, "40 levels, in at most 2"),
            ({"unit": "probability", "largest": 1e-6}, "10⁻⁶ in total variation"),
            ({"unit": "errors", "largest": 4}, "4 standard errors"),
            (
                {"unit": "errors", "largest": 4, "share": 0.004},
                "4 standard errors (shares of black and white: 0.4",
            ),
        ],
    )
    def test_a_limit_is_a_phrase(self, row: dict[str, Any], text: str) -> None:
        assert parity.limit(row).startswith(text)

    def test_an_unknown_unit_is_refused(self) -> None:
        with pytest.raises(LookupError, match="unit 'inch'"):
            parity.limit({"unit": "inch", "largest": 1})

    def test_the_table_of_the_book_has_a_row_for_each_corruption(self) -> None:
        from robustkit.corruptions import C_BAR, CORRUPTIONS, EXTRA

        rows = parity.read(Path(__file__).resolve().parents[2] / "book" / "parity.yml")
        page = soup(rendered(parity.rows_table(rows)))
        names = [cell.get_text() for cell in page.select("tbody th .literal, tbody th code")]
        assert names == [*CORRUPTIONS, *EXTRA, *C_BAR]
        assert [len(row.select(".comparison")) for row in page.select("tbody tr")] == [
            len(row["comparisons"]) for row in rows.values()
        ]


def rendered(node: nodes.Node) -> str:
    from docutils.core import publish_from_doctree
    from docutils.utils import new_document

    document = new_document("page")
    document += node
    settings: dict[str, Any] = {"output_encoding": "unicode", "embed_stylesheet": False}
    whole = publish_from_doctree(document, writer_name="html5", settings_overrides=settings)
    return str(soup(whole).body)


class TestSignatures:
    def test_are_those_of_the_source(self) -> None:
        from robustkit import stats

        found = signatures.from_source(None, "function", "", stats.median, None, "(values)", None)
        assert found == ("(values: ArrayLike, *, level: float=0.95)", "Interval")

    def test_of_a_dataclass_are_its_fields(self) -> None:
        from robustkit import stats

        found = signatures.from_source(None, "class", "", stats.Interval, None, "(x)", None)
        assert found is not None
        assert found[0].startswith("(estimate: float, low: float")
        assert found[1] is None

    def test_leave_what_has_no_source(self) -> None:
        assert signatures.from_source(None, "function", "", len, None, "(x)", None) is None


def test_mathjax_is_the_part_a_page_needs(tmp_path: Path) -> None:
    copied = {path.as_posix() for path in mathjax.copy(tmp_path)}
    assert "tex-chtml.js" in copied
    assert "output/chtml/fonts/woff-v2/MathJax_Main-Regular.woff" in copied
    assert "input/tex/extensions/cancel.js" in copied
    assert {str(f.relative_to(tmp_path)) for f in tmp_path.rglob("*") if f.is_file()} == copied
    stamp = (tmp_path / "tex-chtml.js").stat().st_mtime_ns
    mathjax.copy(tmp_path)
    assert (tmp_path / "tex-chtml.js").stat().st_mtime_ns == stamp


def test_authors_are_shortened_from_three_on() -> None:
    assert authors(["A"]) == "A"
    assert authors(["A", "B"]) == "A and B"
    assert authors(["A", "B", "C"]) == "A et al."


def test_input_errors_are_of_the_project() -> None:
    with pytest.raises(InputError):
        values.written(RECORD["scalars"]["time"], interval=True)
