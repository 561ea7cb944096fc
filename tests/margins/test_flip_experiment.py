"""On frequency-flipped digits the margins of a network are the mirror image."""

import numpy as np
import pytest
import torch
from torch import nn

from robustkit import data, models, training
from robustkit.margins import diagonal_blocks, flip, margins


@pytest.fixture(scope="module")
def medians() -> list[np.ndarray]:
    """Median margins of LeNets on digits of 28 x 28 pixels, as they are and flipped."""
    found = []
    for turn in (nn.Identity(), flip):
        sets = {}
        for split in ("train", "test"):
            small = data.load("digits", split)
            large = nn.functional.interpolate(data.to_float(small.images), 28, mode="bilinear")
            # About the mean grey, so that one normalisation fits both.
            sets[split] = data.Dataset(
                "digits", split, turn(large - 0.3), small.labels, small.classes
            )
        model = models.build("lenet", 10, channels=1)
        recipe = training.hold_me_tight("mnist", epochs=12, learning_rate=0.1, batch_size=64)
        training.train(model, sets["train"], **recipe)
        assert training.evaluate(model, sets["test"]).rate > 0.9
        blocks = diagonal_blocks((1, 28, 28), 8, 2)
        result = margins(model, sets["test"].images[:24], blocks, max_margin=1e3)
        assert result.success.double().mean() > 0.95
        found.append(result.distances.median(dim=1).values.numpy())
    return found


def test_the_spectrum_is_mirrored(medians):
    straight, turned = np.log(medians[0]), np.log(medians[1])
    assert np.corrcoef(straight, turned[::-1])[0, 1] > 0.9
    # And not because both are flat or symmetric.
    assert np.corrcoef(straight, turned)[0, 1] < 0
    assert straight[-1] - straight[0] > np.log(5)
    assert turned[0] - turned[-1] > np.log(2)


def test_the_flip_loses_nothing():
    images = torch.rand(3, 1, 28, 28)
    torch.testing.assert_close(flip(flip(images)), images)
