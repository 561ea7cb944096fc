"""Every page of the book in a real browser: what it asks for, what it throws, how it reads."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
VIEWS = {"light": (1280, 900), "dark": (1280, 900), "phone": (390, 844)}
# What differs between views is all that is worth its time: colours in the dark, layout on a phone.
RULES = {
    "light": {},
    "dark": {"runOnly": ["color-contrast"]},
    "phone": {"rules": {"color-contrast": {"enabled": False}}},
}


def pages_of(entry: Any) -> Iterator[str]:
    """The documents that a table of contents names, at any depth."""
    for key, part in entry.items():
        if key in {"root", "file"}:
            yield f"{part}.html"
        elif isinstance(part, list):
            for below in part:
                yield from pages_of(below)


PAGES = list(pages_of(yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))))


class Visit:
    """An opened page and what went wrong on the way there."""

    def __init__(self, context: Any) -> None:
        self.faults: list[str] = []
        self.page = context.new_page()
        self.page.on("request", lambda request: self._request(request.url))
        self.page.on("response", lambda answer: self._response(answer.status, answer.url))
        self.page.on("requestfailed", lambda request: self.faults.append(f"lost {request.url}"))
        self.page.on("pageerror", lambda error: self.faults.append(f"thrown: {error}"))
        self.page.on("console", lambda message: self._console(message.type, message.text))

    def open(self, address: str) -> None:
        self.page.goto(address, wait_until="load")
        self.page.evaluate("window.MathJax?.startup?.promise?.then(() => null)")

    def unfold(self) -> None:
        self.page.evaluate(
            """document.querySelectorAll("details").forEach(box => box.open = true);
            document.querySelectorAll(".toggle-hidden .toggle-button").forEach(b => b.click());"""
        )

    def violations(self, view: str) -> list[str]:
        from axe_playwright_python.base import AXE_SCRIPT

        self.page.evaluate(AXE_SCRIPT)
        # Preloading would fetch every style sheet again.
        options = {"preload": False, "resultTypes": ["violations"], **RULES[view]}
        results = self.page.evaluate("options => axe.run(options)", options)
        return [
            f"{found['impact']} {found['id']}: {node['html'][:160]} {node['failureSummary']}"
            for found in results["violations"]
            if found["impact"] in {"serious", "critical"}
            for node in found["nodes"]
        ]

    def _request(self, address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme not in {"data", "blob"} and parts.hostname != "127.0.0.1":
            self.faults.append(f"asks another host: {address}")

    def _response(self, status: int, address: str) -> None:
        if status >= 400:
            self.faults.append(f"{status} {address}")

    def _console(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.faults.append(f"console {kind}: {text}")


@pytest.fixture(scope="module", params=list(VIEWS))
def view(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def context(browser: Any, view: str) -> Iterator[Any]:
    """Windows of one size and colour scheme, as a reader sets it with the button of the theme."""
    scheme = "dark" if view == "dark" else "light"
    width, height = VIEWS[view]
    opened = browser.new_context(
        viewport={"width": width, "height": height}, reduced_motion="reduce"
    )
    opened.add_init_script(
        f"localStorage.setItem('mode', '{scheme}'); localStorage.setItem('theme', '{scheme}');"
    )
    yield opened
    opened.close()


@pytest.fixture
def visit(context: Any) -> Iterator[Visit]:
    made = Visit(context)
    yield made
    made.page.close()


# A page is opened once for all that is asked of it: that is most of the time.
@pytest.mark.parametrize("page", [*PAGES, "search.html?q=deepfool"])
def test_page_reads_well(page: str, view: str, visit: Visit, address: str) -> None:
    visit.open(f"{address}/{page}")
    if page.startswith("notebooks/"):
        check_figures(visit.page, view)
    visit.unfold()
    if page.startswith("search"):
        visit.page.wait_for_selector("#search-results li a")
    scheme = visit.page.evaluate("document.documentElement.dataset.theme")
    assert scheme == ("dark" if view == "dark" else "light")
    assert visit.violations(view) == []
    wide, shown = visit.page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= shown
    written, typeset, wrong = visit.page.evaluate(
        """[".math", ".math mjx-container", "mjx-merror, .math:not(:has(mjx-container))"].map(
            what => document.querySelectorAll(what).length)"""
    )
    assert wrong == 0
    assert (written > 0) == (typeset > 0)
    assert visit.faults == []


def check_figures(page: Any, view: str) -> None:
    """Require that each figure is shown once, in the colours of the view and without a box."""
    pairs = page.evaluate(
        """[...document.querySelectorAll(".figure-pair")].map(pair =>
            [...pair.children].filter(image => image.checkVisibility()).map(image => {
              const style = getComputedStyle(image);
              return [image.className.includes("dark"), image.naturalWidth > 0,
                style.filter, style.backgroundColor];
            }))"""
    )
    assert pairs
    assert all(pair == [[view == "dark", True, "none", "rgba(0, 0, 0, 0)"]] for pair in pairs)
    hidden = page.evaluate(
        "[...document.querySelectorAll('figcaption')].filter(c => !c.checkVisibility()).length"
    )
    assert hidden == 0


def test_root_leads_to_the_first_page(visit: Visit, view: str, address: str) -> None:
    visit.page.goto(address)
    visit.page.wait_for_url(f"{address}/{PAGES[0]}")
    visit.page.wait_for_load_state("load")
    assert visit.faults == []
