"""Readers of released benchmarks on tiny copies of their layouts, whole and damaged."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from robustkit import inputs
from robustkit.corruptions.benchmark.released import CifarC, ImageNetC
from robustkit.errors import DataError, InputError

LABELS = [3, 0, 9, 1]


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    """Four images at five severities: pixel (h, w, c) of image i at severity s tells all of it."""
    severity, image, height, width, channel = np.ogrid[1:6, 0:4, 0:2, 0:3, 0:3]
    for number, name in enumerate(("fog", "snow")):
        values = 100 * number + 16 * severity + 4 * image + height + width + channel
        np.save(tmp_path / f"{name}.npy", values.reshape(20, 2, 3, 3).astype(np.uint8))
    np.save(tmp_path / "labels.npy", np.tile(np.array(LABELS, dtype=np.uint8), 5))
    return tmp_path


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    """Two corruptions at severities 1 and 3, classes n1 (images a, b, c) and n2 (image d)."""
    for corruption, base in (("fog", 0), ("snow", 100)):
        for severity in (1, 3):
            for name, value in {"n1/a": 1, "n1/b": 2, "n1/c": 3, "n2/d": 4}.items():
                path = tmp_path / corruption / str(severity) / f"{name}.JPEG"
                path.parent.mkdir(parents=True, exist_ok=True)
                grey = base + 10 * severity + value
                Image.new("RGB", (8, 8), (grey,) * 3).save(path, quality=100)
    (tmp_path / "fog" / "1" / "n1" / "notes.txt").write_text("no image")
    (tmp_path / "other").mkdir()
    return tmp_path


def test_severities_are_fifths_of_the_file(cifar: Path) -> None:
    released = CifarC(cifar)
    assert released.corruptions == ("fog", "snow")
    assert released.labels.tolist() == LABELS
    for severity in range(1, 6):
        dataset = released.dataset("snow", severity)
        assert dataset.images.shape == (4, 3, 2, 3)
        assert dataset.images.dtype == torch.uint8
        assert dataset.labels.tolist() == LABELS
        assert dataset.images[:, 0, 0, 0].tolist() == [
            100 + 16 * severity + 4 * i for i in range(4)
        ]
        # Row, column and channel each add one.
        assert dataset.images[2, 2, 1, 2] == 100 + 16 * severity + 8 + 5
    assert (dataset.name, dataset.split, len(dataset.classes)) == ("cifar10-c", "snow/5", 10)
    assert next(iter(inputs.noted())) == "data/cifar10-c/snow"


def test_a_file_is_mapped_and_never_written(cifar: Path) -> None:
    before = (cifar / "fog.npy").read_bytes()
    images = CifarC(cifar).dataset("fog", 2).images
    images[:] = 7
    assert (cifar / "fog.npy").read_bytes() == before
    assert CifarC(cifar).dataset("fog", 2).images[0, 0, 0, 0] == 32


def test_batches_are_the_dataset(cifar: Path, imagenet: Path) -> None:
    for released in (CifarC(cifar), ImageNetC(imagenet)):
        whole = released.dataset("snow", 3).images
        parts = list(released.batches("snow", 3, 3))
        assert [len(part) for part in parts] == [3, 1]
        assert torch.equal(torch.cat(parts), whole)


def test_classes_of_cifar100(cifar: Path) -> None:
    np.save(cifar / "labels.npy", np.tile([3, 0, 99, 1], 5))
    assert len(CifarC(cifar, "cifar100").classes) == 100
    with pytest.raises(DataError, match="labels from 0 to 99, cifar10 has 10 classes"):
        CifarC(cifar)
    with pytest.raises(InputError, match="unknown dataset 'cifar'"):
        CifarC(cifar, "cifar")


@pytest.mark.parametrize(
    "labels",
    [np.arange(20) % 10, np.tile(LABELS, 5)[:-1], np.zeros(0, int), np.ones(20), [[1] * 5]],
)
def test_labels_that_do_not_repeat_are_refused(cifar: Path, labels) -> None:
    np.save(cifar / "labels.npy", labels)
    with pytest.raises(DataError, match=r"labels\.npy does not hold the same labels"):
        CifarC(cifar)


def test_a_truncated_or_missing_file_is_named(cifar: Path) -> None:
    released = CifarC(cifar)
    with pytest.raises(DataError, match=r"there is no .*frost\.npy"):
        released.dataset("frost", 1)
    whole = (cifar / "fog.npy").read_bytes()
    for rest in (whole[:-5], whole[:40], b""):
        (cifar / "fog.npy").write_bytes(rest)
        with pytest.raises(DataError, match=r"fog\.npy is truncated or damaged"):
            released.dataset("fog", 1)
    np.save(cifar / "fog.npy", np.zeros((16, 2, 3, 3), np.uint8))
    with pytest.raises(DataError, match="holds 16 images, the labels are for 20"):
        released.dataset("fog", 1)
    np.save(cifar / "fog.npy", np.zeros((20, 3, 2, 3)))
    with pytest.raises(DataError, match=r"holds float64 \(20, 3, 2, 3\), not uint8"):
        released.dataset("fog", 1)
    for severity in (0, 6):
        with pytest.raises(InputError, match="severity must be 1 to 5"):
            released.dataset("snow", severity)
    (cifar / "labels.npy").unlink()
    with pytest.raises(DataError, match=r"there is no .*labels\.npy"):
        CifarC(cifar)


def test_folders_are_read_class_by_class(imagenet: Path) -> None:
    released = ImageNetC(imagenet)
    assert released.corruptions == ("fog", "snow")
    assert released.classes == ("n1", "n2")
    assert released.labels.tolist() == [0, 0, 0, 1]
    dataset = released.dataset("snow", 3)
    assert dataset.images.shape == (4, 3, 8, 8)
    assert dataset.images.dtype == torch.uint8
    assert dataset.images[:, 1, 4, 4].tolist() == [131, 132, 133, 134]
    assert (dataset.name, dataset.split) == ("imagenet-c", "snow/3")


def test_labels_follow_the_classes_that_are_named(imagenet: Path) -> None:
    released = ImageNetC(imagenet, classes=["n0", "n2", "n1"])
    assert released.labels.tolist() == [2, 2, 2, 1]
    with pytest.raises(DataError, match=r"class folders that are not named: \['n1'\]"):
        ImageNetC(imagenet, classes=["n0", "n2"])


def test_a_limit_takes_from_each_class_in_turn(imagenet: Path) -> None:
    released = ImageNetC(imagenet, limit=3)
    assert released.labels.tolist() == [0, 0, 1]
    assert released.dataset("fog", 1).images[:, 0, 0, 0].tolist() == [11, 12, 14]
    with pytest.raises(InputError, match="limit must be at least 1"):
        ImageNetC(imagenet, limit=0)


def test_images_are_read_when_they_are_asked_for(imagenet: Path) -> None:
    (imagenet / "snow" / "1" / "n2" / "d.JPEG").write_bytes(b"damaged")
    released = ImageNetC(imagenet)
    batches = released.batches("snow", 1, 2)
    assert len(next(batches)) == 2
    with pytest.raises(DataError, match=r"d\.JPEG cannot be read as an image"):
        next(batches)


def test_incomplete_folders_are_named(imagenet: Path, tmp_path: Path) -> None:
    released = ImageNetC(imagenet)
    (imagenet / "snow" / "3" / "n1" / "b.JPEG").unlink()
    with pytest.raises(DataError, match=r"lacks 1 of 4 images, .*b\.JPEG first"):
        released.dataset("snow", 3)
    with pytest.raises(DataError, match="lacks 4 of 4 images"):
        released.dataset("snow", 2)
    with pytest.raises(InputError, match="severity must be 1 to 5"):
        released.dataset("snow", 0)
    Image.new("RGB", (4, 8)).save(imagenet / "fog" / "3" / "n1" / "b.JPEG")
    with pytest.raises(DataError, match="several sizes"):
        released.dataset("fog", 3)
    with pytest.raises(DataError, match="holds no CORRUPTION/SEVERITY"):
        ImageNetC(imagenet / "absent")
    (tmp_path / "empty" / "fog" / "1" / "n1").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no CLASS"):
        ImageNetC(tmp_path / "empty")


def test_a_fingerprint_changes_with_the_files(cifar: Path, imagenet: Path) -> None:
    for released, file in (
        (CifarC(cifar), cifar / "fog.npy"),
        (ImageNetC(imagenet), imagenet / "fog" / "3" / "n1" / "a.JPEG"),
    ):
        before = released.fingerprint("fog", 3)
        assert before == released.fingerprint("fog", 3) != released.fingerprint("snow", 3)
        with file.open("ab") as opened:
            opened.write(b"more")
        assert released.fingerprint("fog", 3) != before
