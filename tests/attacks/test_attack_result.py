"""The result of an attack, and class gradients."""

import dataclasses
import math

import pytest
import torch
from attack_toys import Lambda, affine, conv, images

from robustkit.attacks import AttackResult, class_gradients, deepfool
from robustkit.errors import InputError


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
    with pytest.raises(InputError, match="Known: 1, 2, inf"):
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
