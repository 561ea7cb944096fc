"""Published weights: checked files, measured accuracy, errors that say what to do."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from robustkit import inputs
from robustkit.checks import check_model
from robustkit.data import Dataset
from robustkit.data import load as load_data
from robustkit.errors import DataError, InputError
from robustkit.files import sha256
from robustkit.models import CARDS, Normalized, build, card, load
from robustkit.training import evaluate

MNIST = "mnist_lenet5"


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without weights, and no way to fetch any."""
    monkeypatch.setenv("ROBUSTKIT_HOME", str(tmp_path))
    monkeypatch.setenv("ROBUSTKIT_OFFLINE", "1")
    (tmp_path / "weights").mkdir()
    return tmp_path


# Counts measured with this code; sums in another order may flip an image on the boundary.
@pytest.mark.parametrize(
    ("name", "count", "correct"),
    [
        ("cifar10_resnet20", 1000, 915),
        ("cifar10_resnet32", 400, 373),
        ("cifar10_resnet44", 400, 370),
        ("cifar10_resnet56", 400, 376),
        ("mnist_lenet5", 1000, 984),
        ("mnist_lenet5_adversarial", 1000, 982),
    ],
)
def test_published_networks_have_their_published_accuracy(
    real_data: Path, name: str, count: int, correct: int
) -> None:
    accuracy = evaluate(load(name), load_data(card(name).dataset, "test", limit=count))
    assert accuracy.count == count
    assert abs(accuracy.correct - correct) <= 2
    # The share among the first images is a sample of the accuracy on the card.
    error = (card(name).accuracy * (1 - card(name).accuracy) / count) ** 0.5
    assert abs(accuracy.rate - card(name).accuracy) < 3 * error


def test_mobilenet_labels_photographs(real_data: Path) -> None:
    photographs = load_data(f"imagefolder:{real_data / 'nips17'}", limit=64)
    cropped = photographs.images[:, :, 16:240, 16:240]
    dataset = Dataset("crops", "test", cropped, photographs.labels, photographs.classes)
    assert evaluate(load("imagenet_mobilenet_v2"), dataset, batch_size=32).rate > 0.75


def test_a_loaded_network_is_frozen_normalised_and_noted(real_data: Path) -> None:
    model = load("cifar10_resnet20")
    check_model(model)
    assert isinstance(model, Normalized)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    file = real_data.resolve() / "weights" / "cifar10_resnet20.safetensors"
    assert file in inputs.noted()["weights/cifar10_resnet20"]


def test_loading_leaves_the_global_generator_as_it_was(real_data: Path) -> None:
    before = torch.random.get_rng_state()
    load("imagenet_mobilenet_v2")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_truncated_file_is_named(real_data: Path, empty_home: Path) -> None:
    whole = (real_data / "weights" / card(MNIST).file).read_bytes()
    (empty_home / "weights" / card(MNIST).file).write_bytes(whole[:-1])
    with pytest.raises(DataError, match=f"{card(MNIST).file} is damaged or another version"):
        load(MNIST)


def test_another_file_of_that_name_is_refused(empty_home: Path) -> None:
    path = empty_home / "weights" / card(MNIST).file
    save_file(build("wide_lenet", channels=1).state_dict(), path)
    with pytest.raises(DataError, match=f"expected {card(MNIST).sha256}"):
        load(MNIST)


def test_absent_weights_say_where_they_are_published(empty_home: Path) -> None:
    with pytest.raises(DataError, match=r"resnet56-4bfd9763\.th by hand and place it at"):
        load("cifar10_resnet56")


def test_absent_weights_without_a_published_form_say_what_to_use_instead(
    empty_home: Path,
) -> None:
    with pytest.raises(DataError, match="torchvision:mobilenet_v2"):
        load("imagenet_mobilenet_v2")


def test_the_file_of_the_publisher_serves_as_well(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = build("resnet20", seed=3)
    published = empty_home / "weights" / "resnet20-published.th"
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state, "best_prec1": 0.0}, published)
    known = replace(
        CARDS["cifar10_resnet20"],
        url="https://example.org/resnet20-published.th",
        url_sha256=sha256(published),
    )
    monkeypatch.setitem(CARDS, "cifar10_resnet20", known)
    model = load("cifar10_resnet20")
    images = torch.rand(2, 3, 32, 32)
    expected = Normalized(network, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert torch.equal(model(images), expected(images))
    assert published in inputs.noted()["weights/cifar10_resnet20"]


def test_a_damaged_file_of_the_publisher_is_refused(empty_home: Path) -> None:
    path = empty_home / "weights" / "resnet20-12fca82f.th"
    path.write_bytes(b"not the weights")
    with pytest.raises(DataError, match=f"{path.name} is damaged"):
        load("cifar10_resnet20")


@pytest.mark.parametrize("name", CARDS)
def test_cards_agree_with_the_files(real_data: Path, name: str) -> None:
    known = card(name)
    assert known.name == name
    assert sha256(real_data / "weights" / known.file) == known.sha256
    assert (known.mean is None) == (known.std is None)
    assert (known.url is None) == (known.url_sha256 is None)
    assert 0 < known.accuracy < 1


def test_a_copy_of_the_weights_loads_from_any_home(real_data: Path, empty_home: Path) -> None:
    images = torch.rand(2, 1, 28, 28)
    source = real_data / "weights" / card(MNIST).file
    shutil.copyfile(source, empty_home / "weights" / source.name)
    assert load(MNIST)(images).shape == (2, 10)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("resnet20", "cifar10_resnet20"),
        ("mnist_lenet", "mnist_lenet5"),
        ("torchvision:", "torchvision:NAME"),
    ],
)
def test_an_unknown_model_is_answered_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(InputError, match=f"Did you mean '{near}'"):
        load(name)


def test_an_unknown_card_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'mnist_lenet5'"):
        card("mnist_lenet")
