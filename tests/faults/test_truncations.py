"""Files that end too early, at random lengths, are named; nothing of them is used."""

import io
import json
import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import fault_project
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from robustkit import claims, data, files, models, project, records
from robustkit.corruptions import evaluate_corruptions
from robustkit.errors import DataError
from robustkit.models import CARDS
from robustkit.training import train

CUTS = 4


def lengths(name: str, whole: int) -> list[int]:
    """Return lengths below `whole`: none, all but one byte, and random ones."""
    drawn = [int(whole * share) for share in fault_project.draws(f"cut/{name}", CUTS)]
    return sorted({0, whole - 1, *drawn})


def check_refused(path: Path, use: Callable[[], object]) -> None:
    """Require that each truncation of a file ends in a `DataError` that names the file."""
    whole = path.read_bytes()
    use()
    for length in lengths(path.name, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError) as caught:
            use()
        assert path.name in str(caught.value), length
        # A damaged file is evidence: nothing but its owner removes it.
        assert path.stat().st_size == length
    path.write_bytes(whole)
    use()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROBUSTKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ROBUSTKIT_OFFLINE", "1")
    (tmp_path / "home" / "weights").mkdir(parents=True)
    return tmp_path / "home"


def test_a_committed_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fault_project.make(tmp_path)
    monkeypatch.chdir(root)
    record = records.Record(fault_project.CHAPTER, {"profile": "laptop"})
    record.scalar("answer", 42)
    record.table("curve", {"x": torch.arange(50)})
    path = project.results_path(fault_project.CHAPTER, "laptop")
    records.write(path, record.as_dict())
    # The line end is no part of the record.
    path.write_bytes(path.read_bytes().rstrip())
    check_refused(path, lambda: records.committed(fault_project.CHAPTER, "laptop"))
    (root / "book" / "claims" / f"{fault_project.CHAPTER}.yml").write_text(
        f"chapter: {fault_project.CHAPTER}\nclaims: []\n"
    )
    check_refused(path, lambda: claims.scoreboard(fault_project.CHAPTER))


def test_an_executed_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fault_project.make(tmp_path)
    monkeypatch.chdir(root)
    record = records.Record(fault_project.CHAPTER, {"profile": "smoke"})
    path = project.notebook_path(fault_project.CHAPTER)
    path.write_text(json.dumps({"metadata": {"robustkit": {"record": record.as_dict()}}}))
    check_refused(path, lambda: records.committed(fault_project.CHAPTER, "smoke"))


def network(classes: int = 2) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes)
    ).eval()


@pytest.mark.parametrize("published", [False, True])
def test_weights(home: Path, monkeypatch: pytest.MonkeyPatch, published: bool) -> None:
    name = "cifar10_resnet20"
    state = models.build("resnet20").state_dict()
    path = home / "weights" / ("resnet20.th" if published else CARDS[name].file)
    if published:
        torch.save({"state_dict": state}, path)
        known = replace(CARDS[name], url="https://example.org/resnet20.th")
        known = replace(known, url_sha256=files.sha256(path))
    else:
        save_file(state, path)
        known = replace(CARDS[name], sha256=files.sha256(path))
    monkeypatch.setitem(CARDS, name, known)
    check_refused(path, lambda: models.load(name))


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "webp", "tiff"])
def test_photographs(tmp_path: Path, ending: str) -> None:
    folder = tmp_path / "photographs" / "one"
    folder.mkdir(parents=True)
    pixels = (np.arange(24 * 24 * 3) * 53 % 256).astype(np.uint8).reshape(24, 24, 3)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, {"jpg": "jpeg"}.get(ending, ending))
    path = folder / f"photograph.{ending}"
    path.write_bytes(file.getvalue())
    whole = data.load(f"imagefolder:{folder.parent}").images
    for length in lengths(path.name, len(file.getvalue())):
        path.write_bytes(file.getvalue()[:length])
        said, found = "", whole
        # Pillow warns of what is cut, and reads on where all pixels are there.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = data.load(f"imagefolder:{folder.parent}").images
            except DataError as error:
                said = str(error)
        assert path.name in said or (not said and torch.equal(found, whole)), length


def images(count: int) -> Tensor:
    return (torch.arange(count * 3 * 16 * 16).reshape(count, 3, 16, 16) * 41 % 256).to(torch.uint8)


def test_finished_cells(tmp_path: Path) -> None:
    model = network()

    def judge() -> object:
        return evaluate_corruptions(
            *(model, images(4), torch.tensor([0, 1, 0, 1])),
            **{"corruptions": ("contrast",), "severities": (1,), "checkpoint": tmp_path / "cells"},
        )

    judge()
    for path in sorted((tmp_path / "cells").iterdir()):
        check_refused(path, judge)


def test_a_checkpoint_cut_or_changed(tmp_path: Path) -> None:
    dataset = data.Dataset("toy", "train", images(20), torch.arange(20) % 2, ("a", "b"))
    path, first = tmp_path / "checkpoint.pt", network()

    def resume() -> object:
        model = deepcopy(first)
        return train(model, dataset, epochs=1, learning_rate=0.1, seed=0, checkpoint=path)

    resume()
    check_refused(path, resume)
    # One wrong bit in a weight, which torch reads as it is.
    weights = torch.load(path)["model"]["3.weight"].numpy().tobytes()
    whole = path.read_bytes()
    place = whole.index(weights) + int(len(weights) * fault_project.draws("bit", 1)[0])
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(DataError, match=r"checkpoint\.pt is damaged"):
        resume()
