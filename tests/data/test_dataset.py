"""The door to the datasets: requests, the dataset itself, and the float conversion."""

import dataclasses
from pathlib import Path

import pytest
import torch

from robustkit import inputs
from robustkit.data import Dataset, load, names, to_float
from robustkit.errors import InputError, UnknownNameError


def test_names_lists_every_dataset_and_the_folder_form() -> None:
    assert names() == ("patches", "digits", "mnist", "cifar10", "cifar100", "imagefolder:PATH")


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("cifar-10", "cifar10"), ("patch", "patches"), ("imagefoldr:/photos", "imagefolder:PATH")],
)
def test_unknown_name_offers_the_near_match(asked: str, meant: str) -> None:
    with pytest.raises(UnknownNameError, match=f"Did you mean '{meant}'"):
        load(asked)


def test_unknown_split_offers_the_near_match() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'train'"):
        load("digits", "training")


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"name": "digits", "limit": 0}, "limit must be at least 1, got 0"),
        ({"name": "imagefolder:x", "size": -3}, "size must be at least 1, got -3"),
        ({"name": "digits", "size": 32}, "size is for imagefolder:PATH"),
        ({"name": "imagefolder:"}, "which folder"),
        ({"name": "imagefolder"}, "which folder"),
        ({"name": "digits", "device": "abacus"}, "device 'abacus' cannot be used here"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(request_: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(**request_)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["digits", "patches"])
def test_limit_takes_the_first_images(name: str) -> None:
    whole, part = load(name), load(name, limit=7)
    assert len(part) == 7
    assert torch.equal(part.images, whole.images[:7])
    assert torch.equal(part.labels, whole.labels[:7])
    assert part.classes == whole.classes


def test_a_limit_past_the_end_takes_all() -> None:
    assert len(load("digits", limit=10**6)) == len(load("digits"))


def test_what_was_read_is_noted_with_files_that_exist() -> None:
    load("digits", "train")
    files = inputs.noted()["data/digits/train"]
    assert [file.name for file in files] == ["digits.csv.gz"]
    assert all(file.is_file() for file in files)


def test_a_dataset_is_frozen_and_prints_one_line() -> None:
    dataset = load("digits", limit=3)
    assert repr(dataset) == "Dataset(digits/test: 3 images 1x8x8, 10 classes, cpu)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.name = "other"  # type: ignore[misc]


def test_changing_a_loaded_dataset_leaves_the_next_one_alone() -> None:
    first = load("patches", limit=4)
    kept = first.images.clone()
    first.images.zero_()
    assert torch.equal(load("patches", limit=4).images, kept)


def test_to_float_maps_the_ends_of_the_range_exactly() -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    floats = to_float(images)
    assert floats.dtype == torch.float32
    assert floats.shape == images.shape
    assert floats[0, 0, 0, 0] == 0
    assert floats[0, 0, 15, 15] == 1
    assert torch.equal((floats * 255).round().to(torch.uint8), images)
    exact = torch.tensor([n / 255 for n in range(256)], dtype=torch.float64)
    assert torch.equal(to_float(images, torch.float64).flatten(), exact)


def test_to_float_refuses_images_that_are_already_floating() -> None:
    with pytest.raises(InputError, match=r"takes uint8 images, got torch\.float32"):
        to_float(torch.zeros(1, 1, 2, 2))


def test_to_float_refuses_an_integer_target() -> None:
    with pytest.raises(InputError, match="dtype must be floating point"):
        to_float(torch.zeros(1, 1, 2, 2, dtype=torch.uint8), torch.int64)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_dataset_on_the_gpu_equals_the_one_on_the_cpu() -> None:
    dataset: Dataset = load("digits", device="cuda")
    assert dataset.images.is_cuda
    assert dataset.labels.is_cuda
    assert torch.equal(dataset.images.cpu(), load("digits").images)


def test_the_folder_of_datasets_is_not_needed_for_embedded_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBUSTKIT_HOME", str(tmp_path / "absent"))
    monkeypatch.setenv("ROBUSTKIT_OFFLINE", "1")
    assert len(load("patches", limit=2)) == len(load("digits", limit=2)) == 2
    assert not (tmp_path / "absent").exists()
