"""Adversarial training: PGD examples inside the loop, keyed by image and epoch."""

import pytest
import torch
from torch import Tensor, nn
from training_toys import bars, network, same

from robustkit import attacks
from robustkit.data import Dataset, to_float
from robustkit.errors import InputError
from robustkit.models import Normalized
from robustkit.training import Adversarial, train


def weak_and_strong(count: int = 400) -> Dataset:
    """One pixel tells the class by a wide margin 9 times in 10; the others by a hair, always."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    signs = (2 * labels - 1)[:, None]
    images = 128 + 8 * signs + 12 * torch.randn(count, 64, generator=generator)
    reliable = torch.rand(count, generator=generator) < 0.9
    images[:, 0] = 128 + torch.where(reliable, signs[:, 0], -signs[:, 0]) * 50
    images = images.clamp(0, 255).to(torch.uint8).reshape(count, 1, 8, 8)
    return Dataset("weak and strong", "train", images, labels, ("no", "yes"))


def robust_accuracy(model: nn.Module, data: Dataset, radius: float) -> float:
    found = attacks.pgd(
        model, to_float(data.images), data.labels, norm="inf", radius=radius, steps=10
    )
    return float((model(found.adversarial).argmax(dim=1) == data.labels).float().mean())


def linear() -> nn.Module:
    layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    nn.init.zeros_(layers[1].weight)
    return Normalized(layers, 0.5, 0.25)


def test_it_gives_up_the_weak_features_that_an_attack_can_flip() -> None:
    data, accuracies = weak_and_strong(), {}
    for name, adversarial in {
        "standard": None,
        "robust": Adversarial("inf", 0.1, steps=4),
    }.items():
        model = linear()
        train(model, data, epochs=6, learning_rate=0.2, adversarial=adversarial)
        accuracies[name] = robust_accuracy(model, data, 0.1)
    assert accuracies["standard"] < 0.5
    assert accuracies["robust"] > 0.8


def test_the_attack_meets_the_model_in_eval_mode_with_positions_and_a_new_seed_each_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[dict[str, object]] = []
    original = attacks.pgd

    def recorded(
        model: nn.Module, images: Tensor, labels: Tensor, **settings: object
    ) -> attacks.AttackResult:
        assert not any(module.training for module in model.modules())
        calls.append(settings | {"labels": labels})
        return original(model, images, labels, **settings)

    monkeypatch.setattr(attacks, "pgd", recorded)
    data = bars()
    adversarial = Adversarial(2, 0.25, steps=3, step_size=0.1)
    train(network(), data, epochs=2, learning_rate=0.1, batch_size=32, adversarial=adversarial)
    assert len(calls) == 6
    for epoch in (calls[:3], calls[3:]):
        positions = torch.cat([call["indices"] for call in epoch])
        assert torch.equal(positions.sort().values, torch.arange(len(data)))
        assert torch.equal(torch.cat([call["labels"] for call in epoch]), data.labels[positions])
        assert len({call["seed"] for call in epoch}) == 1
    assert calls[0]["seed"] != calls[3]["seed"]
    assert {call["norm"] for call in calls} == {2}
    assert {(call["radius"], call["steps"], call["step_size"]) for call in calls} == {
        (0.25, 3, 0.1)
    }
    assert not any(call["early_stop"] for call in calls)


@pytest.mark.parametrize("norm", [2, "inf"])
def test_it_repeats_bit_for_bit(norm: int | str) -> None:
    models = [network(), network()]
    for model in models:
        train(
            model,
            bars(),
            epochs=1,
            learning_rate=0.1,
            augment=True,
            adversarial=Adversarial(norm, 0.1, steps=2),
        )
    assert same(*models)


@pytest.mark.parametrize("norm", [2, "inf"])
def test_it_works_in_bfloat16(norm: int | str) -> None:
    result = train(
        network(),
        bars(),
        epochs=6,
        learning_rate=0.2,
        batch_size=16,
        precision="bfloat16",
        adversarial=Adversarial(norm, 0.01, steps=2),
    )
    assert result.losses[-1] < result.losses[0]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"radius": 0.0}, "radius must be positive"),
        ({"steps": 0}, "steps at least 1"),
        ({"step_size": 0.0}, "step_size must be positive"),
    ],
)
def test_impossible_attacks_are_refused(settings: dict[str, float], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Adversarial(**({"norm": "inf", "radius": 0.1} | settings))
