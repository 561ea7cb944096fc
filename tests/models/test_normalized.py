"""Normalisation inside the model equals normalisation by hand."""

import pytest
import torch
from torch import nn

from robustkit.checks import check_model
from robustkit.errors import InputError
from robustkit.models import Normalized, build


def test_it_subtracts_the_mean_and_divides_by_the_std_of_each_channel() -> None:
    images = torch.rand(3, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    found = Normalized(nn.Flatten(), (0.25, 0.5), (0.5, 0.125))(images).reshape(images.shape)
    assert torch.equal(found[:, 0], (images[:, 0] - 0.25) / 0.5)
    assert torch.equal(found[:, 1], (images[:, 1] - 0.5) / 0.125)


def test_one_number_serves_all_channels() -> None:
    images = torch.rand(2, 3, 4, 4)
    one = Normalized(nn.Flatten(), 0.5, 0.25)(images)
    assert torch.equal(one, Normalized(nn.Flatten(), [0.5] * 3, [0.25] * 3)(images))


def test_the_gradient_is_divided_by_the_std() -> None:
    images = torch.rand(1, 1, 2, 2, requires_grad=True)
    Normalized(nn.Flatten(), 0.5, 0.25)(images).sum().backward()
    assert images.grad is not None
    assert torch.equal(images.grad, torch.full((1, 1, 2, 2), 4.0))


@pytest.mark.parametrize("training", [True, False])
def test_it_starts_in_the_mode_of_the_model(training: bool) -> None:
    assert Normalized(nn.Flatten().train(training), 0.5, 0.25).training is training


def test_a_network_in_eval_mode_stays_usable_once_wrapped() -> None:
    check_model(Normalized(build("small_cnn"), 0.5, 0.25))


def test_the_statistics_follow_the_precision_of_the_model() -> None:
    model = Normalized(build("small_cnn").double(), 0.5, 0.25)
    assert model(torch.rand(1, 3, 8, 8, dtype=torch.float64)).dtype == torch.float64
    assert model.float()(torch.rand(1, 3, 8, 8)).dtype == torch.float32


def test_it_shows_its_statistics() -> None:
    assert "mean=[0.485, 0.5], std=[0.25, 0.25]" in repr(
        Normalized(nn.Flatten(), (0.485, 0.5), (0.25, 0.25))
    )


@pytest.mark.parametrize(
    ("mean", "std", "says"),
    [
        ((0.5, 0.5), (0.2,), "mean has 2 numbers and std has 1"),
        ((0.5,), (0.0,), "std must be positive"),
        ((0.5,), (-1.0,), "std must be positive"),
        ((float("nan"),), (1.0,), "mean must be finite"),
        ((0.5,), (float("inf"),), "std must be finite"),
        ((), (), "mean must be finite numbers, one a channel"),
    ],
)
def test_impossible_statistics_are_refused(
    mean: tuple[float, ...], std: tuple[float, ...], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        Normalized(nn.Flatten(), mean, std)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8), (1, 4, 8, 8)])
def test_images_with_other_channels_are_refused(shape: tuple[int, ...]) -> None:
    model = Normalized(nn.Flatten(), (0.5,) * 3, (0.25,) * 3)
    with pytest.raises(InputError, match=r"images \(N, 3, H, W\)"):
        model(torch.rand(shape))
