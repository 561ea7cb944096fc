"""Averages over crops and reflected borders: means and mirrors that a loop finds too."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from robustkit.errors import InputError
from robustkit.models import build
from robustkit.translation.averaging import CropAverage, ReflectionPad


class Watch(nn.Module):
    """Two logits, plus and minus the first pixel; it keeps what it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = []
        self.eval()

    def forward(self, images):
        self.seen.append(images)
        first = images[:, 0, 0, 0]
        return torch.stack([first, -first], dim=1)


def draws(*shape):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_the_mean_of_probabilities_in_closed_form():
    # Crops of one pixel: probabilities of the first class are the pixels' own sigmoids.
    images = torch.tensor([[0.0, 1.0], [0.25, 0.5]]).double().reshape(1, 1, 2, 2)
    logits = CropAverage(Watch(), 1, stride=1)(images)
    mean = torch.sigmoid(2 * images).mean()
    torch.testing.assert_close(logits.exp(), torch.tensor([[mean, 1 - mean]]), rtol=0, atol=1e-15)


@pytest.mark.parametrize("size", [None, 6, (9, 5)])
@pytest.mark.parametrize(
    "grid", [{"count": 1}, {"count": 3}, {"count": (2, 4)}, {"stride": 1}, {"stride": 4}]
)
def test_it_is_the_mean_over_a_loop(grid, size):
    model, images = build("small_cnn", classes=4).double(), draws(3, 3, 15, 13)
    average = CropAverage(model, (10, 8), size=size, **grid)
    total, crops = torch.zeros(3, 4).double(), 0
    for top, left in itertools.product(*average.positions(15, 13)):
        crop = images[:, :, top : top + 10, left : left + 8]
        assert crop.shape[2:] == (10, 8)
        if size is not None:
            crop = torch.nn.functional.interpolate(crop, size, mode="bilinear", antialias=True)
        total += model(crop).softmax(1)
        crops += 1
    torch.testing.assert_close(average(images).exp(), total / crops, rtol=0, atol=1e-12)


@given(
    st.integers(1, 30).flatmap(
        lambda free: st.tuples(st.just(free), st.integers(2, free + 1), st.integers(1, 40))
    )
)
def test_the_grid_reaches_from_border_to_border(case):
    free, count, crop = case
    rows, columns = CropAverage(Watch(), crop, count=(count, 1)).positions(crop + free, crop + free)
    assert rows[0] == 0
    assert rows[-1] == free
    assert len(set(rows)) == count
    assert np.abs(np.array(rows) - np.linspace(0, free, count)).max() <= 0.5
    assert columns == [free // 2]


def test_grids_by_hand():
    assert CropAverage(Watch(), 4, count=3).positions(9, 10) == ([0, 3, 5], [0, 3, 6])
    assert CropAverage(Watch(), 4, stride=3).positions(9, 10) == ([0, 3], [0, 3, 6])
    assert CropAverage(Watch(), (9, 10), stride=3).positions(9, 10) == ([0], [0])
    assert CropAverage(Watch(), (9, 10), count=1).positions(9, 10) == ([0], [0])


def test_one_crop_at_a_time_is_in_memory():
    watch, images = Watch(), draws(2, 3, 9, 9)
    CropAverage(watch, 4, count=3)(images)
    assert [tuple(batch.shape) for batch in watch.seen] == [(2, 3, 4, 4)] * 9


def test_levels_are_scaled_and_rows_are_on_their_own():
    levels = torch.randint(0, 256, (4, 3, 12, 12), dtype=torch.uint8)
    kept, model = levels.clone(), build("small_cnn")
    for module in (CropAverage(model, 9, count=2), ReflectionPad(model, 3)):
        logits = module(levels)
        torch.testing.assert_close(module(levels.float() / 255), logits)
        torch.testing.assert_close(module(levels[2:3]), logits[2:3])
        assert not module.training
    assert torch.equal(levels, kept)


def test_gradients_pass_and_certain_models_stay_finite():
    images = draws(2, 1, 6, 6).requires_grad_()
    for module in (CropAverage(Watch(), 4, count=2), ReflectionPad(Watch(), 2)):
        (gradient,) = torch.autograd.grad(module(images)[:, 0].sum(), images)
        assert gradient.abs().max() > 0

    class Sure(nn.Module):
        def forward(self, images):
            return torch.tensor([[1e6, 0.0]]).expand(len(images), 2)

    logits = CropAverage(Sure().eval(), 4, stride=1)(torch.rand(3, 1, 6, 6))
    torch.testing.assert_close(
        logits, torch.tensor([[0.0, -1e6]]).expand(3, 2), rtol=1e-6, atol=1e-5
    )


@pytest.mark.parametrize("amount", [0, 2, (0, 3), (4, 1)])
def test_the_border_is_the_mirror_of_numpy(amount):
    watch, images = Watch(), draws(2, 3, 5, 7)
    module = ReflectionPad(watch, amount)
    logits = module(images)
    rows, columns = (amount, amount) if isinstance(amount, int) else amount
    around = ((0, 0), (0, 0), (rows, rows), (columns, columns))
    expected = torch.from_numpy(np.pad(images.numpy(), around, mode="reflect"))
    assert torch.equal(watch.seen[0], expected)
    assert torch.equal(module.padded(images), expected)
    assert torch.equal(logits[:, 0], expected[:, 0, 0, 0])


def test_a_padded_image_can_be_resized_to_what_the_model_takes():
    images = draws(2, 3, 8, 8)
    assert ReflectionPad(Watch(), 2, size=(8, 6)).padded(images).shape == (2, 3, 8, 6)
    flat = torch.full((1, 1, 8, 8), 0.5)
    torch.testing.assert_close(ReflectionPad(Watch(), 2, size=8).padded(flat), flat)


@pytest.mark.parametrize(
    ("call", "say"),
    [
        (lambda: CropAverage(Watch(), 4), "either count"),
        (lambda: CropAverage(Watch(), 4, count=2, stride=1), "either count"),
        (lambda: CropAverage(Watch(), 0, count=2), "crop"),
        (lambda: CropAverage(Watch(), 4, count=0), "count"),
        (lambda: CropAverage(Watch(), 4, stride=0), "stride"),
        (lambda: CropAverage(Watch(), 4, count=2, size=0), "size"),
        (lambda: CropAverage(Watch(), 9, count=2)(torch.rand(1, 1, 8, 9)), "nothing is padded"),
        (lambda: CropAverage(Watch(), 7, count=3)(torch.rand(1, 1, 8, 9)), "only 2 fit"),
        (lambda: CropAverage(Watch(), 4, count=2)(torch.rand(1, 8, 8)), "batch"),
        (lambda: CropAverage(Watch(), 4, count=2)(torch.full((1, 1, 8, 8), 2.0)), "lie in"),
        (lambda: CropAverage(Watch().train(), 4, count=2)(torch.rand(1, 1, 8, 8)), "training mode"),
        (lambda: ReflectionPad(Watch(), -1), "amount"),
        (lambda: ReflectionPad(Watch(), 1, size=0), "size"),
        (lambda: ReflectionPad(Watch(), (1, 8))(torch.rand(1, 1, 8, 8)), "smaller than the side"),
        (lambda: ReflectionPad(Watch().train(), 1)(torch.rand(1, 1, 8, 8)), "training mode"),
    ],
)
def test_bad_input_is_refused(call, say):
    with pytest.raises(InputError, match=say):
        call()
