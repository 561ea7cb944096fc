"""Published datasets: the cached file, fetching, damage; then the real ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from robustkit import inputs
from robustkit.data import load, mnist, published
from robustkit.errors import DataError

TINY = published.Published(
    name="tiny",
    torchvision="CIFAR10",
    images=(3, 2, 2),
    classes=("first", "second"),
    per_class={"train": 3, "test": 2},
)


def tiny_arrays() -> dict[str, Any]:
    return {
        "x_train": np.arange(72, dtype=np.uint8).reshape(6, 2, 2, 3),
        "y_train": np.array([0, 1, 0, 1, 0, 1]),
        "x_test": np.arange(48, dtype=np.uint8).reshape(4, 2, 2, 3),
        "y_test": np.array([0, 0, 1, 1]),
    }


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, with downloads forbidden."""
    monkeypatch.setenv("ROBUSTKIT_HOME", str(tmp_path))
    monkeypatch.setenv("ROBUSTKIT_OFFLINE", "1")
    return tmp_path


class Publisher:
    """Stands for a class of torchvision.datasets; counts how often it was asked."""

    calls = 0

    def __init__(self, root: str, train: bool, download: bool) -> None:
        type(self).calls += 1
        assert download
        Path(root, "archive.tar.gz").write_bytes(b"left behind")
        split = "train" if train else "test"
        self.data = tiny_arrays()[f"x_{split}"]
        self.targets = tiny_arrays()[f"y_{split}"].tolist()


@pytest.fixture
def publisher(home: Path, monkeypatch: pytest.MonkeyPatch) -> type[Publisher]:
    monkeypatch.delenv("ROBUSTKIT_OFFLINE")
    monkeypatch.setattr(Publisher, "calls", 0)
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Publisher)
    return Publisher


def test_the_cached_file_is_read_with_channels_first(home: Path) -> None:
    arrays = tiny_arrays()
    np.savez(home / "tiny.npz", **arrays)
    content = published.read(TINY, "test")
    assert content.images.flags.c_contiguous
    assert (content.images == np.moveaxis(arrays["x_test"], 3, 1)).all()
    assert content.labels.tolist() == [0, 0, 1, 1]
    assert content.files == [home / "tiny.npz"]


def test_grey_images_gain_a_channel(home: Path) -> None:
    grey = published.Published("tiny", "MNIST", (1, 2, 3), ("only",), per_class={"test": 2})
    images = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    np.savez(home / "tiny.npz", x_test=images, y_test=np.zeros(2, dtype=np.uint8))
    assert (published.read(grey, "test").images == images[:, None]).all()


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "mnist"])
def test_absent_and_offline_says_which_file_goes_where(home: Path, name: str) -> None:
    with pytest.raises(DataError) as caught:
        load(name)
    message = str(caught.value)
    assert str(home / f"{name}.npz") in message
    assert "ROBUSTKIT_HOME" in message
    assert "ROBUSTKIT_OFFLINE is set" in message


def test_absent_is_fetched_once_into_one_file(home: Path, publisher: type[Publisher]) -> None:
    first = published.read(TINY, "train")
    assert (first.images == np.moveaxis(tiny_arrays()["x_train"], 3, 1)).all()
    assert first.labels.tolist() == [0, 1, 0, 1, 0, 1]
    published.read(TINY, "test")
    assert publisher.calls == 2
    assert [path.name for path in home.iterdir() if path.suffix != ".lock"] == ["tiny.npz"]


@pytest.mark.parametrize("error", [RuntimeError("File not\n found"), OSError("File not found")])
def test_a_failed_download_is_one_error_with_the_manual_path(
    home: Path, publisher: type[Publisher], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(publisher, "__init__", fail)
    with pytest.raises(DataError, match=r"not be fetched \(File not found\)") as caught:
        published.read(TINY, "test")
    assert str(home / "tiny.npz") in str(caught.value)
    assert [path.name for path in home.iterdir() if path.suffix != ".lock"] == []


def test_a_home_that_cannot_be_written_is_one_error(
    home: Path, publisher: type[Publisher], monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").write_text("not a folder")
    monkeypatch.setenv("ROBUSTKIT_HOME", str(home / "file" / "home"))
    with pytest.raises(DataError, match="tiny could not be fetched"):
        published.read(TINY, "test")
    assert publisher.calls == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"x_test": np.zeros((4, 2, 3, 3), dtype=np.uint8)}, r"expected uint8 \(N, 3, 2, 2\)"),
        ({"x_test": np.zeros((4, 2, 2, 3))}, "images are float64"),
        ({"x_test": np.array(3, dtype=np.uint8)}, r"expected uint8 \(N, 3, 2, 2\)"),
        ({"y_test": np.array([0, 1])}, r"labels are int64 \(2,\) for 4 images"),
        ({"y_test": np.zeros(4)}, "labels are float64"),
        ({"y_test": np.array([0, 0, 1, 2])}, "labels do not index the 2 classes"),
        ({"y_test": np.array([0, 0, 1, -1])}, "labels do not index the 2 classes"),
        ({"y_test": np.array([0, 1, 1, 1])}, "does not hold 2 images of every class"),
        ({"y_test": np.array([0, 0, 1, None])}, "damaged"),
    ],
)
def test_content_that_is_not_the_dataset_is_refused(
    home: Path, change: dict[str, Any], reason: str
) -> None:
    path = home / "tiny.npz"
    np.savez(path, **{**tiny_arrays(), **change})
    with pytest.raises(DataError, match=reason) as caught:
        published.read(TINY, "test")
    assert str(path) in str(caught.value)
    assert "Delete it and load again" in str(caught.value)


