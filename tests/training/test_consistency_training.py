"""Training with the consistency loss: what the network sees, the loss in closed form, repeats."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from training_toys import Halve, bars, network, same

from robustkit.augment.consistency import jsd_loss
from robustkit.data import to_float
from robustkit.errors import InputError
from robustkit.models import Normalized
from robustkit.training import Adversarial, evaluate, train
from robustkit.training.settings import Settings, configuration


class Seen(nn.Module):
    """A linear network that keeps what it is given in training mode."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(64, 2, generator=generator))
        self.batches: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.batches.append(images.detach().clone())
        return images.flatten(1) @ self.weight


class Counting(nn.Module):
    """A transform whose k-th call divides by k + 1, and that works in place."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return images.div_(self.calls + 1)


def jitter(images: Tensor) -> Tensor:
    return (images + 0.2 * torch.randn(images.shape)).clamp(0, 1)


def test_the_network_sees_the_clean_images_and_two_views_in_one_batch() -> None:
    data, model = bars(), Seen()
    train(
        model,
        data,
        epochs=1,
        learning_rate=1e-3,
        batch_size=48,
        transform=Counting(),
        consistency=12,
    )
    assert [len(batch) for batch in model.batches] == [144, 144]
    first, second = model.batches
    torch.testing.assert_close(first[48:96], first[:48] / 2)
    torch.testing.assert_close(first[96:], first[:48] / 3)
    torch.testing.assert_close(second[96:], second[:48] / 5)
    clean = torch.cat([first[:48], second[:48]]).flatten(1)
    expected = to_float(data.images).flatten(1)
    # Each image once.
    equal = (clean[:, None] == expected).all(dim=2)
    assert equal.sum(dim=0).tolist() == [1] * len(data)


@pytest.mark.parametrize("weight", [0.5, 12.0])
def test_one_step_is_the_gradient_of_the_stated_loss(weight: float) -> None:
    data, model = bars(), Seen()
    start = model.weight.detach().clone().requires_grad_()
    result = train(
        model,
        data,
        epochs=1,
        learning_rate=0.1,
        batch_size=len(data),
        momentum=0.0,
        weight_decay=0.0,
        label_smoothing=0.1,
        transform=Counting(),
        consistency=weight,
    )
    images = to_float(data.images).flatten(1)
    views = [images @ start, images / 2 @ start, images / 3 @ start]
    clean = F.cross_entropy(views[0], data.labels, label_smoothing=0.1)
    loss = clean + weight * jsd_loss(*views)
    (gradient,) = torch.autograd.grad(loss, start)
    assert result.losses[0] == pytest.approx(loss.item(), rel=1e-5)
    accuracy = (views[0].argmax(1) == data.labels).float().mean().item()
    assert result.accuracies[0] == pytest.approx(accuracy)
    moved = start.detach() - model.weight.detach()
    ratio = (moved * gradient).sum() / gradient.square().sum()
    torch.testing.assert_close(moved, ratio * gradient, rtol=1e-3, atol=1e-6)
    assert ratio > 0


def test_a_larger_weight_makes_predictions_agree_more_across_views() -> None:
    apart = {}
    for weight in (1.0, 12.0):
        model = network()
        train(
            model,
            bars(),
            epochs=8,
            learning_rate=0.1,
            batch_size=16,
            transform=jitter,
            consistency=weight,
        )
        images = to_float(bars().images)
        generator = torch.Generator().manual_seed(5)
        noise = 0.2 * torch.randn(images.shape, generator=generator)
        with torch.no_grad():
            logits = model(images), model((images + noise).clamp(0, 1))
        apart[weight] = jsd_loss(*logits).item()
        assert evaluate(model, bars()).rate > 0.8
    assert apart[12.0] < 0.5 * apart[1.0]


def shaken(**changes: object) -> nn.Module:
    model = network()
    settings = {
        "epochs": 2,
        "learning_rate": 0.1,
        "batch_size": 20,
        "augment": True,
        "transform": jitter,
        "consistency": 3.0,
    }
    train(model, bars(), **(settings | changes))
    return model


def test_equal_seeds_give_equal_weights_and_the_global_generator_stays() -> None:
    before = torch.random.get_rng_state()
    first = shaken()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(3)
    assert same(shaken(), first)
    assert not same(shaken(seed=1), first)
    assert not same(shaken(consistency=4.0), first)


def test_it_learns_in_bfloat16() -> None:
    model = shaken(epochs=8, batch_size=16, precision="bfloat16")
    assert evaluate(model, bars()).rate > 0.8


def test_a_checkpoint_names_the_weight_only_where_it_is_given(tmp_path: Path) -> None:
    shared = {"transform": Halve(), "epochs": 1}
    path = tmp_path / "with.pt"
    shaken(**shared, checkpoint=path)
    assert same(shaken(**shared, checkpoint=path), shaken(**shared))
    with pytest.raises(InputError, match=r"consistency is None, was 3\.0"):
        shaken(**shared, checkpoint=path, consistency=None)
    plain = tmp_path / "without.pt"
    shaken(**shared, checkpoint=plain, consistency=None)
    content = torch.load(plain, weights_only=True)
    assert "consistency" not in content["configuration"]
    with pytest.raises(InputError, match=r"consistency is 3\.0, was None"):
        shaken(**shared, checkpoint=plain)


def test_configurations_without_it_are_described_as_before_it_existed() -> None:
    values = {
        "epochs": 1,
        "batch_size": 20,
        "learning_rate": 0.1,
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 5e-4,
        "schedule": "one-cycle",
        "peak_at": 0.3,
        "clip": None,
        "label_smoothing": 0.0,
        "augment": False,
        "adversarial": None,
        "seed": 0,
        "bfloat16": False,
        "channels_last": True,
    }
    described = configuration(Settings(**values), network(), bars(), None)
    assert list(described) == [
        *values,
        "dataset",
        "initial network",
        "trainable parameters",
        "transform",
    ]
    weighted = configuration(Settings(**values, consistency=12.0), network(), bars(), None)
    assert weighted == described | {"consistency": 12.0}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"transform": None}, "pass a transform"),
        ({"consistency": 0.0}, "positive and finite"),
        ({"consistency": -1.0}, "positive and finite"),
        ({"consistency": math.inf}, "positive and finite"),
        ({"consistency": math.nan}, "positive and finite"),
        ({"adversarial": Adversarial(2, 0.1, steps=1)}, "either consistency or adversarial"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        shaken(**settings)


def test_dropout_and_normalisation_see_all_views_together() -> None:
    layers = nn.Sequential(nn.BatchNorm2d(1, momentum=1.0), nn.Flatten(), nn.Linear(64, 2))
    model = Normalized(layers, 0.0, 1.0)
    train(
        model,
        bars(),
        epochs=1,
        learning_rate=0.1,
        batch_size=96,
        transform=Halve(),
        consistency=1.0,
    )
    mean = to_float(bars().images).mean().item()
    assert layers[0].running_mean.item() == pytest.approx(mean * (1 + 0.5 + 0.5) / 3, rel=1e-5)
