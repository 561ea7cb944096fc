"""A training that was cut short ends as if it had not been."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from training_toys import Halve, bars, network, same

from robustkit.checks import check_model
from robustkit.data import Dataset
from robustkit.errors import DataError, InputError
from robustkit.training import TrainingResult, train


class Cut(Exception):
    """Stands for a killed process."""


def cut_after(batches: float) -> Callable[[Tensor], Tensor]:
    count = 0

    def transform(images: Tensor) -> Tensor:
        nonlocal count
        count += 1
        if count > batches:
            raise Cut
        return images * (1 - 0.1 * torch.rand(()))

    return transform


def run(model: nn.Module, checkpoint: Path | None, **changes: object) -> TrainingResult:
    settings = {
        "epochs": 4,
        "learning_rate": 0.1,
        "batch_size": 20,
        "augment": True,
        "seed": 3,
        "transform": cut_after(float("inf")),
    }
    return train(model, bars(), checkpoint=checkpoint, **(settings | changes))


# An epoch has five batches: cut inside the first, at the end of the second, inside the third.
@pytest.mark.parametrize("batches", [3, 10, 13])
def test_a_resumed_training_gives_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, batches: int
) -> None:
    path = tmp_path / "run" / "checkpoint.pt"
    whole, resumed, cut = network(), network(), network()
    expected = run(whole, None)
    with pytest.raises(Cut):
        run(cut, path, transform=cut_after(batches))
    check_model(cut)
    assert path.exists() == (batches >= 5)
    result = run(resumed, path)
    assert same(resumed, whole)
    assert result.losses == expected.losses
    assert result.accuracies == expected.accuracies
    check_model(resumed)


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    first, again = network(), network()
    result = run(first, path)
    assert run(again, path, transform=cut_after(0)) == result
    assert same(again, first)
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"epochs": 5}, "epochs is 5, was 4"),
        ({"learning_rate": 0.2, "seed": 4}, "learning_rate is 0.2, was 0.1; seed is 4, was 3"),
        ({"transform": None}, "transform is None"),
        ({"transform": Halve()}, r"transform is 'Halve\(\)'"),
        ({"clip": 1.0}, "clip is 1.0, was None"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(
    tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    path = tmp_path / "checkpoint.pt"
    run(network(), path, epochs=4)
    before = path.read_bytes()
    with pytest.raises(InputError, match=says):
        run(network(), path, **changes)
    assert path.read_bytes() == before


def test_a_checkpoint_of_another_network_or_other_data_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    train(network(), bars(), epochs=1, learning_rate=0.1, checkpoint=path)
    with pytest.raises(InputError, match="initial network is"):
        train(network(seed=1), bars(), epochs=1, learning_rate=0.1, checkpoint=path)
    data = bars()
    other = Dataset("bars", "train", 255 - data.images, data.labels, data.classes)
    with pytest.raises(InputError, match="dataset is 'bars/train"):
        train(network(), other, epochs=1, learning_rate=0.1, checkpoint=path)
    frozen = network()
    frozen.model[0].requires_grad_(False)
    with pytest.raises(InputError, match="trainable parameters"):
        train(frozen, bars(), epochs=1, learning_rate=0.1, checkpoint=path)


@pytest.mark.parametrize("kept", [0, 1, 100, -1])
def test_a_truncated_checkpoint_is_named(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "checkpoint.pt"
    run(network(), path, epochs=1)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"checkpoint\.pt is truncated or not a checkpoint"):
        run(network(), path, epochs=1)


@pytest.mark.parametrize("content", [{"model": {}}, torch.zeros(3), [1, 2], "text"])
def test_another_file_is_not_a_checkpoint(tmp_path: Path, content: object) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save(content, path)
    with pytest.raises(DataError, match="not a checkpoint"):
        run(network(), path)
