"""Floating-point data of any range and shape: trained on and judged as they are."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from training_toys import bars, network, same

from robustkit.data import Dataset, as_float, to_float
from robustkit.errors import InputError
from robustkit.models import build_mlp
from robustkit.training import Adversarial, evaluate, predict, train

SETTINGS = {"epochs": 3, "learning_rate": 0.1, "batch_size": 16}


def vectors(count: int = 80, scale: float = 1.0) -> Dataset:
    """Two clouds on either side of zero, far outside [0, 1]."""
    labels = torch.arange(count) % 2
    noise = torch.randn(count, 6, generator=torch.Generator().manual_seed(0))
    points = noise + 4.0 * (2 * labels - 1)[:, None]
    return Dataset("clouds", "train", scale * points, labels, ("-", "+"))


def floating(data: Dataset) -> Dataset:
    return Dataset(data.name, data.split, to_float(data.images), data.labels, data.classes)


def blind(images: Tensor) -> Tensor:
    return torch.zeros_like(images)


def nowhere(points: Tensor, clean: Tensor, radii: Tensor) -> Tensor:
    return clean


def shrunk(points: Tensor, clean: Tensor, radii: Tensor, share: float) -> Tensor:
    return clean + share * (points - clean)


def test_images_become_floats_once() -> None:
    images = torch.arange(8, dtype=torch.uint8).reshape(2, 1, 2, 2)
    assert torch.equal(as_float(images), to_float(images))
    for points in (torch.tensor([[-3.0, 7.0]]), torch.zeros(2, 3, dtype=torch.float64)):
        assert as_float(points) is points
    with pytest.raises(InputError, match=r"takes uint8 images, got torch\.int64"):
        as_float(torch.zeros(2, 3, dtype=torch.int64))


def test_floats_train_as_the_8_bit_images_they_come_from() -> None:
    first, second = network(), network()
    train(first, bars(), **SETTINGS)
    train(second, floating(bars()), **SETTINGS)
    assert same(first, second)
    assert evaluate(first, bars()) == evaluate(first, floating(bars()))


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_vectors_of_any_range_are_learned(scale: float) -> None:
    data, model = vectors(scale=scale), build_mlp(6, width=16, depth=1)
    train(model, data, **SETTINGS)
    assert evaluate(model, data).rate > 0.95
    assert repr(data) == "Dataset(clouds/train: 80 vectors of 6, 2 classes, cpu)"


@pytest.mark.parametrize("shape", [(6,), (2, 3), (1, 2, 3), (1, 2, 3, 1)])
def test_any_shape_is_taken(shape: tuple[int, ...]) -> None:
    data = vectors()
    data = Dataset("clouds", "train", data.images.reshape(-1, *shape), data.labels, data.classes)
    flat, shaped = build_mlp(6, width=8, depth=1), build_mlp(6, width=8, depth=1)
    train(flat, vectors(), **SETTINGS)
    train(shaped, data, **SETTINGS)
    assert same(flat, shaped)
    assert evaluate(shaped, data) == evaluate(flat, vectors())


def test_labels_outside_the_unit_range_are_given_when_asked_for() -> None:
    data, model = vectors(), nn.Flatten().eval()
    with pytest.raises(InputError, match=r"must lie in \[0, 1\]"):
        predict(model, data.images)
    found = predict(model, data.images, unit_range=False)
    assert torch.equal(found, data.images.argmax(dim=1))
    with pytest.raises(InputError, match="NaN"):
        predict(model, data.images * float("nan"), unit_range=False)


def test_what_floats_cannot_have_is_refused() -> None:
    with pytest.raises(InputError, match="augment=False"):
        train(network(), floating(bars()), augment=True, **SETTINGS)
    broken = vectors()
    broken.images[3, 2] = float("inf")
    with pytest.raises(InputError, match="NaN or infinite"):
        train(build_mlp(6, width=4, depth=1), broken, **SETTINGS)
    with pytest.raises(InputError, match="NaN or infinite"):
        evaluate(build_mlp(6, width=4, depth=1), broken)


def test_a_transform_shapes_what_vectors_teach() -> None:
    model = nn.Sequential(nn.Linear(6, 2))
    nn.init.zeros_(model[0].weight)
    train(model, vectors(), transform=blind, weight_decay=0.0, **SETTINGS)
    assert model[0].weight.abs().sum() == 0


def test_adversarial_training_without_bounds_gives_up_what_the_attack_can_flip() -> None:
    # Component 0 tells the class exactly, by 0.5; component 1 by 4, nine times in ten.
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 2
    signs = 2.0 * labels - 1
    honest = torch.where(torch.rand(200, generator=draw) < 0.9, signs, -signs)
    points = torch.stack([0.5 * signs, 4 * honest], dim=1)
    data = Dataset("two", "train", points, labels, ("-", "+"))
    weights = {}
    for name, adversarial in {
        "standard": None,
        "weak": Adversarial(2, 0.1, steps=3, bounds=None),
        "strong": Adversarial(2, 1.0, steps=3, bounds=None),
    }.items():
        model = nn.Sequential(nn.Linear(2, 2))
        for parameter in model.parameters():
            nn.init.zeros_(parameter)
        settings = {"epochs": 20, "learning_rate": 0.5, "batch_size": 40, "weight_decay": 0.0}
        train(model, data, adversarial=adversarial, **settings)
        weights[name] = (model[0].weight[1] - model[0].weight[0]).detach()
    used = {name: float(weight[0] / weight[1]) for name, weight in weights.items()}
    # To get all points right takes a ratio of 8. Against radius 1 the best is the w0 for which
    # w0 / 2 - |w|, what an attack leaves of component 0, is largest at given w1: 1 / sqrt(3).
    assert used["standard"] > 8
    assert used["weak"] > 8
    assert 0.3 < used["strong"] < 1.2


def test_the_projection_is_that_of_the_attack() -> None:
    settings = SETTINGS | {"weight_decay": 0.0}
    plain, pinned = build_mlp(6, width=8, depth=1), build_mlp(6, width=8, depth=1)
    train(plain, vectors(), **settings)
    attack = Adversarial(2, 1.0, steps=2, bounds=None, projection=nowhere)
    train(pinned, vectors(), adversarial=attack, **settings)
    assert same(plain, pinned)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"bounds": (1.0, 0.0)}, "bounds must be"),
        ({"projection": nowhere}, "norm=2 and bounds=None"),
        ({"projection": nowhere, "norm": "inf", "bounds": None}, "norm=2 and bounds=None"),
    ],
)
def test_impossible_attacks_are_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Adversarial(**{"norm": 2, "radius": 0.1} | changes)


def test_a_checkpoint_knows_bounds_and_projection(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"

    def run(checkpoint: Path = path, **changes: object) -> None:
        attack = Adversarial(**{"norm": 2, "radius": 0.5, "steps": 1, "bounds": None} | changes)
        model = build_mlp(6, width=4, depth=1)
        train(model, vectors(), adversarial=attack, checkpoint=checkpoint, **SETTINGS)

    run(projection=partial(shrunk, share=0.5))
    # The same by its name: another partial of the same function with the same values.
    run(projection=partial(shrunk, share=0.5))
    for projection in (partial(shrunk, share=0.25), nowhere, None):
        with pytest.raises(InputError, match=r"projection=functools.partial\(.*shrunk, share=0.5"):
            run(projection=projection)
    run(tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"adversarial is .*bounds=\(-99.0, 99.0\)"):
        run(tmp_path / "other.pt", bounds=(-99.0, 99.0))


def test_checkpoints_of_attacks_in_the_unit_range_are_named_as_before(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    attack = Adversarial("inf", 0.1, steps=1, step_size=0.05)
    train(network(), bars(), adversarial=attack, checkpoint=path, **SETTINGS)
    found = torch.load(path, weights_only=True)["configuration"]["adversarial"]
    assert found == "Adversarial(norm='inf', radius=0.1, steps=1, step_size=0.05)"
