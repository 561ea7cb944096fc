from pathlib import Path

import pytest

from robustkit import project
from robustkit.errors import InputError, UnknownNameError


def test_the_checkout_is_found_from_below(checkout, monkeypatch):
    monkeypatch.chdir(checkout.folder / "book" / "claims")
    assert project.root() == checkout.folder
    assert project.chapters() == ["01_tiny"]


def test_the_package_is_the_second_place_to_look(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert project.root() == Path(project.__file__).parents[1]


def test_outside_a_checkout_the_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(project, "__file__", str(tmp_path / "site-packages" / "project.py"))
    with pytest.raises(InputError, match="Clone the repository"):
        project.root()


@pytest.mark.parametrize("name", ["01_tiny", "01", "1"])
def test_a_chapter_has_a_short_name(checkout, name):
    assert project.chapter(name) == "01_tiny"


@pytest.mark.parametrize("name", ["01_tinny", "2", "tiny", ""])
def test_an_unknown_chapter_is_refused(checkout, name):
    with pytest.raises(UnknownNameError, match=r"unknown chapter.*01_tiny"):
        project.chapter(name)
