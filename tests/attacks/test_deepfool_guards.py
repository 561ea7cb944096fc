"""What DeepFool refuses, and what it never calls a success."""

import math

import pytest
import torch
from attack_toys import Affine, Lambda, affine, conv, generator, images, judged_anew
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from robustkit.attacks import deepfool
from robustkit.errors import InputError

BATCH = images(4, (1, 4, 5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": torch.zeros(0, 1, 4, 5)}, "empty"),
        ({"images": 255 * BATCH}, "Normalized"),
        ({"images": BATCH.log()}, r"\[0, 1\]|infinite"),
        ({"images": torch.full_like(BATCH, math.nan)}, "NaN"),
        ({"images": (255 * BATCH).to(torch.uint8)}, "floating"),
        ({"images": BATCH[0, 0, 0]}, "batch dimension"),
        ({"labels": torch.zeros(3, dtype=torch.int64)}, "shape"),
        ({"labels": torch.full((4,), 5)}, "5 classes"),
        ({"labels": torch.full((4,), -1)}, "5 classes"),
        ({"labels": torch.zeros(4)}, "int64"),
        ({"model": affine(1)}, "at least two classes"),
        ({"model": Lambda(lambda x: x.sum())}, "logits"),
        ({"model": Lambda(lambda x: affine(3)(x.detach()).detach())}, "no gradient"),
        ({"model": affine(3).train()}, "training mode"),
        ({"norm": 1}, "Known: 2, inf"),
        ({"norm": "l2"}, "norm"),
        ({"candidates": 1}, "candidates"),
        ({"overshoot": -0.1}, "overshoot"),
        ({"overshoot": math.nan}, "overshoot"),
        ({"steps": 0}, "steps"),
        ({"bisection": -1}, "bisection"),
        ({"chunk": 0}, "chunk"),
        ({"bounds": (1.0, 0.0)}, "exceeds"),
        ({"bounds": (0.5, 1.0)}, "outside the given bounds"),
        ({"bounds": (0.0, math.inf)}, "bounds=None"),
        ({"bounds": (torch.zeros(7), 1.0)}, "broadcast"),
        ({"projection": lambda g: g}, "bounds=None"),
        ({"projection": lambda g: g, "bounds": None, "norm": "inf"}, "norm=2"),
        ({"projection": lambda g: g.flatten(1), "bounds": None}, "keep the shape"),
    ],
)
def test_what_it_cannot_work_with_is_refused_with_a_reason(arguments, message):
    arguments = {"model": affine(5), "images": BATCH, **arguments}
    with pytest.raises(InputError, match=message):
        deepfool(**arguments)


def test_a_model_made_in_inference_mode_is_refused():
    with torch.inference_mode():
        model = nn.Sequential(nn.Flatten(), nn.Linear(20, 3)).double().eval()
    with pytest.raises(InputError, match="inference_mode"):
        deepfool(model, BATCH)


@pytest.mark.parametrize("settings", [{}, {"bounds": None}, {"norm": "inf"}, {"bisection": 4}])
@pytest.mark.parametrize(
    "forward",
    [
        lambda x: torch.full((len(x), 3), math.nan, dtype=x.dtype) * x.sum(),
        lambda x: x.flatten(1)[:, :3] * math.inf,
        # Constant: the gradient is zero, or the logits do not depend on the image at all.
        lambda x: 0 * x.flatten(1)[:, :3] + torch.arange(3.0),
        lambda x: nn.Parameter(torch.arange(3.0, dtype=x.dtype)).expand(len(x), 3),
        # Finite outputs, NaN gradients: the square root at zero.
        lambda x: (0 * x.flatten(1)[:, :3]).sqrt() + torch.arange(3.0),
    ],
)
def test_a_model_without_finite_gradients_is_never_fooled(forward, settings):
    model = Lambda(forward)
    result = deepfool(model, BATCH, **settings)
    assert not result.success.any()
    assert torch.equal(result.adversarial, BATCH)
    assert (result.iterations == 0).all()
    assert (result.distance(2) == math.inf).all()
    # Hopeless images leave at once.
    assert model.calls < 6


def test_saturated_probabilities_do_not_poison():
    network = affine(3, dtype=torch.float32)
    network.weight.data *= 1e4
    model = Lambda(lambda x: network(x).softmax(1))
    batch = images(8, (1, 4, 5), dtype=torch.float32)
    for bounds in ((0.0, 1.0), None):
        result = deepfool(model, batch, bounds=bounds, steps=5)
        assert result.adversarial.isfinite().all()
        assert torch.equal(result.success, judged_anew(model, result))


