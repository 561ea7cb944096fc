"""Adaptation: batch statistics and their mixture with those of training, in closed form."""

import pytest
import torch
from torch import nn
from training_toys import bars, network

from robustkit.checks import check_model
from robustkit.data import Dataset, to_float
from robustkit.errors import InputError
from robustkit.models import build
from robustkit.training import adapt_batch_norm, evaluate, train


def norm(channels: int = 3, mean: float = 5.0, variance: float = 9.0) -> nn.Module:
    layer = nn.BatchNorm2d(channels).double()
    layer.running_mean.fill_(mean)
    layer.running_var.fill_(variance)
    return nn.Sequential(layer).train()


def draws(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("prior", [0, 4, 12.0, 1e9])
@pytest.mark.parametrize("batch_size", [1, 5, 512])
def test_the_statistics_of_one_layer_are_the_published_mixture(
    prior: float, batch_size: int
) -> None:
    model, images = norm(), draws(12, 3, 4, 5)
    layer = adapt_batch_norm(model, images, prior=prior, batch_size=batch_size)[0]
    weight = prior / (prior + 12)
    pixels = images.transpose(0, 1).flatten(1)
    mean = weight * 5 + (1 - weight) * pixels.mean(1)
    variance = weight * 9 + (1 - weight) * pixels.var(1, correction=0)
    torch.testing.assert_close(layer.running_mean, mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(layer.running_var, variance, rtol=1e-12, atol=0)


def test_without_a_prior_a_network_does_what_it_does_in_training_mode() -> None:
    model = build("resnet20", seed=1).double()
    images = draws(9, 3, 16, 16)
    expected = model.train()(images)
    adapted = adapt_batch_norm(model, images)
    torch.testing.assert_close(adapted(images), expected.detach(), rtol=1e-8, atol=1e-10)
    # And with a prior of as many images it is between: each layer sees adapted features.
    model = nn.Sequential(norm()[0], nn.Conv2d(3, 2, 1).double(), norm(2, 0.5, 2.0)[0]).eval()
    half = adapt_batch_norm(model, images, prior=9)
    first, last = half[0], half[2]
    features = half[1](first(images))
    mean = 0.25 + features.mean(dim=(0, 2, 3)) / 2
    torch.testing.assert_close(last.running_mean, mean.detach(), rtol=1e-12, atol=1e-14)
    assert not torch.allclose(last.running_mean, 0.25 + model[1](model[0](images)).mean((0, 2, 3)))


def test_batches_are_pooled_to_nearly_the_statistics_of_one_pass() -> None:
    model, images = build("resnet20", seed=1).double(), draws(64, 3, 8, 8)
    whole, parts = (adapt_batch_norm(model, images, batch_size=size) for size in (64, 16))
    torch.testing.assert_close(whole.bn1.running_var, parts.bn1.running_var, rtol=1e-10, atol=0)
    found, expected = parts(images), whole(images)
    assert (found - expected).norm() < 0.2 * (expected - expected.mean(0)).norm()


def test_only_a_copy_changes_and_only_its_statistics() -> None:
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = bars().images
    kept = images.clone()
    adapted = adapt_batch_norm(model, images)
    check_model(adapted)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(images, kept)
    changed = [n for n, value in adapted.state_dict().items() if not torch.equal(value, before[n])]
    assert sorted(changed) == ["model.1.running_mean", "model.1.running_var"]
    # Nothing is measured any more.
    state = {name: value.clone() for name, value in adapted.state_dict().items()}
    adapted(torch.rand(4, 1, 8, 8))
    assert all(torch.equal(value, state[name]) for name, value in adapted.state_dict().items())


def test_8_bit_images_count_as_images_in_the_unit_range_and_others_pass_on_request() -> None:
    model, images = network(), bars().images
    one, other = adapt_batch_norm(model, images), adapt_batch_norm(model, to_float(images))
    assert torch.equal(one.model[1].running_mean, other.model[1].running_mean)
    wide = adapt_batch_norm(model, 3 * to_float(images) - 1, unit_range=False)
    assert not torch.allclose(wide.model[1].running_mean, one.model[1].running_mean)


def test_a_layer_that_nothing_reaches_keeps_its_statistics() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = norm()[0], norm()[0]

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.used(images)

    adapted = adapt_batch_norm(Idle(), draws(4, 3, 2, 2))
    assert adapted.idle.running_mean.tolist() == [5, 5, 5]
    assert adapted.used.running_mean.max() < 1


def test_it_undoes_a_change_of_contrast() -> None:
    data = bars()
    model = nn.Sequential(nn.BatchNorm2d(1, eps=1e-9), *network().model)
    train(model, data, epochs=8, learning_rate=0.2, batch_size=16)
    pale = to_float(data.images) / 8 + 0.5
    adapted = adapt_batch_norm(model, pale)
    faded = Dataset("faded bars", "test", pale, data.labels, data.classes)
    assert evaluate(model, faded).rate < 0.7
    assert evaluate(adapted, faded).rate > 0.9
    # The first layer normalises the change away, whatever follows it.
    clean = to_float(data.images)
    expected = adapt_batch_norm(model, clean)(clean)
    torch.testing.assert_close(adapted(pale), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: adapt_batch_norm(build("lenet", channels=1), torch.rand(2, 1, 28, 28)), "nothing"),
        (
            lambda: adapt_batch_norm(
                nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)), draws(2, 3, 4, 4)
            ),
            "running statistics",
        ),
        (lambda: adapt_batch_norm(norm(), draws(2, 3, 4, 4), prior=-1), "prior must be"),
        (lambda: adapt_batch_norm(norm(), draws(2, 3, 4, 4), prior=float("nan")), "prior must be"),
        (lambda: adapt_batch_norm(norm(), draws(2, 3, 4, 4), batch_size=0), "batch_size must be"),
        (lambda: adapt_batch_norm(norm(), 2 * draws(2, 3, 4, 4)), r"\[0, 1\]"),
        (lambda: adapt_batch_norm(norm(), draws(0, 3, 4, 4)), "empty"),
    ],
)
def test_what_cannot_be_adapted_is_refused(call: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        call()
