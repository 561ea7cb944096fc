"""The embedded colour patches: where they are cut, and that train and test never share a pixel."""

import numpy as np
import pytest
import torch

from robustkit import inputs
from robustkit.data import load, patches
from robustkit.errors import DataError


@pytest.fixture
def _fresh() -> None:
    patches.windows.cache_clear()
    patches.photograph.cache_clear()


@pytest.mark.parametrize("split", ["train", "test"])
def test_patches_are_32_pixels_uint8_of_at_least_ten_classes(split: str) -> None:
    dataset = load("patches", split)
    assert dataset.images.shape[1:] == (3, 32, 32)
    assert dataset.images.dtype == torch.uint8
    assert dataset.labels.dtype == torch.int64
    assert len(dataset.classes) == len(set(dataset.classes)) >= 10
    assert len(dataset.images) == len(dataset.labels)


@pytest.mark.parametrize(("split", "low", "high"), [("train", 320, 320), ("test", 36, 48)])
def test_classes_are_balanced(split: str, low: int, high: int) -> None:
    dataset = load("patches", split)
    counts = dataset.labels.bincount(minlength=len(dataset.classes))
    assert low <= counts.min() <= counts.max() <= high


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_patch_is_the_window_it_says(split: str) -> None:
    dataset = load("patches", split)
    windows = patches.windows(split)
    assert len(windows) == len(set(windows)) == len(dataset)
    for image, label, (name, left, top) in zip(
        dataset.images, dataset.labels, windows, strict=True
    ):
        photograph = torch.tensor(patches.photograph(name)).permute(2, 0, 1)
        assert dataset.classes[label] == name
        assert torch.equal(image, photograph[:, top : top + 32, left : left + 32])


def test_no_pixel_is_in_both_splits_and_test_patches_do_not_overlap() -> None:
    for name in patches.PHOTOGRAPHS:
        height, width, _ = patches.photograph(name).shape
        used = {split: np.zeros((height, width), dtype=int) for split in ("train", "test")}
        for split, count in used.items():
            for photograph, left, top in patches.windows(split):
                if photograph == name:
                    count[top : top + 32, left : left + 32] += 1
        assert used["train"].any()
        assert used["test"].max() == 1
        assert not (used["train"].astype(bool) & used["test"].astype(bool)).any()
        column = patches.split_column(name)
        assert not used["train"][:, column:].any()
        assert not used["test"][:, :column].any()
        assert 0.69 < column / width <= 0.7


def test_no_patch_is_flat() -> None:
    for split in ("train", "test"):
        grey = load("patches", split).images.double().mean(dim=1).flatten(1)
        assert grey.std(dim=1, correction=0).min() >= 4


def test_the_first_images_are_of_mixed_classes() -> None:
    assert len(load("patches", limit=64).labels.unique()) >= 10


@pytest.mark.usefixtures("_fresh")
def test_a_second_cutting_gives_the_same_patches() -> None:
    first = load("patches")
    patches.windows.cache_clear()
    patches.photograph.cache_clear()
    second = load("patches")
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.labels, second.labels)


def test_the_order_is_keyed_and_leaves_the_global_generator_alone() -> None:
    patches.windows.cache_clear()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    load("patches")
    assert torch.equal(torch.rand(4), expected)


def test_the_photographs_read_are_noted() -> None:
    load("patches", "train")
    files = inputs.noted()["data/patches/train"]
    assert len(files) == len(patches.PHOTOGRAPHS)
    assert all(file.is_file() for file in files)


@pytest.mark.parametrize(
    ("package", "path", "message"),
    [
        ("skimage", "data/absent.png", "missing; reinstall scikit-image"),
        ("sklearn", "datasets/images/absent.jpg", "missing; reinstall scikit-learn"),
        ("skimage", "data/__init__.py", r"cannot be read .* reinstall scikit-image"),
    ],
)
@pytest.mark.usefixtures("_fresh")
def test_a_missing_or_unreadable_photograph_says_what_to_reinstall(
    monkeypatch: pytest.MonkeyPatch, package: str, path: str, message: str
) -> None:
    monkeypatch.setitem(patches.PHOTOGRAPHS, "brick", patches.Photograph(package, path))
    with pytest.raises(DataError, match=message):
        load("patches")
