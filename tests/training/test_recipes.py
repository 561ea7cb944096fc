"""Recipes: the published numbers, and arguments that `train` takes."""

import pytest
import torch
from torch import Tensor
from training_toys import bars, network, same

from robustkit.errors import InputError
from robustkit.training import Adversarial, hold_me_tight, learning_rate_at, train


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


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: hold_me_tight("cifar"), "Did you mean 'cifar10'"),
        (lambda: hold_me_tight(epoch=3), "Did you mean 'epochs'"),
        (lambda: hold_me_tight(model=3), "unknown argument"),
        (lambda: hold_me_tight(projection=nowhere), "pass adversarial=True"),
    ],
)
def test_what_a_recipe_cannot_have_is_refused(call: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        call()
