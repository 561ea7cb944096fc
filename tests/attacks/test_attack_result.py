"""The result of an attack, and class gradients."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from attack_toys import Lambda, affine, conv, generator, images
from hypothesis import given, settings
from hypothesis import strategies as st

from robustkit.attacks import AttackResult, class_gradients, deepfool
from robustkit.errors import InputError
from robustkit.stats import wilson


def result_of(clean, adversarial, success):
    count = len(clean)
    zeros = torch.zeros(count, dtype=torch.int64)
    return AttackResult(clean, adversarial, zeros, zeros, success, zeros, zeros, zeros, 0, 0)


def test_norms_are_of_each_image():
    clean = torch.zeros(2, 1, 2, 2)
    adversarial = torch.tensor([[[[3.0, 0.0], [0.0, -4.0]]], [[[1.0, 1.0], [1.0, 1.0]]]])
    result = result_of(clean, adversarial, torch.tensor([True, False]))
    assert len(result) == 2
    assert torch.equal(result.perturbation, adversarial)
    assert result.l1.tolist() == [7.0, 4.0]
    assert result.l2.tolist() == [5.0, 2.0]
    assert result.linf.tolist() == [4.0, 1.0]
    # A failure is as far as it gets, unless the caller says otherwise.
    assert result.distance(1).tolist() == [7.0, math.inf]
    assert result.distance().tolist() == [5.0, math.inf]
    assert result.distance("inf").tolist() == [4.0, math.inf]
    assert result.distance(math.inf, failures=9).tolist() == [4.0, 9.0]
    with pytest.raises(InputError, match="Known: 1, 2, components, inf, pixels"):
        result.distance("l2")


def test_norms_of_many_images_equal_those_of_each():
    draw = torch.Generator().manual_seed(0)
    clean, adversarial = torch.rand(2, 700, 3, 2, 2, generator=draw)
    result = result_of(clean, adversarial, torch.ones(700, dtype=torch.bool))
    expected = torch.stack([(a - c).norm() for a, c in zip(adversarial, clean, strict=True)])
    torch.testing.assert_close(result.l2, expected)


def test_half_precision_norms_do_not_overflow():
    clean = torch.zeros(1, 100_000, dtype=torch.float16)
    result = result_of(clean, clean + 1, torch.tensor([True]))
    assert result.l1.item() == 100_000


def test_components_and_pixels_count_what_differs_at_all():
    clean = torch.rand(3, 3, 2, 4, generator=generator())
    adversarial = clean.clone()
    # Two channels of one location, one of another, and by the least that a float can differ.
    adversarial[1, :2, 0, 1] += 0.5
    adversarial[1, 2, 1, 3] = torch.nextafter(clean[1, 2, 1, 3], torch.tensor(2.0))
    adversarial[2] += 1
    result = result_of(clean, adversarial, torch.tensor([True, True, False]))
    assert result.components.tolist() == [0, 3, 24]
    assert result.pixels.tolist() == [0, 2, 8]
    assert (result.components.dtype, result.pixels.dtype) == (torch.int64, torch.int64)
    assert result.pixel_share.tolist() == [0.0, 0.25, 1.0]
    assert result.pixel_share.dtype == torch.float64
    assert result.distance("components").tolist() == [0, 3, math.inf]
    assert result.distance("pixels").tolist() == [0, 2, math.inf]
    assert result.distance("pixels", failures=9).tolist() == [0, 2, 9]


@pytest.mark.parametrize("shape", [(8,), (2, 4), (1, 2, 2, 2)])
def test_batches_of_another_rank_have_no_channels(shape):
    clean = torch.zeros(2, *shape)
    adversarial = clean.clone()
    adversarial[1].view(-1)[2:5] = 1
    result = result_of(clean, adversarial, torch.ones(2, dtype=torch.bool))
    assert result.components.tolist() == result.pixels.tolist() == [0, 3]
    assert result.pixel_share.tolist() == [0, 3 / 8]


def test_counts_of_many_images_equal_those_of_each():
    clean = torch.rand(600, 3, 3, 3, generator=generator())
    adversarial = clean + (torch.rand(clean.shape, generator=generator(1)) < 0.2)
    result = result_of(clean, adversarial, torch.ones(600, dtype=torch.bool))
    for row in (0, 255, 256, 599):
        places = (adversarial[row] != clean[row]).nonzero()
        assert result.components[row] == len(places)
        assert result.pixels[row] == len({tuple(place[1:]) for place in places.tolist()})


def made_with_pixels(counts, success):
    clean = torch.zeros(len(counts), 2, 3, 3)
    adversarial = clean.clone()
    for row, count in enumerate(counts):
        adversarial[row].view(2, -1)[:, :count] = 1
    return result_of(clean, adversarial, torch.tensor(success))


def test_the_curve_is_the_share_still_standing():
    result = made_with_pixels([0, 2, 2, 5, 1], [True, True, True, True, False])
    budgets = [0, 1, 2, 4.5, 5, 100, math.inf]
    expected = [4, 4, 2, 2, 1, 1, 1]
    assert result.robust_counts(budgets).tolist() == expected
    assert result.robust_counts(budgets).dtype == torch.int64
    assert result.curve(budgets).tolist() == [count / 5 for count in expected]
    assert result.curve(budgets).dtype == torch.float64
    # Both channels of a pixel change, each by one.
    assert result.robust_counts([3, 4], "components").tolist() == [4, 2]
    assert result.robust_counts([3, 4], 1).tolist() == [4, 2]
    assert result.robust_counts([1.9, 2], 2).tolist() == [4, 2]
    assert result.robust_counts([0.9, 1], "inf").tolist() == [4, 1]
    intervals = [wilson(int(count), len(result)) for count in result.robust_counts(budgets)]
    assert [interval.estimate for interval in intervals] == result.curve(budgets).tolist()


@pytest.mark.parametrize(
    "budgets", [range(4), (0, 1, 2, 3.0), np.arange(4), np.linspace(0, 3, 4), torch.arange(4)]
)
def test_budgets_of_any_kind_serve(budgets):
    result = made_with_pixels([1, 3], [True, True])
    assert result.curve(budgets).tolist() == [1, 0.5, 0.5, 0]


def test_budgets_are_compared_in_the_precision_of_the_distances():
    clean = torch.zeros(1, 2)
    result = result_of(clean, torch.tensor([[0.1, 0.0]]), torch.tensor([True]))
    # The single nearest to 0.1 is above the double nearest to it.
    assert result.linf.double().item() > 0.1
    assert result.curve([0.1, 0.099], "inf").tolist() == [0, 1]


def test_an_image_misclassified_from_the_start_is_within_every_budget():
    flat = Lambda(lambda x: x.flatten(1)[:, :2] * 0 + torch.tensor([1.0, 0.0]))
    result = deepfool(flat, torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 0]))
    for unit in ("pixels", "components", 1, 2, "inf"):
        torch.testing.assert_close(
            result.curve([0, 7], unit), torch.tensor([2 / 3, 2 / 3]).double()
        )


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=8),
    budgets=st.lists(st.floats(0, 10), min_size=1, max_size=6),
)
def test_the_curve_is_monotone_and_that_of_a_plain_count(rows, budgets):
    result = made_with_pixels([count for count, _ in rows], [success for _, success in rows])
    budgets.sort()
    shares = result.curve(budgets).tolist()
    assert shares == sorted(shares, reverse=True)
    for budget, share in zip(budgets, shares, strict=True):
        standing = sum(not (success and count <= budget) for count, success in rows)
        assert share == standing / len(rows)
    assert torch.equal(result.curve(budgets[::-1]), result.curve(budgets).flip(0))


@pytest.mark.parametrize(
    ("budgets", "unit", "message"),
    [
        ([], 2, "non-empty"),
        (torch.tensor(1.0), 2, "non-empty list"),
        (torch.ones(2, 2), 2, r"\(2, 2\)"),
        ([1, math.nan], 2, "NaN"),
        ([1, -1], 2, "negative"),
        ([1], "pixel", "Did you mean 'pixels'"),
        ([1], 3, "Known: 1, 2, components, inf, pixels"),
    ],
)
def test_curves_that_make_no_sense_are_refused(budgets, unit, message):
    with pytest.raises(InputError, match=message):
        made_with_pixels([1], [True]).curve(budgets, unit)


def test_a_result_cannot_be_changed():
    result = result_of(torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([True]))
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.success = torch.tensor([False])


def test_class_gradients_of_an_affine_model_are_its_weights():
    model, batch = affine(4), images(3, (1, 4, 5))
    classes = torch.tensor([[0, 1], [2, 2], [3, 0]])
    with torch.no_grad():
        logits, gradients = class_gradients(model, batch, classes)
    torch.testing.assert_close(logits, model(batch).detach())
    assert gradients.shape == (3, 2, 1, 4, 5)
    torch.testing.assert_close(gradients.flatten(2), model.weight.detach()[classes])
    assert not gradients.requires_grad


def test_class_gradients_equal_those_of_each_image_alone():
    model, batch = conv(), images(4)
    classes = torch.arange(6).repeat(4, 1)
    _, gradients = class_gradients(model, batch, classes)
    for row, image in enumerate(batch):
        jacobian = torch.autograd.functional.jacobian(lambda x: model(x[None])[0], image)
        torch.testing.assert_close(gradients[row], jacobian, rtol=1e-9, atol=1e-12)


def test_class_gradients_cost_one_forward_call():
    model = Lambda(conv())
    class_gradients(model, images(5), torch.zeros(5, 3, dtype=torch.int64))
    assert (model.calls, model.images) == (1, 5)


def test_class_gradients_refuse_models_in_training():
    with pytest.raises(InputError, match="training mode"):
        class_gradients(conv().train(), images(2), torch.zeros(2, 1, dtype=torch.int64))


def test_attacked_are_those_that_the_model_had_right():
    flat = Lambda(lambda x: x.flatten(1)[:, :2] * 0 + torch.tensor([1.0, 0.0])).eval()
    result = deepfool(flat, torch.rand(2, 1, 2, 2), torch.tensor([0, 1]))
    # The first cannot be fooled, so its distance is infinite; the second is wrong as it is.
    assert result.attacked.tolist() == [True, False]
    assert result.distance().tolist() == [math.inf, 0.0]
