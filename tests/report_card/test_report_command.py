"""The command: what it passes on, what it writes, and one real run with a file of the user's."""

import json
import shutil
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from click.testing import CliRunner
from PIL import Image

from robustkit import cli, project, runs
from robustkit.report_card import AXES
from robustkit.report_command import _AXES, CHAPTER

NOTEBOOK = Path(cli.__file__).parents[1] / "notebooks" / f"{CHAPTER}.py"

FACTORY = """\
import torch


def factory():
    made = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2))
    torch.nn.init.zeros_(made[1].weight)
    made[1].bias.data = torch.tensor([1.0, 0.0])
    return made
"""


def call(*arguments):
    return CliRunner().invoke(cli.cli, ["report", *map(str, arguments)])


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout that holds this one chapter; the working folder is in it."""
    for folder in ("notebooks", "book/claims", "work"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()
    shutil.copy(NOTEBOOK, tmp_path / "notebooks")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.fixture
def pets(checkout):
    """Six images of two classes, the second with a name that no page must obey."""
    names = ("cat", "<img src=x onerror=alert(1)>")
    for name in names:
        (checkout / "work" / "pets" / name).mkdir(parents=True)
        for place in range(3):
            image = Image.effect_noise((8, 8), 40 + place).convert("RGB")
            image.save(checkout / "work" / "pets" / name / f"{place}.png")
    return names


def record(**tables):
    axes = {
        **{"network": ["mine"], "axis": ["clean"], "title": ["Clean images"]},
        **{"method": ["m"], "reading": ["Right on all."], "images": [6]},
        **{"half_width": [0.31], "planned": [None], "seconds": [0.25]},
    }
    networks = {"network": ["mine"], "data": ["pets"], "images": [6], "classes": [2]}
    networks |= {"budget": [None], "digest": ["0"]}
    numbers = {"axis": ["clean"], "scalar": ["accuracy"]}
    scalar = {"value": 1.0, "low": 0.6, "high": 1.0, "unit": "", "count": 6, "note": "right"}
    return {
        "schema": 1,
        "chapter": CHAPTER,
        "parameters": {"profile": "laptop"},
        "scalars": {"accuracy": scalar},
        "tables": {"axes": axes, "networks": networks, "numbers": numbers, **tables},
        "provenance": {},
    }


@pytest.fixture
def ran(monkeypatch):
    """Record the calls of `runs.run` in place of running."""
    calls = []

    def run(chapter, parameters, **options):
        calls.append((chapter, parameters, options))
        return runs.RunResult(chapter, {}, Path("runs/x"), record(), cached=False)

    monkeypatch.setattr(runs, "run", run)
    return calls


def test_options_reach_the_chapter(checkout, pets, ran):
    Path("outputs.yml").write_text("cat: 3\n")
    done = call(
        *("robustkit:cifar10_resnet20", "--data", "pets", "--budget", "2.5", "--size", 8),
        *("--outputs", "outputs.yml"),
        *("--compare", "timm:resnet18", "--axis", "clean", "--axis", "rics", "--seed", 3),
        *("--images", 50, "--device", "cpu", "--out", "card.html"),
    )
    assert done.exit_code == 0, done.output
    [(chapter, given, options)] = ran
    assert chapter == CHAPTER
    assert given == {
        "model": "robustkit:cifar10_resnet20",
        "data": str((checkout / "work" / "pets").resolve()),
        "compare": "timm:resnet18",
        "budget": 2.5,
        "size": 8,
        "images": 50,
        "outputs": str((checkout / "work" / "outputs.yml").resolve()),
        "axes": ["clean", "rics"],
        "seed": 3,
        "device": "cpu",
    }
    # A class folder that was added would not be noticed: a folder is measured again each time.
    assert options == {"profile": "laptop", "force": True}
    # The chapter takes all of them.
    runs.plan(CHAPTER, given, profile="laptop")
    assert "mine, Clean images: Right on all." in done.output
    assert "mine, clean 6 31.0 points 0.2 s" in " ".join(done.output.split())
    assert done.output.endswith("card.html and card.json\n")
    assert sorted(path.name for path in (checkout / "work").iterdir()) == [
        "card.html",
        "card.json",
        "outputs.yml",
        "pets",
    ]


def test_what_was_measured_on_a_known_dataset_is_not_measured_again(checkout, ran):
    assert call("robustkit:cifar10_resnet20", "--data", "digits").exit_code == 0
    [(_, given, options)] = ran
    assert given["outputs"] == ""
    assert options["force"] is False


def test_a_file_of_the_users_is_always_run_again(checkout, ran):
    (checkout / "work" / "mine.py").write_text(FACTORY)
    assert call("mine.py:factory", "--data", "digits").exit_code == 0
    [(_, given, options)] = ran
    assert given["model"] == f"{(checkout / 'work' / 'mine.py').resolve()}:factory"
    assert given["data"] == "digits"
    assert options["force"] is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.py:factory", "--data", "digits"], "there is no file a.py"),
        (["x", "--data", "digits", "--compare", "b.py:f"], "there is no file b.py"),
        (["x", "--data", "digits", "--out", "card.json"], "a file that ends in .html"),
        (["x", "--data", "digits", "--out", "no/card.html"], "there is no folder"),
        (["x", "--data", "digits", "--budget", "0"], "'--budget'"),
        (["x", "--data", "digits", "--axis", "speed"], "'--axis'"),
        (["x", "--data", "digits", "--outputs", "absent.yml"], "'--outputs'"),
        (["x"], "Missing option '--data'"),
    ],
)
def test_what_is_not_understood_exits_with_two(checkout, ran, arguments, message):
    done = call(*arguments)
    assert done.exit_code == 2
    assert message in done.output
    assert ran == []


def test_a_failed_run_leaves_the_old_card_whole(checkout, monkeypatch):
    def fail(*arguments, **options):
        raise runs.RunError("it broke")

    monkeypatch.setattr(runs, "run", fail)
    Path("card.html").write_text("old")
    done = call("x", "--data", "digits", "--out", "card.html")
    assert done.exit_code == 1
    assert "it broke" in done.output
    assert Path("card.html").read_text() == "old"


def test_what_the_chapter_refuses_is_one_sentence(checkout, pets):
    (checkout / "work" / "mine.py").write_text(FACTORY.replace("192, 2", "100, 2"))
    done = call("mine.py:factory", "--data", "pets", "--axis", "clean")
    assert done.exit_code == 2
    [said] = [line for line in done.output.splitlines() if line.startswith("Error: ")]
    assert "mine.py:factory takes no image of shape (3, 8, 8), it raised RuntimeError" in said
    assert "cell" not in said


def test_class_folders_that_are_not_the_outputs_need_a_file_that_says_which_they_are(
    checkout, pets
):
    (checkout / "work" / "mine.py").write_text(
        FACTORY.replace("192, 2", "192, 5").replace("[1.0, 0.0]", "[0.0, 0.0, 0.0, 1.0, 0.0]")
    )
    asked = ("mine.py:factory", "--data", "pets", "--axis", "clean", "--images", 5)
    done = call(*asked)
    assert done.exit_code == 2
    assert "2 class folders and the network 5 outputs" in done.output
    assert not Path("report.html").exists()
    # The network says 3, whatever it sees.
    Path("outputs.json").write_text(json.dumps({pets[0]: 3, pets[1]: 1}))
    done = call(*asked, "--outputs", "outputs.json")
    assert done.exit_code == 0, done.output
    stored = json.loads(Path("report.json").read_text())
    assert stored["parameters"]["outputs"] == "outputs.json"
    shares = dict(
        zip(*(stored["tables"]["classes"][c] for c in ("class", "accuracy")), strict=True)
    )
    assert shares == {pets[0]: 1, pets[1]: 0}
    read = stored["tables"]["networks"]["read"][0]
    assert "5 of 6 images of the folder" in read
    assert "2 of the 5 classes" in read


def test_the_help_says_that_a_file_is_run():
    text = " ".join(call("--help").output.split())
    assert "The file is run as it is, with your rights" in text


def test_the_axes_are_those_of_a_card():
    assert _AXES == AXES


def test_a_model_of_ones_own_from_end_to_end(checkout, pets):
    (checkout / "work" / "mine.py").write_text(FACTORY)
    done = call("mine.py:factory", "--data", "pets", "--axis", "clean", "--axis", "translation")
    assert done.exit_code == 0, done.output
    assert "Clean images: Right on 50.0%" in done.output
    assert "The measurements take about 1 minute on this machine" in done.output
    stored = json.loads(Path("report.json").read_text())
    assert stored["scalars"]["accuracy"]["value"] == 0.5
    assert stored["scalars"]["fooled_3"]["value"] == 0
    assert stored["tables"]["classes"]["class"] == sorted(pets)
    # A record says nothing about the machine that made it.
    assert stored["parameters"]["model"] == "mine.py:factory"
    assert str(checkout) not in Path("report.json").read_text()
    soup = BeautifulSoup(Path("report.html").read_text(), "html.parser")
    assert soup.select("[onerror], script") == []
    assert str(checkout) not in Path("report.html").read_text()
    assert any("alert(1)" in item.get_text() for item in soup.select("ul.examples li"))
    # Nothing was installed over the chapter of the book.
    assert not project.notebook_path(CHAPTER).exists()
    assert not list((checkout / "book").rglob("*.json"))
