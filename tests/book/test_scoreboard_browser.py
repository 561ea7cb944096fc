"""The filter of the scoreboard, driven as a reader would, and the page without a script."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

pytestmark = pytest.mark.browser

STATE = """() => {
  const shown = rows => [...document.querySelectorAll(rows)].filter(row => row.checkVisibility());
  const form = document.querySelector(".scoreboard-filter");
  return {
    claims: shown("[id^=claims-] tbody tr").map(row => [
      row.closest(".scoreboard-box").id.slice("claims-".length),
      row.lastElementChild.querySelector(".robustkit-verdict").textContent.split(" (")[0]]),
    places: shown("[id^=places-] tbody tr").map(row => [
      row.closest(".scoreboard-box").id.slice("places-".length),
      ...[...row.querySelectorAll(".robustkit-verdict")].map(mark => mark.textContent)]),
    boxes: shown(".scoreboard-box").length,
    tables: shown(".scoreboard-box table").length,
    count: form?.querySelector("output").textContent,
    chosen: form && [...form.querySelectorAll("select")].map(select => select.value),
    options: form && [...form.querySelectorAll("select")].map(select => select.length),
  };
}"""


@pytest.fixture(params=[True, False], ids=["script", "no script"])
def scripted(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture
def page(desk: Any, address: str) -> Any:
    desk.goto(f"{address}/book/scoreboard.html", wait_until="load")
    return desk


def test_all_rows_are_shown_at_first_with_and_without_a_script(
    browser: Any, address: str, scripted: bool
) -> None:
    opened = browser.new_context(java_script_enabled=scripted)
    shown = opened.new_page()
    shown.goto(f"{address}/book/scoreboard.html?verdict=wrong", wait_until="load")
    rows = shown.locator(".scoreboard-box tbody tr")
    assert rows.count() > 100
    assert all(row.is_visible() for row in rows.all()[::20])
    assert shown.locator(".scoreboard-filter").count() == int(scripted)
    opened.close()


def test_filters_show_the_rows_of_a_chapter_and_a_verdict(page: Any) -> None:
    everything = page.evaluate(STATE)
    chapters = {chapter for chapter, _ in everything["claims"]}
    assert everything["options"] == [len(chapters) + 1, 5]
    assert everything["count"] == "{0} of {0} rows".format(len(everything["claims"]))
    page.select_option("select[name=verdict]", "not-run")
    state = page.evaluate(STATE)
    expected = [row for row in everything["claims"] if row[1] == "not run"]
    assert state["claims"] == expected
    assert state["places"] == [row for row in everything["places"] if "not run" in row[1:]]
    page.select_option("select[name=chapter]", "02_sparse")
    state = page.evaluate(STATE)
    assert state["claims"] == [row for row in expected if row[0] == "02_sparse"]
    assert state["claims"]
    assert state["boxes"] == state["tables"] == 2
    assert state["count"].startswith(f"{len(state['claims'])} of ")
    page.get_by_role("button", name="Show all").click()
    assert page.evaluate(STATE) == everything


def test_the_keyboard_reaches_and_moves_the_filters(page: Any) -> None:
    page.locator("select[name=chapter]").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "verdict"
    page.keyboard.press("ArrowDown")
    state = page.evaluate(STATE)
    assert state["chosen"][1] != ""
    assert {verdict.replace(" ", "-") for _, verdict in state["claims"]} == {state["chosen"][1]}
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate(STATE)["chosen"] == ["", ""]


def test_hidden_rows_are_hidden_on_a_phone_too(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.select_option("select[name=verdict]", "differs")
    state = page.evaluate(STATE)
    assert {verdict for _, verdict in state["claims"]} == {"differs"}
    wide, shown = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= shown


def test_a_link_to_a_hidden_row_shows_it(page: Any) -> None:
    page.select_option("select[name=chapter]", "01_preliminaries")
    page.evaluate("location.hash = '#claim-fools-everything'")
    page.wait_for_function("document.getElementById('claim-fools-everything').checkVisibility()")
    assert page.evaluate(STATE)["chosen"] == ["", ""]
    top = page.evaluate(
        "document.getElementById('claim-fools-everything').getBoundingClientRect().top"
    )
    assert 0 <= top < 900


@pytest.mark.parametrize("start", ["book/index.html", "book/scoreboard.html"])
def test_each_count_of_a_badge_is_that_of_the_rows_it_leads_to(
    page: Any, address: str, start: str
) -> None:
    page.goto(f"{address}/{start}", wait_until="load")
    counts = page.evaluate(
        """[...document.querySelectorAll(".robustkit-badge a")].map(
            link => [link.href, parseInt(link.textContent)])"""
    )
    assert len(counts) > 4
    for link, count in counts[::3]:
        page.goto(link, wait_until="load")
        state = page.evaluate(STATE)
        asked = parse_qs(urlsplit(link).query)
        assert state["chosen"] == [asked["chapter"][0], asked["verdict"][0]]
        assert len(state["claims"]) == count


def test_a_number_leads_to_the_cell_that_records_it(page: Any) -> None:
    page.locator("#claim-fools-everything .recorded a").click()
    page.wait_for_load_state("load")
    assert urlsplit(page.url).path.endswith("notebooks/02_sparse.html")
    name = urlsplit(page.url).fragment
    source = page.evaluate(f"document.getElementById('{name}').textContent")
    assert "_fooled" in source
    page.wait_for_function(
        f"""(() => {{ const box = document.getElementById('{name}').getBoundingClientRect();
        return box.bottom > 0 && box.top < innerHeight; }})()"""
    )
