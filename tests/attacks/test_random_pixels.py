"""Random pixels: so many of each channel, anywhere, at either bound."""

import pytest
import torch
from attack_toys import Lambda, affine, conv, generator, images, judged_anew
from hypothesis import given, settings
from hypothesis import strategies as st

from robustkit.attacks.random_pixels import random_pixels
from robustkit.errors import InputError

BATCH = images(4, (3, 5, 6))


def predicted(model, batch):
    with torch.no_grad():
        return model(batch).argmax(1)


def constant(x):
    return torch.tensor([1.0, 0.0]).expand(len(x), 2)


@pytest.mark.parametrize("components", [0, 1, 7, 30])
def test_so_many_components_of_each_channel_are_at_a_bound(components):
    result = random_pixels(Lambda(constant), BATCH, components=components)
    changed = result.adversarial != BATCH
    assert changed.flatten(2).sum(2).eq(components).all()
    assert result.adversarial[changed].unique().tolist() in ([], [0.0], [1.0], [0.0, 1.0])
    assert not result.success.any()


def test_each_image_may_have_its_own_number():
    counts = torch.tensor([0, 5, 30, 1])
    result = random_pixels(Lambda(constant), BATCH, components=counts)
    found = (result.adversarial != BATCH).flatten(2).sum(2)
    assert torch.equal(found, counts[:, None].expand(4, 3))


def test_vectors_have_one_channel():
    result = random_pixels(Lambda(constant), images(5, (9,)), components=4)
    assert (result.perturbation != 0).sum(1).tolist() == [4] * 5


def test_places_and_bounds_are_uniform_and_independent():
    batch = torch.full((3000, 2, 2, 5), 0.5)
    result = random_pixels(Lambda(constant), batch, components=3, chunk=700)
    changes = result.perturbation.flatten(1)
    # Each of ten components of a channel in 900 of 3000; five standard deviations are 126.
    assert ((changes != 0).sum(0) - 900).abs().max() < 126
    assert ((changes > 0).sum(0) - 450).abs().max() < 98
    # The channels draw on their own: the same component in both in 0.3^2 of the images.
    both = (result.perturbation != 0).all(1).flatten(1).double().mean()
    assert (both - 0.09).abs() < 0.01


def test_it_succeeds_as_often_as_chance_has_it():
    # Fooled where the one component that counts is drawn, and brightened: one in eight.
    model = Lambda(lambda x: torch.stack([0 * x[:, 2] + 0.9, x[:, 2]], dim=1))
    result = random_pixels(model, torch.full((4000, 4), 0.5), components=1)
    assert (result.success.double().mean() - 0.125).abs() < 0.026
    assert torch.equal(result.success, judged_anew(model, result))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    components=st.integers(0, 64),
    dtype=st.sampled_from([torch.float16, torch.float32, torch.float64]),
)
def test_results_are_in_bounds_and_success_is_true(seed, components, dtype):
    draw = generator(seed)
    model = affine(4, (2, 8, 8), seed=seed % 5, dtype=dtype)
    batch = torch.rand(5, 2, 8, 8, generator=draw).to(dtype)
    lower, upper = (batch - 0.3).clamp(min=0), (batch + 0.2).clamp(max=1)
    lower[:, :, 6:], upper[:, :, 6:] = batch[:, :, 6:], batch[:, :, 6:]
    labels, before = torch.randint(4, (5,), generator=draw), batch.clone()
    result = random_pixels(
        model, batch, labels, components=components, bounds=(lower, upper), seed=seed
    )
    assert torch.equal(batch, before)
    at_bound = (result.adversarial == lower) | (result.adversarial == upper)
    assert (at_bound | (result.adversarial == batch)).all()
    assert torch.equal(result.success, judged_anew(model, result))
    already = labels != predicted(model, batch)
    assert torch.equal(result.adversarial[already], batch[already])
    assert torch.equal(result.iterations, (~already).long())


def test_draws_are_keyed_by_image_and_seed():
    model, batch = conv(), images(9)
    whole = random_pixels(model, batch, components=9, seed=5)
    rows = torch.tensor([7, 2, 4])
    part = random_pixels(model, batch[rows], components=9, seed=5, indices=rows, chunk=2)
    assert torch.equal(part.adversarial, whole.adversarial[rows])
    other = random_pixels(model, batch, components=9, seed=6)
    assert not torch.equal(other.adversarial, whole.adversarial)
    # More components are the same ones, and others.
    more = random_pixels(model, batch, components=12, seed=5)
    kept = whole.perturbation != 0
    assert torch.equal(more.adversarial[kept], whole.adversarial[kept])


def test_the_passes_are_counted_as_made():
    model = Lambda(conv())
    batch = images(6)
    labels = predicted(model.function, batch)
    labels[:2] = (labels[:2] + 1) % 6
    with torch.inference_mode():
        result = random_pixels(model, batch, labels, components=5, chunk=4)
    assert result.forwards.tolist() == [1, 1, 2, 2, 2, 2]
    assert result.iterations.tolist() == [0, 0, 1, 1, 1, 1]
    assert (result.forward_calls, int(result.forwards.sum())) == (model.calls, model.images)
    assert result.backward_calls == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": torch.zeros(0, 1, 4, 5)}, "empty"),
        ({"images": 255 * BATCH}, "Normalized"),
        ({"labels": torch.full((4,), 5)}, "5 classes"),
        ({"components": -1}, "from 0 to 30"),
        ({"components": 31}, "from 0 to 30"),
        ({"components": torch.tensor([1, 2, 3, 31])}, "from 0 to 30"),
        ({"components": torch.tensor([1, 2, 3])}, r"shape \(4,\)"),
        ({"components": torch.ones(4)}, "int64"),
        ({"components": True}, "whole number"),
        ({"indices": torch.arange(3)}, "indices"),
        ({"chunk": 0}, "chunk"),
        ({"bounds": None}, "needs bounds"),
    ],
)
def test_what_it_cannot_work_with_is_refused_with_a_reason(arguments, message):
    model = affine(5, (3, 5, 6))
    arguments = {"model": model, "images": BATCH, "components": 3, **arguments}
    with pytest.raises(InputError, match=message):
        random_pixels(**arguments)
