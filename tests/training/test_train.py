"""Training: closed forms, repeatability, learning, and what is refused."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from training_toys import Halve, bars, network, same

from robustkit.checks import check_model
from robustkit.data import Dataset, to_float
from robustkit.errors import InputError, RunError
from robustkit.models import build
from robustkit.training import Accuracy, evaluate, train


def linear(pixels: int = 64, classes: int = 2) -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(pixels, classes))
    nn.init.zeros_(model[1].weight)
    nn.init.zeros_(model[1].bias)
    return model


def test_full_batches_are_gradient_descent_in_closed_form() -> None:
    data, model = bars(), linear()
    train(
        model,
        data,
        epochs=4,
        learning_rate=0.1,
        batch_size=len(data),
        momentum=0.5,
        weight_decay=0.01,
        schedule="triangular",
    )
    inputs = np.hstack([to_float(data.images).flatten(1).double().numpy(), np.ones((96, 1))])
    targets = np.eye(2)[data.labels.numpy()]
    weights, velocity = np.zeros((2, 65)), np.zeros((2, 65))
    for rate in (0.1 * 0.25 / 0.4, 0.1 * 0.5 / 0.6, 0.1 * 0.25 / 0.6, 0.0):
        scores = np.exp(inputs @ weights.T)
        probabilities = scores / scores.sum(axis=1, keepdims=True)
        gradient = (probabilities - targets).T @ inputs / len(inputs) + 0.01 * weights
        velocity = 0.5 * velocity + gradient
        weights = weights - rate * velocity
    found = torch.cat([model[1].weight, model[1].bias[:, None]], dim=1).detach()
    np.testing.assert_allclose(found.numpy(), weights, rtol=1e-4, atol=1e-7)


def test_clip_bounds_the_step() -> None:
    data, model = bars(), linear()
    train(
        model,
        data,
        epochs=1,
        learning_rate=2.0,
        batch_size=len(data),
        momentum=0.0,
        weight_decay=0.0,
        clip=0.01,
    )
    moved = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    assert float(moved.norm()) == pytest.approx(2.0 * 0.01, rel=1e-4)


def test_it_learns_and_reports_what_it_did() -> None:
    data, model = bars(), network()
    result = train(model, data, epochs=8, learning_rate=0.2, batch_size=16)
    assert evaluate(model, data).rate > 0.95
    assert (len(result.losses), len(result.accuracies), result.epochs) == (8, 8, 8)
    assert result.losses[-1] < 0.5 * result.losses[0]
    assert result.accuracies[-1] > 0.9
    assert result.images_per_second == pytest.approx(8 * 96 / result.seconds)


def test_small_cnn_learns_the_embedded_digits() -> None:
    from robustkit.data import load

    model = build("small_cnn", channels=1)
    train(model, load("digits", "train"), epochs=3, learning_rate=0.2, batch_size=64)
    assert evaluate(model, load("digits", "test")).rate > 0.9


@pytest.mark.parametrize("training", [True, False])
def test_it_leaves_the_model_in_eval_mode(training: bool) -> None:
    model = network().train(training)
    train(model, bars(), epochs=1, learning_rate=0.1)
    check_model(model)


def shaken(seed: int = 0, **changes: object) -> nn.Module:
    """Train with everything random switched on."""

    def jitter(images: Tensor) -> Tensor:
        return (images + 0.01 * torch.randn_like(images)).clamp(0, 1)

    model = network()
    train(
        model,
        bars(),
        epochs=2,
        learning_rate=0.1,
        batch_size=20,
        augment=True,
        transform=jitter,
        seed=seed,
        **changes,
    )
    return model


def test_equal_seeds_give_equal_weights_bit_for_bit() -> None:
    first = shaken()
    torch.rand(7)
    assert same(shaken(), first)
    assert not same(shaken(seed=1), first)


def test_the_memory_layout_does_not_change_what_is_learned() -> None:
    plain, channels_last = shaken(channels_last=False), shaken(channels_last=True)
    for one, other in zip(plain.parameters(), channels_last.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_the_global_generator_is_left_as_it_was() -> None:
    before = torch.random.get_rng_state()
    shaken()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_transform_sees_images_in_the_unit_range_and_shapes_what_is_learned() -> None:
    seen: list[Tensor] = []

    def blank(images: Tensor) -> Tensor:
        seen.append(images)
        return torch.zeros_like(images)

    model = linear()
    train(model, bars(), epochs=1, learning_rate=0.1, weight_decay=0.0, transform=blank)
    assert torch.cat(seen).shape == (96, 1, 8, 8)
    assert float(torch.cat(seen).min()) >= 0
    assert 0.5 < float(torch.cat(seen).max()) <= 1
    assert model[1].weight.abs().sum() == 0


def test_a_module_serves_as_a_transform() -> None:
    plain, halved = linear(), linear()
    settings = {"epochs": 1, "learning_rate": 0.1, "batch_size": 96, "weight_decay": 0.0}
    train(plain, bars(), **settings)
    train(halved, bars(), transform=Halve(), **settings)
    torch.testing.assert_close(halved[1].weight, plain[1].weight / 2)


def test_label_smoothing_raises_the_loss_of_a_sure_network() -> None:
    losses = []
    for smoothing in (0.0, 0.2):
        model = linear()
        with torch.no_grad():
            model[1].bias.copy_(torch.tensor([20.0, 0.0]))
        data = bars()
        zeros = Dataset("zeros", "train", data.images, torch.zeros_like(data.labels), data.classes)
        settings = {"epochs": 1, "learning_rate": 1e-6, "label_smoothing": smoothing}
        losses.append(train(model, zeros, **settings).losses[0])
    # Cross-entropy with smoothing e over K classes adds e (K - 1) / K times the logit gap.
    assert losses[1] - losses[0] == pytest.approx(0.2 / 2 * 20, rel=1e-3)


def test_bfloat16_learns_too() -> None:
    model = network()
    train(model, bars(), epochs=8, learning_rate=0.2, batch_size=16, precision="bfloat16")
    assert next(model.parameters()).dtype == torch.float32
    assert evaluate(model, bars()).rate > 0.9


def test_frozen_parameters_stay() -> None:
    model = network()
    model.model[0].requires_grad_(False)
    before = model.model[0].weight.clone()
    train(model, bars(), epochs=1, learning_rate=0.1)
    assert torch.equal(model.model[0].weight, before)
    with pytest.raises(InputError, match=r"requires_grad_\(True\)"):
        train(model.requires_grad_(False), bars(), epochs=1, learning_rate=0.1)


def test_a_loss_that_explodes_is_an_error() -> None:
    model = network()
    with pytest.raises(RunError, match="lower learning_rate"):
        train(model, bars(), epochs=3, learning_rate=1e30, batch_size=16)
    check_model(model)


def beyond(data: Dataset) -> Dataset:
    return Dataset(data.name, data.split, data.images, data.labels + 1, data.classes)


def empty(data: Dataset) -> Dataset:
    return Dataset(data.name, data.split, data.images[:0], data.labels[:0], data.classes)


@pytest.mark.parametrize(("change", "says"), [(beyond, "has 2 classes"), (empty, "is empty")])
def test_data_that_the_model_cannot_take_is_refused(
    change: Callable[[Dataset], Dataset], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        train(network(), change(bars()), epochs=1, learning_rate=0.1)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"epochs": 0}, "epochs and batch_size"),
        ({"batch_size": 0}, "epochs and batch_size"),
        ({"learning_rate": 0.0}, "must be positive"),
        ({"clip": -1.0}, "must be positive"),
        ({"weight_decay": -1.0}, "must not be negative"),
        ({"momentum": 0.0, "nesterov": True}, "nesterov needs momentum"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"peak_at": 0.0}, "peak_at"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        train(network(), bars(), **({"epochs": 1, "learning_rate": 0.1} | settings))


def test_accuracy_of_an_untrained_linear_model_is_that_of_class_zero() -> None:
    assert evaluate(linear().eval(), bars()) == Accuracy(48, 96)
