"""The average of the weights over the steps: its values, and trainings that are cut short."""

from pathlib import Path

import pytest
import torch
from training_toys import bars, network, same

from robustkit.errors import InputError
from robustkit.training import train

RECIPE = {"epochs": 3, "learning_rate": 0.1, "batch_size": 20, "seed": 3}


def after_each_step(count: int) -> list[dict[str, torch.Tensor]]:
    """The weights after 1, 2, ... steps: the batch of a step is the dataset of one epoch."""
    states = []
    train(
        network(),
        bars(20),
        **{**RECIPE, "epochs": count},
        on_epoch=lambda model, epoch: states.append(
            {name: value.clone() for name, value in model.state_dict().items()}
        ),
    )
    return states[1:]


def test_the_average_is_that_of_the_weights_after_each_step():
    model = network()
    train(model, bars(20), **{**RECIPE, "epochs": 4}, average=0.7)
    states = after_each_step(4)
    expected = {name: value.double() for name, value in states[0].items()}
    for state in states[1:]:
        expected = {name: 0.7 * expected[name] + 0.3 * state[name].double() for name in expected}
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)


def test_the_training_itself_is_the_same():
    plain, averaged = network(), network()
    first = train(plain, bars(), **RECIPE)
    second = train(averaged, bars(), **RECIPE, average=0.9)
    assert first.losses == second.losses
    assert not same(plain, averaged)
    assert not averaged.training


@pytest.mark.parametrize("epochs_before", [1, 2, 3])
def test_a_resumed_training_has_the_same_average(tmp_path: Path, epochs_before: int):
    class Cut(Exception):
        pass

    def cut(model: torch.nn.Module, epoch: int) -> None:
        if epoch == epochs_before:
            raise Cut

    path = tmp_path / "checkpoint.pt"
    whole, resumed = network(), network()
    train(whole, bars(), **RECIPE, average=0.9)
    with pytest.raises(Cut):
        train(network(), bars(), **RECIPE, average=0.9, checkpoint=path, on_epoch=cut)
    train(resumed, bars(), **RECIPE, average=0.9, checkpoint=path)
    assert same(whole, resumed)


def test_a_checkpoint_without_the_average_is_refused(tmp_path: Path):
    path = tmp_path / "checkpoint.pt"
    train(network(), bars(), **RECIPE, checkpoint=path)
    with pytest.raises(InputError, match=r"average is 0\.9, was None"):
        train(network(), bars(), **RECIPE, average=0.9, checkpoint=path)


@pytest.mark.parametrize("average", [0.0, 1.0, -0.5, float("nan")])
def test_what_is_no_average_is_refused(average: float):
    with pytest.raises(InputError, match="between 0 and 1"):
        train(network(), bars(), **RECIPE, average=average)
