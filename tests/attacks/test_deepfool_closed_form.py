"""DeepFool where the answer is known: affine, boxed affine, subspaces, a sphere."""

import math

import numpy as np
import pytest
import torch
from attack_toys import Affine, Sphere, affine, generator, images
from scipy.optimize import linprog, minimize

from robustkit.attacks import deepfool


@pytest.mark.parametrize("norm", [2, "inf"])
@pytest.mark.parametrize("classes", [2, 7])
@pytest.mark.parametrize("overshoot", [0.0, 0.02, 0.5])
def test_affine_is_exact_in_one_step(norm, classes, overshoot):
    model, batch = affine(classes), images(40, (1, 4, 5))
    result = deepfool(model, batch, norm=norm, overshoot=overshoot, bounds=None)
    expected = model.boundary_distances(batch, norm) * (1 + overshoot)
    assert result.success.all()
    assert (result.iterations == 1).all()
    torch.testing.assert_close(result.distance(norm), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("norm", [2, "inf"])
def test_affine_in_single_precision(norm):
    model = affine(5, dtype=torch.float32)
    batch = images(40, (1, 4, 5), dtype=torch.float32)
    result = deepfool(model, batch, norm=norm, overshoot=0.0, bounds=None)
    assert result.adversarial.dtype == torch.float32
    assert result.success.all()
    expected = model.boundary_distances(batch, norm)
    torch.testing.assert_close(result.distance(norm), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("halvings", [1, 8, 30])
def test_bisection_ends_just_past_the_boundary(halvings):
    model, batch = affine(4), images(20, (1, 4, 5))
    result = deepfool(model, batch, overshoot=0.3, bounds=None, bisection=halvings)
    exact = model.boundary_distances(batch, 2)
    assert result.success.all()
    assert (result.l2 >= exact).all()
    segment = 1.3 * exact
    assert (result.l2 - exact <= segment * 2.0**-halvings + 1e-12).all()


def test_candidates_limit_the_rivals_to_the_top_ranks():
    weight = torch.eye(3, dtype=torch.float64)
    # From the origin rank two is at distance 1 / sqrt 2, rank three, much steeper, is nearer.
    weight[2] *= 100
    model = Affine(weight, torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64))
    origin = torch.zeros(1, 3, dtype=torch.float64)
    every = deepfool(model, origin, candidates=None, bounds=None, overshoot=0.0)
    top = deepfool(model, origin, candidates=2, bounds=None, overshoot=0.0)
    assert every.predictions.tolist() == [2]
    assert every.l2.item() == pytest.approx(2 / math.sqrt(100**2 + 1), rel=1e-9)
    assert top.predictions.tolist() == [1]
    assert top.l2.item() == pytest.approx(1 / math.sqrt(2), rel=1e-9)
    assert (every.backward_calls, top.backward_calls) == (2, 1)


def solved(weight, gap, pixels, lower, upper, norm):
    """The boxed projection onto one plane by a general solver; infinity where out of reach."""
    size = len(pixels)
    down, up = pixels - lower, upper - pixels
    if np.where(weight > 0, weight * up, -weight * down).sum() < gap:
        return math.inf
    if norm == "inf":
        # Minimise s subject to -s <= r <= s, w.r = gap, r in the box.
        plus = np.hstack([np.eye(size), -np.ones((size, 1))])
        minus = np.hstack([-np.eye(size), -np.ones((size, 1))])
        solution = linprog(
            np.r_[np.zeros(size), 1.0],
            A_ub=np.vstack([plus, minus]),
            b_ub=np.zeros(2 * size),
            A_eq=np.r_[weight, 0.0][None],
            b_eq=[gap],
            bounds=[*zip(-down, up, strict=True), (0, None)],
        )
        assert solution.success
        return solution.fun
    solution = minimize(
        lambda move: move @ move,
        np.zeros(size),
        jac=lambda move: 2 * move,
        bounds=list(zip(-down, up, strict=True)),
        constraints={"type": "eq", "fun": lambda r: weight @ r - gap, "jac": lambda r: weight},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )
    assert solution.success
    return math.sqrt(solution.fun)


@pytest.mark.parametrize("norm", [2, "inf"])
@pytest.mark.parametrize("span", [0.15, 0.3, 0.6])
def test_affine_in_a_box_equals_a_general_solver(norm, span):
    draw = generator(5)
    model, batch = affine(4, (6, 2), seed=3), images(12, (6, 2), seed=4)
    # Pixels at their bounds from the start, and rivals out of reach, are part of the problem.
    room = span * torch.rand(2, *batch.shape, generator=draw, dtype=batch.dtype)
    room *= torch.rand(room.shape, generator=draw, dtype=batch.dtype) > 0.2
    lower, upper = (batch - room[0]).clamp(min=0), (batch + room[1]).clamp(max=1)
    result = deepfool(
        model, batch, norm=norm, bounds=(lower, upper), overshoot=0.0, candidates=None, steps=1
    )
    weights, logits = model.weight.detach().numpy(), model(batch).detach().numpy()
    reachable = 0
    for row in range(len(batch)):
        top = logits[row].argmax()
        pixels, low, high = (t[row].flatten().numpy() for t in (batch, lower, upper))
        expected = min(
            solved(
                weights[k] - weights[top],
                logits[row, top] - logits[row, k],
                pixels,
                low,
                high,
                norm,
            )
            for k in range(4)
            if k != top
        )
        assert bool(result.success[row]) == math.isfinite(expected)
        if math.isfinite(expected):
            reachable += 1
            assert result.distance(norm)[row].item() == pytest.approx(expected, rel=1e-6, abs=1e-9)
            assert result.iterations[row] == 1
    assert reachable > 0
    assert ((result.adversarial >= lower) & (result.adversarial <= upper)).all()
    if span == 0.15:
        assert reachable < len(batch)


@pytest.mark.parametrize("norm", [2, "inf"])
def test_a_plane_out_of_the_box_takes_the_image_to_the_corner_and_fails(norm):
    weight = torch.tensor([[0.0, 0.0, 0.0], [1.0, -2.0, 0.0]], dtype=torch.float64)
    model = Affine(weight, torch.tensor([10.0, 0.0], dtype=torch.float64))
    batch = torch.full((2, 3), 0.5, dtype=torch.float64)
    result = deepfool(model, batch, norm=norm)
    assert not result.success.any()
    assert (result.distance(norm) == math.inf).all()
    assert result.adversarial.tolist() == [[1.0, 0.0, 0.5]] * 2
    # Nothing is left to gain there, so that the image leaves after that one step.
    assert result.iterations.tolist() == [1, 1]


def test_a_subspace_gives_the_projected_closed_form_and_keeps_the_perturbation_in_it():
    model, batch = affine(5), images(30, (1, 4, 5))
    basis, _ = torch.linalg.qr(torch.randn(20, 6, generator=generator(2), dtype=torch.float64))

    def project(gradients):
        return (gradients.flatten(1) @ basis @ basis.T).reshape(gradients.shape)

    result = deepfool(model, batch, bounds=None, projection=project, candidates=None)
    expected = 1.02 * model.boundary_distances(batch, 2, lambda w: w @ basis @ basis.T)
    assert result.success.all()
    assert (result.iterations == 1).all()
    torch.testing.assert_close(result.l2, expected, rtol=1e-9, atol=1e-12)
    outside = result.perturbation - project(result.perturbation)
    assert outside.abs().max() < 1e-12
    # In 6 of 20 dimensions the boundary is farther than in all of them.
    assert (result.l2 > 1.02 * model.boundary_distances(batch, 2)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_class_out_of_reach_in_the_subspace_fails_without_nan(dtype):
    draw = generator(7)
    basis, _ = torch.linalg.qr(torch.randn(20, 20, generator=draw, dtype=dtype))
    inside, outside = basis[:, :8], basis[:, 8:]
    # Every normal is orthogonal to the subspace, up to the rounding of the projector.
    weight = torch.randn(3, 12, generator=draw, dtype=dtype) @ outside.T
    model = Affine(weight, torch.tensor([2.0, 0.0, 1.0], dtype=dtype))
    batch = images(6, (20,), dtype=dtype)
    result = deepfool(model, batch, bounds=None, projection=lambda g: g @ inside @ inside.T)
    assert not result.success.any()
    assert torch.equal(result.adversarial, batch)
    assert (result.iterations == 0).all()
    assert (result.distance(2) == math.inf).all()


def test_a_sphere_from_inside_is_met_radially():
    directions = torch.randn(16, 3, 2, 2, generator=generator(3), dtype=torch.float64)
    directions /= torch.linalg.vector_norm(directions.flatten(1), dim=1)[:, None, None, None]
    depth = torch.linspace(0.1, 0.9, 16, dtype=torch.float64)
    batch = directions * depth[:, None, None, None]
    result = deepfool(Sphere(1.0), batch, bounds=None, bisection=40)
    assert result.success.all()
    assert (result.labels == 0).all()
    torch.testing.assert_close(result.l2, 1 - depth, rtol=1e-9, atol=1e-9)


def test_a_tie_of_all_logits_is_a_boundary_like_any_other():
    # A black image and a model without bias: every logit is exactly zero.
    model = Affine(torch.randn(3, 8, generator=generator(1)), torch.zeros(3))
    for bounds in (None, (0.0, 1.0)):
        result = deepfool(model, torch.zeros(1, 8), bounds=bounds)
        assert result.success.all()
        assert result.l2.item() < 1e-4