def test_an_array_that_is_absent_is_named(home: Path) -> None:
    np.savez(home / "tiny.npz", x_test=tiny_arrays()["x_test"])
    with pytest.raises(DataError, match=r"tiny\.npz is damaged .*y_test"):
        published.read(TINY, "test")


@pytest.mark.parametrize("keep", [0, 1, 100, 700, -1])
def test_a_truncated_file_is_named(home: Path, keep: int) -> None:
    path = home / "tiny.npz"
    np.savez(path, **tiny_arrays())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"tiny\.npz is damaged"):
        published.read(TINY, "test")


def test_one_changed_byte_in_the_file_is_found(home: Path) -> None:
    path = home / "tiny.npz"
    arrays = tiny_arrays()
    np.savez(path, **arrays)
    whole = path.read_bytes()
    pixels = arrays["x_test"].tobytes()
    place = whole.rindex(pixels) + 5
    path.write_bytes(whole[:place] + b"\xff" + whole[place + 1 :])
    with pytest.raises(DataError, match=r"tiny\.npz is damaged .*CRC"):
        published.read(TINY, "test")


def test_sheets_that_are_not_the_dataset_are_refused(home: Path) -> None:
    (home / "cifar10" / "test").mkdir(parents=True)
    with pytest.raises(DataError, match=r"has no \.webp sheet"):
        load("cifar10")


def test_cifar100_has_a_hundred_fine_classes(home: Path) -> None:
    np.savez(
        home / "cifar100.npz",
        x_test=np.zeros((10_000, 32, 32, 3), dtype=np.uint8),
        y_test=np.arange(10_000) % 100,
    )
    dataset = load("cifar100", limit=100)
    assert len(dataset.classes) == len(set(dataset.classes)) == 100
    assert list(dataset.classes) == sorted(dataset.classes)
    assert dataset.images.shape == (100, 3, 32, 32)


def test_cifar10_train_is_the_published_one(real_data: Path) -> None:
    dataset = load("cifar10", "train")
    assert dataset.images.shape == (50_000, 3, 32, 32)
    assert dataset.labels.dtype == torch.int64
    assert dataset.labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    assert dataset.labels.bincount().tolist() == [5000] * 10
    # The channel means that the literature prints.
    sums = [int(dataset.images[:, channel].sum(dtype=torch.int64)) for channel in range(3)]
    means = [total / (50_000 * 1024 * 255) for total in sums]
    assert means == pytest.approx([0.4914, 0.4822, 0.4465], abs=5e-5)
    noted = inputs.noted()["data/cifar10/train"]
    assert len(noted) == 51
    assert all(file.is_relative_to(real_data.resolve()) for file in noted)


def test_cifar10_test_reads_alike_from_sheets_and_from_the_cached_file(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load("cifar10")
    assert dataset.images.shape == (10_000, 3, 32, 32)
    assert [dataset.classes[i] for i in dataset.labels[:5]] == [
        "cat",
        "ship",
        "ship",
        "airplane",
        "frog",
    ]
    images = dataset.images.permute(0, 2, 3, 1).numpy()
    labels = dataset.labels.numpy()
    monkeypatch.setenv("ROBUSTKIT_HOME", str(tmp_path))
    np.savez(tmp_path / "cifar10.npz", x_test=images, y_test=labels)
    cached = load("cifar10")
    assert torch.equal(cached.images, dataset.images)
    assert torch.equal(cached.labels, dataset.labels)

    changed = images.copy()
    changed[1234, 5, 6, 0] ^= 1
    np.savez(tmp_path / "cifar10.npz", x_test=changed, y_test=labels)
    with pytest.raises(DataError, match=r"cifar10\.npz is damaged .*sha256 of the decoded test"):
        load("cifar10")


def test_mnist_is_the_published_one(real_data: Path) -> None:
    train, test = load("mnist", "train"), load("mnist")
    assert train.images.shape == (60_000, 1, 28, 28)
    assert test.images.shape == (10_000, 1, 28, 28)
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    # The mean and standard deviation that the literature prints.
    counts = train.images.flatten().bincount(minlength=256).double()
    values = torch.arange(256).double() / 255
    mean = (counts * values).sum() / counts.sum()
    deviation = ((counts * (values - mean) ** 2).sum() / counts.sum()).sqrt()
    assert float(mean) == pytest.approx(0.1307, abs=5e-5)
    assert float(deviation) == pytest.approx(0.3081, abs=5e-5)


def test_mnist_fetched_from_its_publisher_is_verified_and_cached(
    real_data: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with np.load(real_data / "mnist.npz") as arrays:
        given = dict(arrays)

    class FromTheNetwork:
        def __init__(self, root: str, train: bool, download: bool) -> None:
            split = "train" if train else "test"
            self.data = torch.tensor(given[f"x_{split}"])
            self.targets = torch.tensor(given[f"y_{split}"].astype(np.int64))

    monkeypatch.setenv("ROBUSTKIT_HOME", str(home))
    monkeypatch.delenv("ROBUSTKIT_OFFLINE")
    monkeypatch.setattr(torchvision.datasets, mnist.MNIST.torchvision, FromTheNetwork)
    assert load("mnist").images.numpy().tobytes() == given["x_test"].tobytes()
    assert (home / "mnist.npz").is_file()