def test_a_point_that_leaves_the_finite_returns_clean():
    # Almost flat at the image, so that the step is astronomic and the logits there overflow.
    model = Lambda(lambda x: torch.stack([x.new_ones(len(x)), 1e-10 * x.sum(1).exp()], 1))
    batch = torch.full((3, 2), 0.5)
    result = deepfool(model, batch, bounds=None)
    assert not result.success.any()
    assert torch.equal(result.adversarial, batch)
    assert result.predictions.tolist() == [0, 0, 0]
    assert result.iterations.tolist() == [1, 1, 1]


def test_misclassified_images_are_returned_as_they_are():
    model, batch = conv(), images(6)
    predictions = model(batch).argmax(1)
    labels = predictions.clone()
    labels[:3] = (labels[:3] + 1) % 6
    result = deepfool(model, batch, labels, bisection=3)
    assert result.success.all()
    assert torch.equal(result.labels, labels)
    assert result.iterations[:3].tolist() == [0, 0, 0]
    assert torch.equal(result.adversarial[:3], batch[:3])
    assert result.l2[:3].tolist() == [0, 0, 0]
    assert torch.equal(result.predictions[:3], predictions[:3])
    assert (result.iterations[3:] > 0).all()


def test_labels_of_any_integer_type_serve():
    model, batch = conv(), images(4)
    labels = model(batch).argmax(1)
    expected = deepfool(model, batch, labels)
    assert torch.equal(deepfool(model, batch, labels.int()).adversarial, expected.adversarial)
    assert torch.equal(deepfool(model, batch).adversarial, expected.adversarial)


def test_the_steps_run_out():
    model, batch = conv(), images(8)
    one = deepfool(model, batch, steps=1, overshoot=0.0, bounds=None)
    assert one.iterations.tolist() == [1] * 8
    assert not one.success.all()
    assert torch.equal(one.success, judged_anew(model, one))
    assert (one.distance(2)[~one.success] == math.inf).all()
    assert (one.l2 > 0).all()


def test_no_room_is_a_failure():
    batch = images(3)
    result = deepfool(conv(), batch, bounds=(batch, batch))
    assert not result.success.any()
    assert torch.equal(result.adversarial, batch)


@pytest.mark.parametrize("norm", [2, "inf"])
def test_frozen_pixels_stay_bit_for_bit(norm):
    model, batch = conv(), images(6)
    lower, upper = batch.clone(), batch.clone()
    lower[:, :, 4:], upper[:, :, 4:] = 0.0, 1.0
    result = deepfool(model, batch, norm=norm, bounds=(lower, upper), overshoot=0.3)
    assert result.success.all()
    assert torch.equal(result.adversarial[:, :, :4], batch[:, :, :4])
    assert (result.perturbation[:, :, 4:] != 0).any()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    norm=st.sampled_from([2, "inf"]),
    overshoot=st.sampled_from([0.0, 0.02, 0.7]),
    bisection=st.sampled_from([0, 5]),
    room=st.sampled_from([0.01, 0.1, 1.0]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_results_are_in_bounds_and_success_is_true(seed, norm, overshoot, bisection, room, dtype):
    draw = generator(seed)
    model = conv(seed=seed % 7, dtype=dtype, smooth=bool(seed % 2))
    batch = torch.rand(5, 2, 8, 8, generator=draw, dtype=dtype)
    # Pixels at the bounds of the box, as photographs have.
    batch = torch.where(torch.rand(batch.shape, generator=draw) < 0.2, batch.round(), batch)
    lower = (batch - room * torch.rand(batch.shape, generator=draw, dtype=dtype)).clamp(min=0)
    upper = (batch + room * torch.rand(batch.shape, generator=draw, dtype=dtype)).clamp(max=1)
    result = deepfool(
        model,
        batch,
        norm=norm,
        overshoot=overshoot,
        bisection=bisection,
        bounds=(lower, upper),
        steps=8,
    )
    assert ((result.adversarial >= lower) & (result.adversarial <= upper)).all()
    assert result.adversarial.isfinite().all()
    assert torch.equal(result.success, judged_anew(model, result))
    assert (result.iterations[result.success] > 0).all()
    assert (result.distance(norm).isfinite() == result.success).all()


def test_affine_classes_that_coincide_are_no_boundary():
    weight = torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 1.0]])
    result = deepfool(Affine(weight, torch.tensor([1.0, 0.5, 0.0])), torch.rand(4, 2), bounds=None)
    assert result.success.all()
    assert (result.predictions == 2).all()
