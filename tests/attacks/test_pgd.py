"""PGD: closed forms on affine models, exact feasibility, keyed starts, and honest restarts."""

import math

import pytest
import torch
from attack_toys import Lambda, affine, conv, generator, images, judged_anew
from hypothesis import given, settings
from hypothesis import strategies as st

from robustkit import rng
from robustkit.attacks import pgd


def predicted(model, batch):
    with torch.no_grad():
        return model(batch).argmax(1)


def length(offsets, norm):
    return torch.linalg.vector_norm(offsets.flatten(1), 2 if norm == 2 else math.inf, dim=1)


@pytest.mark.parametrize("norm", [2, "inf"])
@pytest.mark.parametrize("loss", ["cross_entropy", "margin"])
@pytest.mark.parametrize("random_start", [True, False])
def test_affine_binary_reaches_the_optimum(norm, loss, random_start):
    model, batch = affine(2), images(10, (1, 4, 5))
    labels = predicted(model, batch)
    result = pgd(
        model,
        batch,
        labels,
        norm=norm,
        radius=0.05,
        steps=40,
        step_size=0.02,
        loss=loss,
        random_start=random_start,
        bounds=None,
        early_stop=False,
    )
    normal = (model.weight[1] - model.weight[0]).detach() * torch.where(labels == 0, 1, -1)[:, None]
    best = normal.sign() if norm == "inf" else normal / normal.norm(dim=1, keepdim=True)
    tolerance = {"rtol": 0, "atol": 1e-12 if norm == "inf" else 1e-4}
    torch.testing.assert_close(result.perturbation.flatten(1), 0.05 * best, **tolerance)
    torch.testing.assert_close(
        result.distance(norm, failures=0.05), torch.full((10,), 0.05).double()
    )


@pytest.mark.parametrize("norm", [2, "inf"])
def test_success_follows_the_distance_to_the_boundary(norm):
    model, batch = affine(2), images(30, (1, 4, 5))
    distances = model.boundary_distances(batch, norm)
    # Half way between two of the distances.
    radius = distances.sort().values[14:16].mean().item()
    result = pgd(model, batch, predicted(model, batch), norm=norm, radius=radius, bounds=None)
    assert torch.equal(result.success, distances < radius)
    # And with a radius for each image, just enough or just not.
    scale = torch.tensor([1.05, 0.95]).repeat(15)
    result = pgd(
        model, batch, predicted(model, batch), norm=norm, radius=distances * scale, bounds=None
    )
    assert result.success.tolist() == [True, False] * 15


