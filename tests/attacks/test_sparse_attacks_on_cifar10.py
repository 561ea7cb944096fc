"""The sparse attacks on real photographs and published networks."""

from functools import cache

import pytest
import torch

from robustkit import data, models
from robustkit.attacks import jsma, prune, quantize, random_pixels, sigma_zero, sparsefool

COUNT = 16


@cache
def photographs():
    return data.to_float(data.load("cifar10", limit=COUNT).images)


@cache
def network(name="cifar10_resnet20"):
    return models.load(name)


@cache
def attacked(name="cifar10_resnet20", **options):
    return sparsefool(network(name), photographs(), **options)


def predicted(model, images):
    with torch.no_grad():
        return model(images).argmax(1)


def median(result, unit="components"):
    """Over all images, those that are not fooled infinitely far."""
    return result.distance(unit).median().item()


@pytest.fixture(autouse=True)
def _needs(real_data):
    pass


def test_every_photograph_is_fooled_with_fewer_pixels_than_published():
    default, published = attacked(), attacked(legacy=True)
    for result in (default, published):
        assert result.success.all()
        assert (predicted(network(), result.adversarial) != result.labels).all()
        assert ((result.adversarial >= 0) & (result.adversarial <= 1)).all()
    # Of 1024; the published algorithm takes some ten on this network.
    assert 5 < median(published, "pixels") < 30
    assert median(default, "pixels") < 0.6 * median(published, "pixels")
    assert median(default) < 0.6 * median(published)


def test_counting_pixels_finds_fewer_pixels_and_more_components():
    components, pixels = attacked(), attacked(unit="pixel")
    assert pixels.success.all()
    assert pixels.pixels.sum() < components.pixels.sum()
    assert pixels.components.sum() > components.components.sum()


def test_a_longer_reach_takes_fewer_steps_and_more_components():
    # In between is the default, 3.
    short, long = (attacked(legacy=True, reach=reach) for reach in (1.0, 6.0))
    results = [short, attacked(legacy=True), long]
    assert all(result.success.all() for result in results)
    steps = [result.iterations.double().mean().item() for result in results]
    counts = [median(result) for result in results]
    passes = [result.backwards.sum().item() for result in results]
    assert steps == sorted(steps, reverse=True)
    assert passes == sorted(passes, reverse=True)
    assert counts == sorted(counts)
    assert steps[0] > 1.5 * steps[-1]
    assert counts[-1] > 1.2 * counts[0]


def test_as_many_random_pixels_fool_far_fewer():
    result = attacked(legacy=True)
    # That many components of each of the three channels, three times what the attack changed.
    chance = random_pixels(network(), photographs(), components=result.pixels)
    assert (chance.components > 2 * result.pixels).all()
    assert chance.success.double().mean() <= 0.3


def test_published_it_is_weaker_than_sigma_zero_and_pruning_helps():
    published = attacked(legacy=True)
    stronger = sigma_zero(network(), photographs(), steps=100)
    assert stronger.success.all()
    assert median(stronger) < median(published)
    # Its authors let that one take ten times as many steps, at one pass each.
    assert published.backwards.sum() < 0.3 * 10 * stronger.backwards.sum()
    pruned = prune(network(), published)
    assert pruned.success.all()
    assert median(pruned) < 0.7 * median(published)
    # What was pruned at the end of the default cannot be pruned much further.
    again = prune(network(), attacked())
    assert again.components.sum() >= 0.9 * attacked().components.sum()


def test_what_fools_one_network_rarely_fools_another():
    names = ["cifar10_resnet20", "cifar10_resnet32"]
    shares = torch.zeros(2, 2)
    for row, source in enumerate(names):
        result = attacked(source)
        for column, target in enumerate(names):
            model = network(target)
            right = predicted(model, photographs()) == result.labels
            fooled = predicted(model, result.adversarial) != result.labels
            shares[row, column] = fooled[right].double().mean()
    assert (shares.diagonal() == 1).all()
    assert (shares[~torch.eye(2, dtype=torch.bool)] < 0.5).all()


def test_the_curve_falls_to_nothing_and_below_the_published_one():
    for unit in ("pixels", "components"):
        default, published = (
            result.curve([0, 1, 3, 10, 30, 3072], unit)
            for result in (attacked(), attacked(legacy=True))
        )
        assert (default.diff() <= 0).all()
        assert (default[0], default[-1]) == (1, 0)
        assert (default <= published).all()


def test_what_fools_survives_a_file():
    saved = quantize(network(), attacked())
    assert saved.success.double().mean() >= 0.95
    assert torch.equal((saved.adversarial * 255).round() / 255, saved.adversarial)
    assert (saved.components <= attacked().components).all()


def test_gains_measured_in_half_precision_are_as_good():
    result = attacked(precision=torch.bfloat16)
    assert result.success.all()
    assert (predicted(network(), result.adversarial) != result.labels).all()
    assert result.components.sum() < 1.15 * attacked().components.sum()


def test_training_against_l_inf_does_not_multiply_the_pixels():
    dataset = data.load("mnist", limit=32)
    images = data.to_float(dataset.images)
    plain, robust = (
        sparsefool(network(name), images, dataset.labels)
        for name in ("mnist_lenet5", "mnist_lenet5_adversarial")
    )
    for result in (plain, robust):
        assert result.success.all()
    # Many times as many would be masked gradients.
    assert 0.5 * median(plain) < median(robust) < 5 * median(plain)


def test_saliency_pairs_fool_with_more_than_the_sparsest():
    result = jsma(network(), photographs()[:4], budget=0.1)
    assert result.success.double().mean() > 0.5
    assert median(result) > attacked().components[:4].double().median()
