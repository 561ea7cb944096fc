"""The picture to play with in the chapter on translations, driven as a reader would."""

from typing import Any

import pytest

pytestmark = pytest.mark.browser

STATE = """() => {
  const root = document.querySelector(".robustkit-shift-grid");
  const find = what => root.querySelector(what);
  const cells = [...root.querySelectorAll("td")];
  const chosen = cells.filter(cell => cell.hasAttribute("aria-selected"));
  const legend = [...root.querySelectorAll("li")].find(
    line => line.children[0].textContent === chosen[0].textContent);
  const number = name => +root.style.getPropertyValue(name);
  return {
    side: Math.sqrt(cells.length),
    chosen: chosen.map(cell => cells.indexOf(cell)),
    stops: cells.map((cell, place) => cell.tabIndex === 0 ? place : -1).filter(at => at >= 0),
    focused: cells.indexOf(document.activeElement),
    name: find(".sg-name").textContent,
    legend: legend.children[1].textContent,
    shift: find(".sg-shift").textContent,
    window: [number("--y"), number("--x")],
    crop: [number("--v"), number("--u")],
    sizes: ["--h", "--w", "--m", "--n"].map(number),
  };
}"""


@pytest.fixture
def page(desk: Any, address: str) -> Any:
    desk.goto(f"{address}/notebooks/05_translation.html", wait_until="load")
    return desk


def test_the_grid_starts_without_a_shift(page: Any) -> None:
    state = page.evaluate(STATE)
    assert state["side"] % 2 == 1
    assert state["chosen"] == state["stops"] == [(state["side"] ** 2 - 1) / 2]
    assert "no shift" in state["shift"]


def test_pointing_at_a_square_moves_window_crop_and_class(page: Any) -> None:
    before = page.evaluate(STATE)
    side, half = before["side"], (before["side"] - 1) // 2
    for row, column in ((0, 0), (half, side - 1), (side - 1, 1)):
        page.locator(".robustkit-shift-grid td").nth(row * side + column).hover()
        now = page.evaluate(STATE)
        assert now["chosen"] == [row * side + column]
        assert now["name"] == now["legend"]
        moved = [
            after - start for after, start in zip(now["window"], before["window"], strict=True)
        ]
        assert moved == [row - half, column - half]
        for axis in (0, 1):
            inside = now["crop"][axis] - now["window"][axis]
            assert 0 <= inside <= now["sizes"][axis] - now["sizes"][axis + 2]


def test_arrow_keys_walk_over_the_squares_and_stop_at_the_border(page: Any) -> None:
    side = page.evaluate(STATE)["side"]
    page.locator(".robustkit-shift-grid td").nth(side).click()
    for key, place in (("ArrowRight", side + 1), ("ArrowUp", 1), ("ArrowUp", 1), ("End", side - 1)):
        page.keyboard.press(key)
        state = page.evaluate(STATE)
        assert state["chosen"] == state["stops"] == [state["focused"]] == [place]
    page.keyboard.press("ArrowRight")
    assert page.evaluate(STATE)["chosen"] == [side - 1]
    page.keyboard.press("Tab")
    assert page.evaluate(STATE)["focused"] == -1
