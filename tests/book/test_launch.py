"""Buttons for Colab and Binder: none without the address of a repository.

That the pages of the book have none is tested where its site is.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from robustkit_book import launch
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ConfigError

EXTENSIONS = Path(launch.__file__).resolve().parents[1]
ADDRESS = "https://github.com/someone/robustkit"
CONF = """
import sys
sys.path.insert(0, {folder!r})
from robustkit_book.launch import offer_buttons
extensions = ["myst_nb", "sphinx_book_theme"]
html_theme = "sphinx_book_theme"
nb_execution_mode = "off"
html_theme_options = {options!r}
def setup(app):
    app.connect("config-inited", offer_buttons)
"""
# What Jupyter Book passes on where `_config.yml` says nothing.
FILLED_IN = {
    "repository_url": launch.FILLED_IN,
    "repository_branch": "master",
    "launch_buttons": {"colab_url": "", "binderhub_url": ""},
}


def offered(given: dict[str, object], monkeypatch: pytest.MonkeyPatch, **set_: str) -> dict:
    for name in (launch.VARIABLE, launch.BRANCH):
        monkeypatch.delenv(name, raising=False)
    for name, value in set_.items():
        monkeypatch.setenv(name, value)
    config = Config({}, {"html_theme_options": dict(given)})
    config.add("html_theme_options", {}, "html", ())
    launch.offer_buttons(Sphinx.__new__(Sphinx), config)
    return config.html_theme_options


def test_without_an_address_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered({}, monkeypatch) == {"use_repository_button": False}
    assert offered(FILLED_IN, monkeypatch) == {"use_repository_button": False}


def test_an_address_of_the_configuration_or_the_environment_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configured = offered(
        FILLED_IN | {"repository_url": f"{ADDRESS}/", "repository_branch": "dev"}, monkeypatch
    )
    assert configured["repository_url"] == ADDRESS
    assert configured["repository_branch"] == "dev"
    assert configured["launch_buttons"] == launch.SERVICES
    given = offered(FILLED_IN, monkeypatch, ROBUSTKIT_REPOSITORY=ADDRESS)
    assert (given["repository_url"], given["repository_branch"]) == (ADDRESS, "main")


@pytest.mark.parametrize("address", ["github.com/a/b", "https://github.com", "https://a/b c/d"])
def test_what_is_no_address_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="not the address of a repository"):
        offered({}, monkeypatch, ROBUSTKIT_REPOSITORY=address)


def test_a_page_shows_them_with_an_address(tmp_path: Path) -> None:
    cell = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# Page"}
    page = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "index.ipynb").write_text(json.dumps(page), encoding="utf-8")
    conf = CONF.format(folder=str(EXTENSIONS), options=FILLED_IN)
    (tmp_path / "conf.py").write_text(conf, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", str(tmp_path), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, launch.VARIABLE: ADDRESS},
    )
    assert done.returncode == 0, done.stderr
    built = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    links = {str(link["href"]) for link in BeautifulSoup(built, "html.parser").select("a[href]")}
    colab = {link for link in links if link.startswith(launch.SERVICES["colab_url"])}
    binder = {link for link in links if link.startswith(launch.SERVICES["binderhub_url"])}
    assert colab == {
        "https://colab.research.google.com/github/someone/robustkit/blob/main/index.ipynb"
    }
    (found,) = binder
    assert "someone/robustkit/main?urlpath=lab/tree/index.ipynb" in found
    assert ADDRESS in links
