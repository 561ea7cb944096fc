"""Recipes: the published numbers, and arguments that `train` takes."""

import pytest
import torch
from torch import Tensor, nn
from training_toys import bars, network, same

from robustkit.augment.augmix import AugMix
from robustkit.augment.prime import Prime
from robustkit.errors import InputError
from robustkit.training import Adversarial, hold_me_tight, learning_rate_at, prime, train


def nowhere(points: Tensor, clean: Tensor, radii: Tensor) -> Tensor:
    return clean


def test_the_standard_recipe_is_the_published_one() -> None:
    recipe = hold_me_tight()
    assert recipe == hold_me_tight("mnist")
    assert (recipe["epochs"], recipe["batch_size"], recipe["clip"]) == (30, 128, 0.5)
    assert (recipe["momentum"], recipe["weight_decay"]) == (0.9, 5e-4)
    assert (recipe["augment"], recipe["adversarial"]) == (False, None)
    rates = [
        learning_rate_at(step, 50, recipe["learning_rate"], recipe["schedule"], recipe["peak_at"])
        for step in range(50)
    ]
    # From 0 to 0.21 at iteration 20 of 50, and back to 0, both in a line.
    expected = [0.21 * min(step / 20, (50 - step) / 30) for step in range(1, 51)]
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize(("dataset", "radius"), [("mnist", 2.0), ("cifar10", 1.0)])
def test_the_adversarial_recipe_attacks_within_the_published_radius(
    dataset: str, radius: float
) -> None:
    recipe = hold_me_tight(dataset, adversarial=True)
    assert recipe["adversarial"] == Adversarial(2, radius, steps=7)
    flipped = hold_me_tight(dataset, adversarial=True, projection=nowhere)["adversarial"]
    assert flipped == Adversarial(2, radius, steps=7, bounds=None, projection=nowhere)


def test_train_takes_a_recipe_and_its_changes() -> None:
    models = [network(), network()]
    recipe = hold_me_tight("mnist", adversarial=True, epochs=2, seed=3, batch_size=32)
    result = train(models[0], bars(), **recipe)
    assert result.epochs == 2
    train(
        models[1],
        bars(),
        epochs=2,
        learning_rate=0.21,
        batch_size=32,
        schedule="triangular",
        clip=0.5,
        adversarial=Adversarial(2, 2.0, steps=7),
        seed=3,
    )
    assert same(*models)
    assert all(torch.isfinite(parameter).all() for parameter in models[0].parameters())


def test_the_recipe_of_prime_is_the_published_one() -> None:
    recipe = prime("cifar100", method="standard")
    assert recipe == prime("cifar10", method="standard", consistency=3.0)
    assert (recipe["epochs"], recipe["batch_size"], recipe["clip"]) == (100, 128, 0.5)
    assert (recipe["momentum"], recipe["nesterov"], recipe["weight_decay"]) == (0.9, True, 5e-4)
    assert (recipe["augment"], recipe["transform"], recipe["consistency"]) == (True, None, None)
    # The scheduler of the published code, on 100 epochs of 391 batches.
    steps = 39100
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.2, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.2, pct_start=0.25, epochs=100, steps_per_epoch=391
    )
    momenta = []
    for step in range(steps):
        if step % 391 == 0 or step == 9774:
            found = learning_rate_at(step, steps, 0.2, recipe["schedule"], recipe["peak_at"])
            assert found == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
            momenta.append(optimizer.param_groups[0]["momentum"])
        optimizer.step()
        scheduler.step()
    # What the recipe leaves out.
    assert (max(momenta), min(momenta)) == pytest.approx((0.95, 0.85))


@pytest.mark.parametrize(
    ("method", "transform"), [("augmix", AugMix(severity=3)), ("prime", Prime(preset="cifar"))]
)
def test_a_method_is_its_transform_with_or_without_the_consistency_loss(
    method: str, transform: nn.Module
) -> None:
    standard, found = prime(method="standard"), prime(method=method)
    assert repr(found["transform"]) == repr(transform)
    assert found["consistency"] == 12
    assert prime(method=method, consistency=4.5)["consistency"] == 4.5
    assert prime(method=method, consistency=None)["consistency"] is None
    named = {"transform", "consistency"}
    assert found.keys() == standard.keys()
    assert {k: v for k, v in found.items() if k not in named} == {
        k: v for k, v in standard.items() if k not in named
    }


@pytest.mark.parametrize("method", ["standard", "augmix", "prime"])
@pytest.mark.parametrize("consistency", [None, 12.0])
def test_train_takes_the_recipe_of_prime(method: str, consistency: float | None) -> None:
    models = [network(), network()]
    for model in models:
        recipe = prime(method=method, consistency=consistency, epochs=2, seed=3, batch_size=32)
        result = train(model, bars(), **recipe)
    assert result.epochs == 2
    assert same(*models)
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: hold_me_tight("cifar"), "Did you mean 'cifar10'"),
        (lambda: hold_me_tight(epoch=3), "Did you mean 'epochs'"),
        (lambda: hold_me_tight(model=3), "unknown argument"),
        (lambda: hold_me_tight(projection=nowhere), "pass adversarial=True"),
        (lambda: prime("cifar"), "Did you mean 'cifar10'"),
        (lambda: prime(method="augmax"), "Did you mean 'augmix'"),
        (lambda: prime(epoch=3), "Did you mean 'epochs'"),
        (lambda: prime(dataset="cifar10", model=3), "unknown argument"),
        (lambda: train(network(), bars(), **prime(consistency=True)), "a weight, positive"),
    ],
)
def test_what_a_recipe_cannot_have_is_refused(call: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        call()