def test_each_loss_climbs_its_own_gradient():
    model, batch = affine(3), images(6, (1, 4, 5))
    labels = predicted(model, batch)
    options = {"radius": 1e-3, "steps": 1, "random_start": False, "bounds": None}
    point = batch.clone().requires_grad_()
    logits = model(point)
    rivals = logits.detach().scatter(1, labels[:, None], -math.inf).argmax(1)
    losses = {
        "cross_entropy": torch.nn.functional.cross_entropy(logits, labels, reduction="sum"),
        "margin": (logits[torch.arange(6), rivals] - logits[torch.arange(6), labels]).sum(),
    }
    for loss, value in losses.items():
        (gradient,) = torch.autograd.grad(value, point, retain_graph=True)
        moves = pgd(model, batch, labels, loss=loss, **options).perturbation
        directions = gradient / length(gradient, 2)[:, None, None, None]
        torch.testing.assert_close(moves, 1e-3 * directions, rtol=1e-6, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    norm=st.sampled_from([2, "inf"]),
    radius=st.sampled_from([0.0, 0.01, 0.5, 10.0]),
    early_stop=st.booleans(),
    random_start=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_results_are_feasible_and_success_is_true(
    seed, norm, radius, early_stop, random_start, dtype
):
    draw = generator(seed)
    model = conv(seed=seed % 5, dtype=dtype)
    batch = torch.rand(4, 2, 8, 8, generator=draw, dtype=dtype)
    lower = (batch - torch.rand(batch.shape, generator=draw, dtype=dtype)).clamp(min=0)
    upper = (batch + 0.05).clamp(max=1)
    result = pgd(
        model,
        batch,
        torch.randint(6, (4,), generator=draw),
        norm=norm,
        radius=radius,
        steps=4,
        bounds=(lower, upper),
        early_stop=early_stop,
        random_start=random_start,
        seed=seed,
    )
    assert ((result.adversarial >= lower) & (result.adversarial <= upper)).all()
    rounding = 4 * torch.finfo(dtype).eps
    assert (length(result.perturbation.double(), norm) <= radius + rounding).all()
    assert torch.equal(result.success, judged_anew(model, result))


def test_starts_are_keyed_by_image_and_seed():
    model, batch = conv(), images(9)
    labels = predicted(model, batch)
    options = {"radius": 0.3, "steps": 3, "early_stop": False, "seed": 5}
    indices = torch.arange(100, 109)
    whole = pgd(model, batch, labels, indices=indices, **options)
    rows = torch.tensor([7, 2, 4])
    part = pgd(model, batch[rows], labels[rows], indices=indices[rows], chunk=2, **options)
    torch.testing.assert_close(part.adversarial, whole.adversarial[rows], rtol=1e-9, atol=1e-10)
    other = pgd(model, batch, labels, indices=indices + 1, **options)
    assert not torch.allclose(other.adversarial, whole.adversarial, atol=1e-3)
    reseeded = pgd(model, batch, labels, indices=indices, **{**options, "seed": 6})
    assert not torch.allclose(reseeded.adversarial, whole.adversarial, atol=1e-3)
    rows = pgd(model, batch, labels, **options)
    assert torch.equal(
        rows.adversarial, pgd(model, batch, labels, indices=torch.arange(9), **options).adversarial
    )


@pytest.mark.parametrize("norm", [2, "inf"])
def test_starts_are_uniform_in_the_ball(norm):
    # No step is taken: a constant model has no gradient. Outside of that, PGD cannot be seen to
    # start, so that its end points are its start points.
    model = Lambda(lambda x: 0 * x.flatten(1)[:, :2] + torch.tensor([1.0, 0.0]))
    batch = torch.full((4000, 3), 0.5)
    labels = torch.zeros(4000, dtype=torch.int64)
    result = pgd(model, batch, labels, norm=norm, radius=0.4, steps=1, early_stop=False)
    lengths = length(result.perturbation, norm) / 0.4
    # The radius of a uniform point in a three-dimensional ball is the cube root of a uniform.
    quantiles = torch.quantile(lengths**3, torch.tensor([0.1, 0.5, 0.9]))
    torch.testing.assert_close(quantiles, torch.tensor([0.1, 0.5, 0.9]), atol=0.03, rtol=0)
    assert result.perturbation.mean(0).abs().max() < 0.02
    assert not result.success.any()


@pytest.mark.parametrize("early_stop", [True, False])
def test_a_restart_never_makes_it_worse(early_stop):
    model, batch = conv(smooth=False), images(40)
    labels = predicted(model, batch)
    counts, previous = [], None
    for restarts in (1, 2, 6):
        result = pgd(
            model,
            batch,
            labels,
            norm="inf",
            radius=0.1,
            steps=1,
            step_size=0.02,
            restarts=restarts,
            early_stop=early_stop,
        )
        if previous is not None:
            assert (result.success | ~previous).all()
        previous = result.success
        counts.append(int(result.success.sum()))
    assert counts[0] < counts[-1]


def test_fooled_images_leave_and_misclassified_ones_never_start():
    model, batch = conv(), images(12)
    labels = predicted(model, batch)
    labels[:4] = (labels[:4] + 1) % 6
    result = pgd(model, batch, labels, radius=3.0, steps=30, chunk=5)
    assert result.success.all()
    assert torch.equal(result.adversarial[:4], batch[:4])
    assert result.iterations[:4].tolist() == [0] * 4
    assert (result.iterations < 30).all()
    assert (result.backwards[:4] == 0).all()
    stubborn = pgd(model, batch, labels, radius=3.0, steps=6, early_stop=False)
    assert stubborn.iterations.tolist() == [6] * 12
    assert stubborn.forwards.tolist() == [7] * 12
    assert stubborn.backwards.tolist() == [6] * 12
    assert (stubborn.forward_calls, stubborn.backward_calls) == (7, 6)


def test_the_passes_are_counted_as_made():
    model = Lambda(conv())
    batch = images(12)
    result = pgd(model, batch, predicted(model.function, batch), radius=0.2, restarts=3, chunk=5)
    assert result.forward_calls == model.calls
    assert result.forwards.sum() == model.images


def test_the_start_is_drawn_from_the_keyed_generator():
    model, batch = affine(2, (6,)), torch.full((2, 6), 0.5, dtype=torch.float64)
    constant = Lambda(lambda x: 0 * model(x) + torch.tensor([1.0, 0.0]))
    labels = torch.zeros(2, dtype=torch.int64)
    result = pgd(constant, batch, labels, norm="inf", radius=0.1, steps=1, seed=3, early_stop=False)
    draws = rng.uniform(3, "pgd/start/0", torch.arange(2), (6,), torch.float64)
    torch.testing.assert_close(result.perturbation, 0.1 * (2 * draws - 1))
