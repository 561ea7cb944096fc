"""The built book, served on this machine, and a browser to open it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))


def _absent(message: str) -> NoReturn:
    # A skip on CI would hide that nothing was checked.
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def _required(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        _absent(f"the book extra is not installed ({error})")


def pytest_pycollect_makemodule() -> None:
    """Skip the tests of this folder where the book extra is not installed, except on CI."""
    _required("jupyter_book")


def _build(output: Path) -> Path:
    options = ["--toc", "book/_toc.yml", "-n", "-W", "--keep-going", "--path-output", str(output)]
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", "."]
    done = subprocess.run(
        [*command, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_COLOR": "1", "PYTHONPATH": str(ROOT)},
    )
    lines = (done.stdout + done.stderr).splitlines()
    faults = [line for line in lines if "WARNING" in line or "ERROR" in line or "rror:" in line]
    assert done.returncode == 0, "the book does not build:\n" + "\n".join(faults or lines[-30:])
    return output / "_build" / "html"


@pytest.fixture(scope="session")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the book of this checkout is built in, once for all processes of a test."""
    temporary = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        temporary = temporary.parent
    output = temporary / "book"
    with FileLock(temporary / "book.lock"):
        if not output.exists():
            attempt = temporary / "book-unfinished"
            _build(attempt)
            attempt.rename(output)
    return output


@pytest.fixture(scope="session")
def build() -> Callable[[Path], Path]:
    """Build the book of this checkout in a folder, warnings being errors; returns the site."""
    return _build


@pytest.fixture(scope="session")
def site(output: Path) -> Path:
    """The folder of the built pages, which nothing changes."""
    return output / "_build" / "html"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """Where the built book is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The Chromium of this machine; skips where there is none, except on CI."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        _absent("no Chromium on this machine: install the system package chromium")
    playwright = _required("playwright.sync_api")
    quiet = ("gpu", "background-networking", "component-update", "sync")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--no-first-run", *(f"--disable-{what}" for what in quiet)],
        )
        yield opened
        opened.close()


@pytest.fixture
def desk(browser: Any) -> Iterator[Any]:
    """A page of the browser at a desk, where nothing moves by itself."""
    opened = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    yield opened.new_page()
    opened.close()
