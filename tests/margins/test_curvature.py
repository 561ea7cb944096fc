"""Curvature of the boundary: closed forms on planes and quadrics, its sign, its scale, refusals."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from robustkit.errors import InputError
from robustkit.margins.curvature import boundary_curvature, subspace_curvature
from robustkit.margins.subspaces import Span, Whole


class Function(nn.Module):
    """Two logits, minus and plus a function of the flattened image; counts its calls."""

    def __init__(self, function):
        super().__init__()
        self.function, self.sizes = function, []
        self.eval()

    def forward(self, images):
        self.sizes.append(len(images))
        value = self.function(images.flatten(1))
        return torch.stack([-value, value], dim=1)


def draws(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def units(vectors):
    return vectors / vectors.norm(dim=-1, keepdim=True)


def sides(count, *, inside=True):
    """Labels and targets of points whose clean class is 0, or 1."""
    labels = torch.full((count,), 0 if inside else 1)
    return labels, 1 - labels


def sphere(radius):
    return Function(lambda x: x.square().sum(1) - radius**2)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    radius=st.sampled_from([0.1, 1.0, 30.0]),
    share=st.sampled_from([1e-3, 0.1, 1.0]),
    inside=st.booleans(),
)
def test_a_sphere_bends_alike_in_every_direction(seed, radius, share, inside):
    points = radius * units(draws(4, 6, seed=seed))
    found = boundary_curvature(
        sphere(radius),
        points,
        *sides(4, inside=inside),
        draws(4, 5, 6, seed=seed + 1),
        step=share * radius,
    )
    # Towards the label's side when that is the ball, away from it when it is outside.
    expected = (1 if inside else -1) / radius
    torch.testing.assert_close(
        found, torch.full((4, 5), expected, dtype=points.dtype), rtol=1e-9, atol=0
    )


def test_a_plane_does_not_bend():
    weight, points = draws(12), draws(5, 3, 2, 2, seed=1)
    model = Function(lambda x: x @ weight + 0.3)
    directions = draws(5, 4, 3, 2, 2, seed=2)
    found = boundary_curvature(model, points, *sides(5), directions, step=2.0)
    torch.testing.assert_close(found, torch.zeros(5, 4).double(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
def test_a_quadric_has_its_closed_form(scale):
    size = 5
    matrix, slope = draws(size, size), draws(size, seed=1)
    hessian = matrix + matrix.T
    points, directions = draws(6, size, seed=2), draws(6, 3, size, seed=3)
    model = Function(
        lambda x: scale * (0.5 * (x @ hessian * x).sum(1) + x @ slope) * torch.ones(len(x))
    )
    found = boundary_curvature(model, points, *sides(6), 7 * directions, step=0.5)
    for point, several, row in zip(points, directions, found, strict=True):
        normal = hessian @ point + slope
        for direction, value in zip(several, row, strict=True):
            along = direction - (direction @ normal) / (normal @ normal) * normal
            along /= along.norm()
            expected = (along @ hessian @ along) / normal.norm()
            assert value.item() == pytest.approx(expected.item(), rel=1e-9)


def test_an_ellipse_and_a_saddle_by_hand():
    # The ellipse (x / a)^2 + (y / b)^2 = 1 has curvature a / b^2 at (a, 0) and b / a^2 at (0, b).
    a, b = 3.0, 2.0
    ellipse = Function(lambda x: (x[:, 0] / a).square() + (x[:, 1] / b).square() - 1)
    points = torch.tensor([[a, 0], [0, b]]).double()
    found = boundary_curvature(ellipse, points, *sides(2), points.flip(1)[:, None], step=0.01)
    torch.testing.assert_close(found, torch.tensor([[a / b**2], [b / a**2]]).double())
    # z = x^2 - y^2, class 0 below it: along x the class of the label is the hollow of the bend.
    saddle = Function(lambda p: p[:, 2] - p[:, 0].square() + p[:, 1].square())
    origin, axes = torch.zeros(1, 3).double(), torch.eye(3).double()[None, :2]
    found = boundary_curvature(saddle, origin, *sides(1), axes, step=0.1)
    torch.testing.assert_close(found, torch.tensor([[-2.0, 2.0]]).double())
    turned = boundary_curvature(saddle, origin, *sides(1, inside=False), axes, step=0.1)
    torch.testing.assert_close(turned, -found)


def smooth(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 4))
    return network.double().eval()


def test_equals_the_hessian_of_autograd():
    model, points = smooth(), draws(5, 3, 2, 2)
    labels, targets = torch.tensor([0, 1, 2, 3, 0]), torch.tensor([3, 2, 0, 1, 1])
    directions = draws(5, 2, 3, 2, 2, seed=1)
    found = boundary_curvature(model, points, labels, targets, directions, step=1e-4)
    for n in range(5):

        def gap(point, n=n):
            logits = model(point.reshape(1, 3, 2, 2))[0]
            return logits[targets[n]] - logits[labels[n]]

        point = points[n].flatten()
        normal = torch.autograd.functional.jacobian(gap, point)
        hessian = torch.autograd.functional.hessian(gap, point)
        for k in range(2):
            along = directions[n, k].flatten()
            along = along - (along @ normal) / (normal @ normal) * normal
            expected = along @ hessian @ along / (along @ along) / normal.norm()
            assert found[n, k].item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-7)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), factor=st.sampled_from([0.01, 0.5, 40.0]))
def test_magnified_the_boundary_is_flatter(seed, factor):
    model, points = smooth(seed % 7), draws(4, 12, seed=seed)
    magnified = nn.Sequential(Shrunk(factor), model).eval()
    directions = draws(4, 3, 12, seed=seed + 1)
    labels, targets = torch.tensor([0, 1, 2, 3]), torch.tensor([1, 2, 3, 0])
    plain = boundary_curvature(model, points, labels, targets, directions, step=0.05)
    large = boundary_curvature(
        magnified, factor * points, labels, targets, directions, step=0.05 * factor
    )
    torch.testing.assert_close(factor * large, plain, rtol=1e-7, atol=1e-10)


class Shrunk(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, images):
        return images / self.factor


def test_a_kink_is_measured_at_the_scale_of_the_step():
    # g = y + |x|: one corner. Between gradients (1, 1) and (-1, 1) the change is 2 over 2 steps.
    model = Function(lambda p: p[:, 1] + p[:, 0].abs())
    directions = torch.tensor([[[1.0, 0.0]]]).double()
    for step in (0.1, 1.0):
        # The gradient at the corner is (0, 1), by the convention that sign(0) = 0.
        found = boundary_curvature(
            model, torch.zeros(1, 2).double(), *sides(1), directions, step=step
        )
        torch.testing.assert_close(found, torch.tensor([[1 / step]]).double())
    # Away from the corner by more than the step there is nothing to see.
    away = torch.tensor([[0.5, -0.5]]).double()
    found = boundary_curvature(model, away, *sides(1), directions, step=0.1)
    torch.testing.assert_close(found, torch.zeros(1, 1).double(), atol=1e-14, rtol=0)


def test_each_point_may_have_its_own_step_and_row():
    model, points = smooth(), draws(6, 12)
    labels, targets = torch.tensor([0, 1, 2, 3, 0, 1]), torch.tensor([3, 2, 0, 1, 1, 0])
    directions, steps = draws(6, 3, 12, seed=1), torch.linspace(0.01, 0.5, 6).double()
    whole = boundary_curvature(model, points, labels, targets, directions, step=steps)
    rows = torch.tensor([4, 1])
    part = boundary_curvature(
        model,
        points[rows],
        labels[rows].int(),
        targets[rows].int(),
        directions[rows],
        step=steps[rows],
        chunk=1,
    )
    torch.testing.assert_close(part, whole[rows], rtol=1e-9, atol=1e-12)
    alone = boundary_curvature(
        model, points[4:5], labels[4:5], targets[4:5], directions[4:5], step=steps[4].item()
    )
    torch.testing.assert_close(alone, whole[4:5], rtol=1e-9, atol=1e-12)


def test_calls_are_bounded_by_the_chunk():
    model = sphere(1.0)
    points = units(draws(5, 6))
    boundary_curvature(model, points, *sides(5), draws(5, 3, 6), chunk=4)
    assert max(model.sizes) == 4
    assert sum(model.sizes) == 5 + 2 * 5 * 3


def test_undefined_curvature_is_nan():
    model, points = sphere(2.0), torch.tensor([[2.0, 0.0, 0.0]]).double()
    directions = torch.tensor([[[1.0, 0, 0], [0, 0, 0], [0, 3, 0]]]).double()
    found = boundary_curvature(model, points, *sides(1), directions)
    assert found.isnan().tolist() == [[True, True, False]]
    flat = Function(lambda x: 0 * x.sum(1))
    assert boundary_curvature(flat, points, *sides(1), directions).isnan().all()
    wild = Function(lambda x: x.sum(1) * math.nan)
    assert boundary_curvature(wild, points, *sides(1), directions).isnan().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision(dtype):
    points = (3 * units(draws(4, 8))).to(dtype)
    found = boundary_curvature(
        sphere(3.0), points, *sides(4), draws(4, 2, 8, seed=1, dtype=dtype), step=1.0
    )
    assert found.dtype == torch.float32
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(found, torch.full((4, 2), 1 / 3), rtol=tolerance, atol=0)


def axes_span(size, *axes):
    return Span(torch.eye(size).double()[list(axes)])


def test_within_a_subspace_the_tangents_stay_inside():
    # The boundary is curved along axis 2 alone, and the subspace does not hold it.
    model = Function(lambda x: x[:, 0] + x[:, 1] + 5 * x[:, 2].square())
    points = torch.tensor([[0.2, 0.1, 0.3, -1.0]]).double()
    outside = subspace_curvature(model, points, *sides(1), axes_span(4, 0, 1, 3), count=4)
    torch.testing.assert_close(outside, torch.zeros(1, 4).double(), atol=1e-13, rtol=0)
    # In the plane of axes 2 and 3 the one tangent is axis 3, as the gradient there is along 2.
    plane = subspace_curvature(model, points, *sides(1), axes_span(4, 2, 3), count=4)
    torch.testing.assert_close(plane, torch.zeros(1, 4).double(), atol=1e-13, rtol=0)
    # At the bottom of the bowl the gradient has no part in that plane, and axis 2 is a tangent.
    bottom = torch.tensor([[0.2, 0.1, 0.0, -1.0]]).double()
    found = subspace_curvature(model, bottom, *sides(1), axes_span(4, 2, 3), count=400)
    # On average over the circle of tangents: half of 10 / sqrt(2).
    expected, error = 5 / 2**0.5, 5 / 2**0.5 / 2**0.5 / 400**0.5
    assert abs(found.mean().item() - expected) < 4 * error
    assert found.min() >= -1e-12
    assert found.max() <= 10 / 2**0.5 + 1e-12


def test_the_mean_over_all_of_space_is_the_mean_curvature():
    hessian = torch.diag(torch.tensor([3.0, -1, 2, 0, 5, 7]).double())
    model = Function(lambda x: 0.5 * (x @ hessian * x).sum(1) + x[:, 5])
    points = torch.zeros(1, 6).double()
    found = subspace_curvature(model, points, *sides(1), Whole((6,)), count=600, step=0.01)
    # Tangents are the first five axes: the mean of v^T H v is the trace over five.
    error = found.std().item() / 600**0.5
    assert abs(found.mean().item() - 9 / 5) < 4 * error
    assert error < 0.1


def test_random_directions_are_keyed():
    model, points = smooth(), draws(4, 12)
    labels, targets = torch.tensor([0, 1, 2, 3]), torch.tensor([1, 2, 3, 0])
    indices, space = torch.tensor([9, 5, 7, 1]), axes_span(12, 0, 3, 5, 7)
    options = {"count": 3, "seed": 2}
    whole = subspace_curvature(model, points, labels, targets, space, indices=indices, **options)
    rows = torch.tensor([2, 0])
    part = subspace_curvature(
        model,
        points[rows],
        labels[rows],
        targets[rows],
        space,
        indices=indices[rows],
        chunk=1,
        **options,
    )
    torch.testing.assert_close(part, whole[rows], rtol=1e-9, atol=1e-12)
    fewer = subspace_curvature(
        model, points, labels, targets, space, indices=indices, count=1, seed=2
    )
    torch.testing.assert_close(fewer, whole[:, :1], rtol=1e-9, atol=1e-12)
    other = subspace_curvature(model, points, labels, targets, space, indices=indices, seed=3)
    assert not torch.allclose(other[:, :3], whole)


def test_refusals():
    model, points, directions = sphere(1.0), units(draws(3, 4)), draws(3, 2, 4)
    labels, targets = sides(3)
    valid = {"points": points, "labels": labels, "targets": targets, "directions": directions}
    bad = [
        ({"directions": draws(3, 4)}, "one direction a point"),
        ({"directions": draws(2, 2, 4)}, "directions must be"),
        ({"directions": draws(3, 2, 5)}, "directions must be"),
        ({"directions": directions * math.nan}, "NaN"),
        ({"points": points.int()}, "floating point"),
        ({"labels": torch.zeros(2).long()}, "labels must have shape"),
        ({"targets": torch.ones(2).long()}, "labels must have shape"),
        ({"targets": torch.full((3,), 2)}, "labels span"),
        ({"targets": labels}, "target equals its label"),
        ({"step": 0}, "above 0"),
        ({"step": -1.0}, "at least 0"),
        ({"step": torch.ones(2)}, "step must be a number"),
        ({"chunk": 0}, "chunk"),
    ]
    for change, message in bad:
        with pytest.raises(InputError, match=message):
            boundary_curvature(model, **{**valid, **change})
    with pytest.raises(InputError, match="count"):
        subspace_curvature(model, points, labels, targets, Whole((4,)), count=0)
    with pytest.raises(InputError, match="training mode"):
        boundary_curvature(sphere(1.0).train(), **valid)


def test_nothing_of_the_caller_is_changed():
    model, points = smooth(), draws(2, 12)
    labels, targets, directions = torch.tensor([0, 1]), torch.tensor([1, 0]), draws(2, 1, 12)
    kept, state = points.clone(), torch.random.get_rng_state()
    with torch.inference_mode():
        found = boundary_curvature(model, points, labels, targets, directions)
        within = subspace_curvature(model, points, labels, targets, Whole((12,)))
    assert found.isfinite().all()
    assert within.shape == (2, 10)
    assert not found.requires_grad
    assert torch.equal(points, kept)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)
