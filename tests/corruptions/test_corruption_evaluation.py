"""Evaluation under corruptions: exact on constant images, resumable, once for many models."""

import inspect

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from robustkit.corruptions.benchmark import evaluation, judging
from robustkit.corruptions.benchmark.evaluation import (
    compare_corruptions,
    compare_released,
    evaluate_corruptions,
)
from robustkit.corruptions.benchmark.metrics import corruption_accuracy, mce, relative_mce
from robustkit.corruptions.benchmark.released import CifarC, ImageNetC
from robustkit.corruptions.registry import CORRUPTIONS
from robustkit.data import Dataset
from robustkit.data import load as load_data
from robustkit.errors import DataError, InputError
from robustkit.models import load as load_model

NOISE = {"corruptions": ["gaussian_noise", "impulse_noise"], "severities": (1, 3, 5)}


class Above(nn.Module):
    """Class 1 where the mean of an image is above a threshold; it can be told to stop."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.tensor(threshold, dtype=torch.float64))
        self.images, self.stop_after = 0, 10**9
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        self.images += len(images)
        if self.images > self.stop_after:
            raise KeyboardInterrupt
        means = images.double().flatten(1).mean(dim=1)
        return torch.stack([self.threshold.expand_as(means), means], dim=1)


def constant(*values: float) -> Tensor:
    """Grey images (N, 3, 32, 32), uint8."""
    levels = torch.tensor([round(255 * value) for value in values], dtype=torch.uint8)
    return levels[:, None, None, None].expand(-1, 3, 32, 32).clone()


def noisy_task(count: int = 11) -> tuple[Tensor, Tensor]:
    """Images whose means lie so near one half that noise decides on their class."""
    images = torch.full((count, 3, 32, 32), 0.5)
    images += torch.linspace(-0.004, 0.004, count)[:, None, None, None]
    return images, (torch.arange(count) >= count // 2).long()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """The corrupted batches that are made: corruption, severity, number of images."""
    calls: list[tuple[str, int, int]] = []
    original = evaluation.corrupt

    def counting(images, name, severity, **arguments):
        calls.append((name, severity, len(images)))
        return original(images, name, severity, **arguments)

    monkeypatch.setattr(evaluation, "corrupt", counting)
    return calls


def test_brightness_and_contrast_of_constant_images():
    images, labels = constant(0.30, 0.40, 0.60), torch.tensor([0, 0, 1])
    table = evaluate_corruptions(
        Above(0.52), images, labels, corruptions=["brightness", "contrast"], preset="cifar"
    )
    # Brightness adds .05, .1, .15, .2, .3; contrast leaves a constant image as it is.
    right = [[1, 1, 1], [1, 1, 1], [1, 0, 1], [1, 0, 1], [0, 0, 1], *[[1, 1, 1]] * 5]
    assert table.hits.int().tolist() == right
    assert table.clean.tolist() == [True, True, True]
    assert table.cells[:2] == (("brightness", 1), ("brightness", 2))
    frame = table.frame().set_index(["corruption", "severity"])
    assert frame.loc[("brightness", 5), "correct"] == 1
    assert frame.loc[("brightness", 5), "error"] == pytest.approx(2 / 3)
    assert corruption_accuracy(table, corruptions=["brightness"]) == pytest.approx(1100 / 15)
    assert relative_mce(table, None, corruptions=["contrast"]) == 0
    with pytest.raises(InputError, match="lacks gaussian_noise; shot_noise"):
        mce(table)


def test_the_standard_corruptions_are_judged_by_default(made):
    images, labels = constant(0.2, 0.8), torch.tensor([0, 1])
    table = evaluate_corruptions(Above(0.5), images, labels)
    assert table.hits.shape == (75, 2)
    assert [name for name, _ in table.cells[::5]] == list(CORRUPTIONS)
    assert [call[:2] for call in made] == list(table.cells)
    assert mce(table) < 50


@pytest.mark.parametrize("batch_size", [1, 4, 512])
def test_batches_and_order_change_nothing(batch_size):
    (images, labels), model = noisy_task(), Above(0.5)
    whole = evaluate_corruptions(model, images, labels, **NOISE)
    assert 0.1 < whole.hits.double().mean() < 0.95
    part = evaluate_corruptions(model, images, labels, batch_size=batch_size, **NOISE)
    assert torch.equal(part.hits, whole.hits)
    rows = torch.tensor([7, 2, 4])
    shard = evaluate_corruptions(model, images[rows], labels[rows], indices=rows, **NOISE)
    assert torch.equal(shard.hits, whole.hits[:, rows])
    other = evaluate_corruptions(model, images, labels, seed=1, **NOISE)
    assert not torch.equal(other.hits, whole.hits)


def test_several_models_see_one_batch(made):
    images, labels = noisy_task()
    models = {"low": Above(0.499), "high": Above(0.501)}
    tables = compare_corruptions(models, images, labels, batch_size=4, **NOISE)
    assert len(made) == 6 * 3
    assert list(tables) == ["low", "high"]
    for name, model in models.items():
        alone = evaluate_corruptions(model, images, labels, batch_size=4, **NOISE)
        assert torch.equal(tables[name].hits, alone.hits)
        assert torch.equal(tables[name].clean, alone.clean)
    assert not torch.equal(tables["low"].hits, tables["high"].hits)


def test_an_interrupted_evaluation_goes_on(tmp_path, made):
    images, labels = noisy_task()
    expected = evaluate_corruptions(Above(0.5), images, labels, batch_size=4, **NOISE)
    made.clear()
    # One image is asked for to check the model; clean and two cells of 11 follow, then a batch.
    model = Above(0.5)
    model.stop_after = 1 + 3 * 11 + 4
    options = {"batch_size": 4, "checkpoint": str(tmp_path / "cells"), **NOISE}
    with pytest.raises(KeyboardInterrupt):
        evaluate_corruptions(model, images, labels, **options)
    assert len(list((tmp_path / "cells").iterdir())) == 3
    made.clear()
    resumed = evaluate_corruptions(Above(0.5), images, labels, **options)
    assert len(made) == 4 * 3
    assert made[0][:2] == ("gaussian_noise", 5)
    assert torch.equal(resumed.hits, expected.hits)
    assert torch.equal(resumed.clean, expected.clean)
    made.clear()
    again = evaluate_corruptions(Above(0.5), images, labels, **options)
    assert made == []
    assert torch.equal(again.hits, expected.hits)


def test_what_the_result_depends_on_is_judged_anew(tmp_path, made):
    (images, labels), model = noisy_task(), Above(0.5)
    options = {"checkpoint": tmp_path, "corruptions": ["gaussian_noise"], "severities": (4,)}
    evaluate_corruptions(model, images, labels, **options)
    made.clear()
    indices = torch.arange(11) + 1
    for images_, labels_, model_, more in (
        (images, labels, model, {"seed": 1}),
        (images, labels, model, {"preset": "imagenet"}),
        (images, labels, model, {"rounding": "round"}),
        (images, labels, model, {"indices": indices}),
        (images, 1 - labels, model, {}),
        (images * 0.999, labels, model, {}),
        (images, labels, Above(0.501), {}),
        (images, labels, nn.Sequential(model).eval(), {}),
    ):
        fresh = evaluate_corruptions(model_, images_, labels_, **{**options, **more})
        assert len(made) == 1
        without = {**options, **more, "checkpoint": None}
        assert torch.equal(
            fresh.hits, evaluate_corruptions(model_, images_, labels_, **without).hits
        )
        made.clear()
    evaluate_corruptions(model, images, labels, **options)
    assert made == []
    # More cells, or another model beside the first, cost themselves alone.
    evaluate_corruptions(model, images, labels, **{**options, "severities": (4, 5)})
    assert [call[:2] for call in made] == [("gaussian_noise", 5)]
    model.images = 0
    tables = compare_corruptions({"a": model, "b": Above(0.4)}, images, labels, **options)
    assert model.images == 1
    assert tables["b"].hits.shape == (1, 11)


def test_the_source_of_corruptions_is_part_of_the_key(tmp_path, made, monkeypatch):
    (images, labels), model = noisy_task(), Above(0.5)
    options = {"checkpoint": tmp_path, "corruptions": ["gaussian_noise"], "severities": (4,)}
    evaluate_corruptions(model, images, labels, **options)
    made.clear()
    monkeypatch.setattr(evaluation, "describe_code", lambda: "another")
    evaluate_corruptions(model, images, labels, **options)
    assert len(made) == 1


def test_options_go_to_their_own_corruption(tmp_path, monkeypatch):
    images, labels = noisy_task()
    given = []

    def noting(images, name, severity, **arguments):
        given.append((name, arguments.get("mode")))
        return images

    monkeypatch.setattr(evaluation, "corrupt", noting)
    options = {"corruptions": ["fog", "glass_blur"], "severities": (1,), "checkpoint": tmp_path}
    evaluate_corruptions(Above(0.5), images, labels, **options)
    swap = {"options": {"glass_blur": {"mode": "swap"}}}
    evaluate_corruptions(Above(0.5), images, labels, **options, **swap)
    # What has no options is not made again.
    assert given == [("fog", None), ("glass_blur", None), ("glass_blur", "swap")]


def test_the_photographs_of_frost_are_part_of_the_key(tmp_path, made):
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name in ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg"):
        Image.new("RGB", (180, 180), (90, 90, 90)).save(folder / name)
    (images, labels), model = noisy_task(), Above(0.5)
    options = {
        **{"checkpoint": tmp_path / "cells", "corruptions": ["frost"], "severities": (2,)},
        "options": {"frost": {"frost_folder": folder}},
    }
    first = evaluate_corruptions(model, images, labels, **options)
    made.clear()
    # Another place is no other photograph.
    folder.rename(tmp_path / "moved")
    moved = {**options, "options": {"frost": {"frost_folder": str(tmp_path / "moved")}}}
    assert torch.equal(evaluate_corruptions(model, images, labels, **moved).hits, first.hits)
    assert made == []
    Image.new("RGB", (180, 180), (9, 9, 9)).save(tmp_path / "moved" / "frost3.png")
    evaluate_corruptions(model, images, labels, **moved)
    assert len(made) == 1


def test_a_damaged_cell_is_named(tmp_path):
    (images, labels), model = noisy_task(), Above(0.5)
    options = {"checkpoint": tmp_path, "corruptions": ["fog"], "severities": (2,)}
    evaluate_corruptions(model, images, labels, **options)
    (cell,) = tmp_path.glob("fog-2-*.npy")
    cell.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"fog-2-.*is damaged.*delete it"):
        evaluate_corruptions(model, images, labels, **options)
    np.save(cell, np.ones(4, bool))
    with pytest.raises(DataError, match="one bool for each of 11 images"):
        evaluate_corruptions(model, images, labels, **options)


def test_nothing_global_is_touched():
    images, labels = noisy_task()
    before, copy = torch.get_rng_state(), images.clone()
    evaluate_corruptions(Above(0.5), images, labels, **NOISE)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(images, copy)


def test_arguments_are_checked():
    (images, labels), model = noisy_task(), Above(0.5)
    cases = [
        ((model, images, labels[:3]), {}, r"labels must have shape \(11,\)"),
        ((model, images, labels + 1), {}, "the model has 2 classes"),
        ((model, images[:0], labels[:0]), {}, "batch is empty"),
        ((model, 255 * images, labels), {}, "lie in"),
        ((model, images.long(), labels), {}, "floating point"),
        ((Above(0.5).train(), images, labels), {}, "training mode"),
        ((Above(0.5), images, labels), {"corruptions": ["fogg"]}, "fogg"),
        ((Above(0.5), images, labels), {"corruptions": []}, "corruptions is empty"),
        ((Above(0.5), images, labels), {"options": {"fogg": {}}}, "in options 'fogg'"),
        ((Above(0.5), images, labels), {"severities": (1, 1)}, "severities has 1 more than once"),
        ((Above(0.5), images, labels), {"batch_size": 0}, "batch_size"),
        ((Above(0.5), images, labels), {"indices": torch.arange(3)}, "indices must be int64"),
        ((Above(0.5), images[0], labels[:3]), {}, "unsqueeze"),
    ]
    for arguments, options, message in cases:
        with pytest.raises(InputError, match=message):
            evaluate_corruptions(*arguments, **options)
    with pytest.raises(InputError, match="no model"):
        compare_corruptions({}, images, labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"corruptions": ["fog", "snoww"]}, "Did you mean 'snow'"),
        ({"corruptions": "fog"}, "corruptions must be a list"),
        ({"severities": (1, 6)}, "1 to 5, got 6"),
        ({"severities": (0, 1)}, "1 to 5, got 0"),
        ({"severities": (1.5,)}, "must be an integer, got 1.5"),
        ({"corruptions": ["fog", "lines"], "preset": "tiny"}, "lines has no published strengths"),
        ({"preset": "cifar10"}, "Did you mean 'cifar'"),
        ({"rounding": "floor"}, "unknown rounding"),
        ({"seed": 1.0}, "seed must be an integer"),
        (
            {"corruptions": ["fog", "glass_blur"], "options": {"glass_blur": {"mod": "swap"}}},
            "Did you mean 'mode'",
        ),
    ],
)
def test_what_is_to_be_judged_is_checked_before_any_work(options, message):
    (images, labels), model = noisy_task(), Above(0.5)
    untyped = inspect.unwrap(compare_corruptions)
    with pytest.raises(InputError, match=message):
        untyped({"": model}, images, labels, **options)
    assert model.images == 0


def test_severities_may_be_an_array(tmp_path, made):
    (images, labels), model = noisy_task(), Above(0.5)
    options = {"corruptions": ["gaussian_noise"], "checkpoint": tmp_path}
    compare = inspect.unwrap(compare_corruptions)
    table = compare({"": model}, images, labels, severities=np.arange(2, 4), **options)[""]
    assert table.cells == (("gaussian_noise", 2), ("gaussian_noise", 3))
    made.clear()
    again = evaluate_corruptions(model, images, labels, severities=(2, 3), **options)
    assert made == []
    assert torch.equal(again.hits, table.hits)


@pytest.mark.parametrize("which", ["made", "released"])
def test_clean_and_released_images_go_to_the_device_of_the_model(which, tmp_path, monkeypatch):
    class Stop(Exception):
        pass

    def noting(model, batch, **options):
        devices.append(batch.device.type)
        raise Stop

    devices = []
    monkeypatch.setattr(judging, "predict", noting)
    images, labels = constant(0.2, 0.8), torch.tensor([0, 1])
    # Weights on a device that holds no numbers, images on the processor.
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10)).to("meta").eval()
    with pytest.raises(Stop):
        if which == "made":
            evaluate_corruptions(model, images, labels, **NOISE)
        else:
            np.save(tmp_path / "fog.npy", images.permute(0, 2, 3, 1).repeat(5, 1, 1, 1).numpy())
            np.save(tmp_path / "labels.npy", np.tile([0, 1], 5))
            compare_released({"": model}, CifarC(tmp_path), corruptions=["fog"])
    assert devices == ["meta"]


def test_released_images_are_judged_alike(tmp_path):
    values = np.array([0, 60, 120, 240])
    levels = np.stack([np.minimum(values + 30 * s, 255) for s in range(1, 6)]).astype(np.uint8)
    folder = tmp_path / "released"
    folder.mkdir()
    np.save(folder / "fog.npy", np.broadcast_to(levels.reshape(20, 1, 1, 1), (20, 4, 4, 3)))
    np.save(folder / "labels.npy", np.tile([0, 0, 0, 1], 5))
    released, model = CifarC(folder), Above(0.5)
    table = compare_released({"": model}, released, corruptions=["fog"], batch_size=3)[""]
    # Above one half from the level 128 on.
    right = [[1, 1, 0, 1], [1, 1, 0, 1], [1, 0, 0, 1], [1, 0, 0, 1], [0, 0, 0, 1]]
    assert table.hits.int().tolist() == right
    assert table.clean is None
    images = torch.tensor(values, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4)
    clean = Dataset("toy", "test", images, released.labels, released.classes)
    options = {"corruptions": ["fog"], "clean": clean, "checkpoint": tmp_path / "cells"}
    tables = compare_released({"a": model, "b": Above(0.2)}, released, **options)
    assert torch.equal(tables["a"].hits, table.hits)
    assert tables["b"].clean.tolist() == [True, False, False, True]
    model.images = 0
    again = compare_released({"again": model}, released, **options)["again"]
    assert model.images == 1
    assert torch.equal(again.hits, table.hits)
    wrong = Dataset("toy", "test", images, 1 - released.labels, released.classes)
    with pytest.raises(InputError, match="different labels"):
        compare_released({"": model}, released, corruptions=["fog"], clean=wrong)
    model.images = 0
    with pytest.raises(DataError, match=r"released lacks gaussian_noise, shot_noise, .*unpack"):
        compare_released({"": model}, released)
    with pytest.raises(DataError, match="released lacks snow; unpack"):
        compare_released({"": model}, released, corruptions=["fog", "snow"])
    with pytest.raises(InputError, match="1 to 5, got 7"):
        compare_released({"": model}, released, corruptions=["fog"], severities=(1, 7))
    assert model.images == 0


def test_released_folders_are_judged_alike(tmp_path):
    for name, grey in {"n1/a": 20, "n1/b": 200, "n2/c": 220}.items():
        path = tmp_path / "snow" / "4" / f"{name}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (grey,) * 3).save(path)
    options = {"corruptions": ["snow"], "severities": [4], "batch_size": 2}
    table = compare_released({"": Above(0.5)}, ImageNetC(tmp_path), **options)[""]
    assert table.hits.tolist() == [[True, False, True]]


def test_noise_and_not_brightness_breaks_a_published_network(real_data):
    data, model = load_data("cifar10", limit=200), load_model("cifar10_resnet20")
    table = evaluate_corruptions(
        model,
        data.images,
        data.labels,
        corruptions=["gaussian_noise", "brightness"],
        severities=(1, 5),
    )
    errors = table.frame().set_index(["corruption", "severity"])
    clean = errors.loc[("clean", 0)]
    assert clean["high"] < errors.loc[("gaussian_noise", 1), "low"]
    assert errors.loc[("gaussian_noise", 1), "high"] < errors.loc[("gaussian_noise", 5), "low"]
    assert errors.loc[("brightness", 1), "error"] < clean["high"]
