"""Networks by recipe are those that building, loading and training by hand would give."""

import pytest
import torch
from training_toys import bars, same

from robustkit import models, training
from robustkit.data import Dataset
from robustkit.errors import InputError, UnknownNameError

SETTINGS = {"epochs": 1, "learning_rate": 0.05, "batch_size": 32}


def test_training_from_scratch_is_building_normalising_and_training():
    sample = bars()
    made = training.obtain("train small_cnn", sample, seed=3, mean=0.4, std=0.2, **SETTINGS)
    bare = models.build("small_cnn", len(sample.classes), channels=sample.images.shape[1], seed=3)
    by_hand = models.Normalized(bare, 0.4, 0.2).eval()
    training.train(by_hand, sample, seed=3, **SETTINGS)
    assert same(made, by_hand)
    assert not made.training
    assert not any(parameter.requires_grad for parameter in made.parameters())


def test_a_loaded_network_is_left_alone_and_a_tuned_one_is_not(real_data):
    loaded = training.obtain("load cifar10_resnet20")
    assert same(loaded, models.load("cifar10_resnet20"))
    noise = torch.randint(0, 256, (32, 3, 32, 32), dtype=torch.uint8)
    sample = Dataset("noise", "train", noise, torch.arange(32) % 10, tuple("0123456789"))
    tuned = training.obtain("tune cifar10_resnet20", sample, **SETTINGS)
    assert not same(loaded, tuned)


@pytest.mark.parametrize("recipe", ["bake small_cnn", "train", "train ", "small_cnn"])
def test_an_unknown_recipe_says_what_there_is(recipe):
    with pytest.raises(UnknownNameError, match="NAME"):
        training.obtain(recipe, bars(), **SETTINGS)


def test_training_needs_data():
    with pytest.raises(InputError, match="give it a dataset"):
        training.obtain("train small_cnn", **SETTINGS)


def test_each_epoch_is_watched_and_none_is_changed():
    sample, seen = bars(), []

    def watch(model, epoch):
        assert not model.training
        seen.append((epoch, next(model.parameters()).detach().clone()))
        # Drawing random numbers must not change what training draws.
        torch.rand(5)

    settings = SETTINGS | {"epochs": 3}
    watched = training.obtain("train small_cnn", sample, on_epoch=watch, **settings)
    alone = training.obtain("train small_cnn", sample, **settings)
    assert [epoch for epoch, _ in seen] == [0, 1, 2, 3]
    assert same(watched, alone)
    assert torch.equal(seen[-1][1], next(watched.parameters()))
    assert not torch.equal(seen[0][1], seen[1][1])


def test_a_training_that_continues_is_watched_for_what_is_left(tmp_path):
    seen = []
    settings = SETTINGS | {"epochs": 2, "checkpoint": tmp_path / "state.pt"}

    def interrupt(model, epoch):
        seen.append(epoch)
        if epoch == 1 and seen.count(1) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.obtain("train small_cnn", bars(), on_epoch=interrupt, **settings)
    training.obtain("train small_cnn", bars(), on_epoch=interrupt, **settings)
    assert seen == [0, 1, 2]


def test_a_kept_training_gives_the_network_that_it_trained():
    sample, kept = bars(), []

    def once(trained):
        if not kept:
            kept.append({name: t.clone() for name, t in trained(None).items()})
        return kept[0]

    made = [training.obtain("train small_cnn", sample, once=once, **SETTINGS) for _ in range(2)]
    alone = training.obtain("train small_cnn", sample, **SETTINGS)
    images = sample.images[:7] / 255
    for network in made:
        assert same(network, alone)
        assert not network.training
        # Bit for bit: parameters lie in memory as training leaves them.
        assert torch.equal(network(images), alone(images))
        for own, parameter in zip(network.parameters(), alone.parameters(), strict=True):
            assert own.stride() == parameter.stride()
            assert not own.requires_grad


def test_a_training_that_is_kept_goes_on_from_its_checkpoint(tmp_path):
    sample, seen = bars(), []
    settings = SETTINGS | {"epochs": 3, "seed": 1}
    place = tmp_path / "state.pt"

    def interrupt(model, epoch):
        seen.append(epoch)
        if seen == [0, 1]:
            raise KeyboardInterrupt

    def attempt():
        model = models.build("small_cnn", len(sample.classes), channels=1, seed=2)
        seconds = training.train_once(
            model, sample, once=lambda trained: trained(place), on_epoch=interrupt, **settings
        )
        return model, seconds

    with pytest.raises(KeyboardInterrupt):
        attempt()
    resumed, seconds = attempt()
    again, kept_seconds = attempt()
    alone = models.build("small_cnn", len(sample.classes), channels=1, seed=2)
    training.train(alone, sample, **settings)
    assert seen == [0, 1, 2, 3]
    assert same(resumed, alone)
    assert same(again, alone)
    assert kept_seconds == seconds > 0
