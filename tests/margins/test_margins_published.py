"""Margins of a trained network against what the authors' code gave for the same photographs."""

import numpy as np
import pytest
import torch

from robustkit import data, models
from robustkit.margins import diagonal_blocks, margins


def test_the_outputs_of_the_published_code_are_met(real_data):
    file = real_data.parent / "reference" / "margins_cifar10_resnet20.npz"
    if not file.is_file():
        pytest.skip("no outputs of the published code beside the data")
    reference = {name: torch.as_tensor(values) for name, values in np.load(file).items()}
    count, rows = 6, slice(None, None, 2)
    blocks = diagonal_blocks((3, 32, 32), 8, 2)
    assert len(blocks) == 13
    chosen = [blocks[place] for place in reference["subspace"].tolist()[rows]]
    photographs = data.to_float(data.load("cifar10").images[reference["index"][:count]])
    expected = reference["margin"][rows, :count]
    model = models.load("cifar10_resnet20")
    legacy = margins(model, photographs, chosen, legacy=True)
    assert legacy.success.all()
    apart = (legacy.distances - expected).abs() / expected
    assert apart.median() <= 1e-5
    # Single precision, where a kink may be passed on either side.
    assert (apart <= 1e-3).double().mean() >= 0.95
    same = legacy.iterations == reference["iterations"][rows, :count]
    assert same.double().mean() >= 0.95
    assert (legacy.iterations > 1).any()
    result = margins(model, photographs, chosen)
    assert result.success.all()
    ratio = result.distances / expected
    # The published points lie behind the boundary, by the overshoot or a part of it.
    assert ratio.median() <= 1
    assert (ratio <= 1 + 1e-3).double().mean() >= 0.75
    assert result.backwards.sum() < legacy.backwards.sum()
