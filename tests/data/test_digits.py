"""scikit-learn's digits against scikit-learn's own loader."""

from importlib.machinery import ModuleSpec

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from robustkit.data import digits, load
from robustkit.errors import DataError


def test_both_splits_together_are_the_digits_of_scikit_learn() -> None:
    parts = [load("digits", split) for split in ("train", "test")]
    images = torch.cat([part.images for part in parts]).flatten(1).numpy()
    labels = torch.cat([part.labels for part in parts]).numpy()
    reference = load_digits()
    ink = np.rint(images * (16 / 255)).astype(int)
    found = sorted((*row, label) for row, label in zip(ink.tolist(), labels, strict=True))
    expected = sorted(
        (*row, label)
        for row, label in zip(
            reference.data.astype(int).tolist(), reference.target.tolist(), strict=True
        )
    )
    assert found == expected


def test_shape_range_and_order() -> None:
    train, test = load("digits", "train"), load("digits")
    assert train.images.shape == (1352, 1, 8, 8)
    assert test.images.shape == (445, 1, 8, 8)
    assert train.images.min() == 0
    assert train.images.max() == 255
    assert train.classes == tuple("0123456789")
    assert train.labels[:10].tolist() == list(range(10))


def test_the_split_is_stratified() -> None:
    train = load("digits", "train").labels.bincount()
    test = load("digits").labels.bincount()
    assert torch.equal(test, (train + test) // 4)


def test_a_missing_file_says_what_to_reinstall(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = ModuleSpec("sklearn", None, origin="/absent/sklearn/__init__.py")
    monkeypatch.setattr(digits, "find_spec", lambda name: empty)
    with pytest.raises(DataError, match="reinstall scikit-learn"):
        load("digits")
