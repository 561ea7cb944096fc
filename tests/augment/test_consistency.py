"""The consistency loss: closed forms, bounds, invariances, and the published formula."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from robustkit.augment.consistency import jsd_loss
from robustkit.errors import InputError


def draws(views, count=5, classes=4, seed=0, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    shape = (views, count, classes)
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)


def published(clean, first, second):
    """Three views by the formula of AugMix's code."""
    views = [F.softmax(logits, dim=1) for logits in (clean, first, second)]
    mixture = torch.clamp(sum(views) / 3.0, 1e-7, 1).log()
    return sum(F.kl_div(mixture, view, reduction="batchmean") for view in views) / 3.0


def certain(classes, count, column):
    return torch.full((count, classes), -100.0).index_fill(1, torch.tensor([column]), 100.0)


@pytest.mark.parametrize("views", [2, 3, 5])
def test_certain_views_that_all_differ_are_log_v_apart(views):
    logits = [certain(8, 3, column) for column in range(views)]
    assert jsd_loss(*logits).item() == pytest.approx(math.log(views), abs=2e-6)


def test_two_views_of_two_classes_in_closed_form():
    # Probabilities (3/4, 1/4) and (1/4, 3/4) have the mixture (1/2, 1/2).
    logits = torch.tensor([[math.log(3.0), 0.0]], dtype=torch.float64)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert jsd_loss(logits, logits.flip(1)).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("views", [2, 3, 4])
@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
def test_equal_views_have_no_divergence(views, classes, scale):
    logits = draws(1, 6, classes, scale=scale)[0]
    for dtype in (torch.float32, torch.float64):
        found = jsd_loss(*[logits.to(dtype)] * views).item()
        # The clamp lowers the divergence by at most 1e-7 / e for each class.
        assert -classes * 1e-7 / math.e - 1e-6 < found < 1e-6


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    views=st.integers(2, 5),
    classes=st.integers(2, 12),
    scale=st.sampled_from([0.01, 1.0, 20.0, 1e3]),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
def test_it_lies_between_zero_and_log_v_and_is_symmetric(seed, views, classes, scale, dtype):
    logits = draws(views, 4, classes, seed, scale).to(dtype)
    found = jsd_loss(*logits)
    assert found.ndim == 0
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert -1e-6 - classes * 1e-7 <= found.item() <= math.log(views) + 1e-6
    torch.testing.assert_close(jsd_loss(*logits.flip(0)), found, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(jsd_loss(*logits.flip(2)), found, rtol=1e-5, atol=1e-6)


def test_every_order_of_the_views_gives_the_same():
    logits = draws(3)
    found = [jsd_loss(*order).item() for order in itertools.permutations(logits)]
    assert found == pytest.approx([found[0]] * 6, rel=1e-12)


def test_a_constant_added_to_the_logits_of_an_image_changes_nothing():
    logits = draws(3)
    constants = draws(3, 5, 1, seed=1, scale=50.0)
    torch.testing.assert_close(
        jsd_loss(*(logits + constants)), jsd_loss(*logits), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("scale", [0.1, 3.0, 15.0])
def test_three_views_follow_the_published_formula(scale):
    logits = draws(3, 20, 10, scale=scale)
    torch.testing.assert_close(jsd_loss(*logits), published(*logits), rtol=1e-9, atol=1e-12)
    single = logits.float()
    torch.testing.assert_close(jsd_loss(*single), published(*single), rtol=0, atol=1e-6)
    # Also its gradient, which training follows.
    gradients = []
    for function in (jsd_loss, published):
        inputs = logits.clone().requires_grad_()
        gradients.append(torch.autograd.grad(function(*inputs), inputs)[0])
    torch.testing.assert_close(*gradients, rtol=1e-7, atol=1e-12)


def test_two_views_are_the_square_of_scipys_distance():
    logits = draws(2, 7, 6)
    first, second = logits.softmax(dim=2).numpy()
    expected = (jensenshannon(first, second, axis=1) ** 2).mean()
    assert jsd_loss(*logits).item() == pytest.approx(expected, rel=1e-9)


def test_it_is_the_mean_over_images():
    logits = draws(3)
    alone = torch.stack([jsd_loss(*logits[:, [row]]) for row in range(5)])
    torch.testing.assert_close(jsd_loss(*logits), alone.mean(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("views", [2, 3])
def test_gradients_pass_and_vanish_at_equality(views):
    logits = draws(views, 2, 4, scale=1.0)
    inputs = [view.clone().requires_grad_() for view in logits]
    assert torch.autograd.gradcheck(jsd_loss, inputs)
    equal = [logits[0].clone().requires_grad_() for _ in range(views)]
    for gradient in torch.autograd.grad(jsd_loss(*equal), equal):
        assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_loss_and_gradients_are_finite_in_low_precision(dtype, scale):
    logits = draws(3, 8, 1000, scale=scale).to(dtype).requires_grad_()
    loss = jsd_loss(*logits)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.isfinite()
    assert gradient.isfinite().all()
    with torch.autocast("cpu", torch.bfloat16):
        assert jsd_loss(*logits).dtype == torch.float32


@pytest.mark.parametrize(
    ("views", "says"),
    [
        ([], "at least 2 views, got 0"),
        ([torch.zeros(2, 3)], "at least 2 views, got 1"),
        ([torch.zeros(2, 3), torch.zeros(2, 4)], "one shape"),
        ([torch.zeros(3), torch.zeros(3)], "one shape"),
        ([torch.zeros(2, 3).long()] * 2, "floating point"),
        ([torch.zeros(0, 3)] * 2, "empty"),
    ],
)
def test_other_logits_are_refused(views, says):
    with pytest.raises(InputError, match=says):
        jsd_loss(*views)
