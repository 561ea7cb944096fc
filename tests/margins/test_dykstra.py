"""Projection onto a ball met with a rotated box: feasible, nearest, and each row on its own."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from torch import Tensor

from robustkit.errors import InputError
from robustkit.margins.dct import dct, idct
from robustkit.margins.dykstra import project_ball_box

DOUBLE = torch.float64


def flip(images: Tensor) -> Tensor:
    return idct(dct(images).flip(-1, -2))


def problem(
    count: int, shape: tuple[int, ...], *, seed: int = 0, overshoot: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Points around centres of which every third component is at a bound of the unit box."""
    draw = torch.Generator().manual_seed(seed)
    centre = torch.rand(count, *shape, generator=draw, dtype=DOUBLE)
    at_bound = torch.rand(count, *shape, generator=draw, dtype=DOUBLE) < 1 / 3
    centre = torch.where(at_bound, centre.round(), centre)
    offsets = torch.randn(count, *shape, generator=draw, dtype=DOUBLE)
    return centre + overshoot * offsets, centre


def lengths(offsets: Tensor) -> Tensor:
    return offsets.flatten(1).norm(dim=1)


def exact(points: Tensor, centre: Tensor, radius: float) -> Tensor:
    """The optimality conditions say clamp((p + m c) / (1 + m)), the multiplier m by bisection."""
    low = torch.zeros(len(points), 1, dtype=DOUBLE)
    high = torch.full_like(low, 1e8)

    def at(multiplier: Tensor) -> Tensor:
        blend = (points.flatten(1) + multiplier * centre.flatten(1)) / (1 + multiplier)
        return blend.clamp(0, 1).reshape(points.shape)

    for _ in range(200):
        middle = (low + high) / 2
        far = (lengths(at(middle) - centre) > radius)[:, None]
        low, high = middle.where(far, low), middle.where(~far, high)
    return at(high)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    radius=st.sampled_from([0.0, 1e-3, 0.3, 1.0, 30.0]),
    overshoot=st.sampled_from([0.01, 0.3, 10.0]),
    rounds=st.sampled_from([1, 3, 100]),
    rotated=st.booleans(),
    dtype=st.sampled_from([torch.float32, DOUBLE]),
)
def test_the_result_is_in_both_sets(
    seed: int, radius: float, overshoot: float, rounds: int, rotated: bool, dtype: torch.dtype
) -> None:
    points, centre = (x.to(dtype) for x in problem(3, (2, 4, 5), seed=seed, overshoot=overshoot))
    maps = {"transform": flip, "inverse": flip} if rotated else {}
    if rotated:
        points, centre = flip(points), flip(centre)
    found = project_ball_box(points, centre, radius, rounds=rounds, **maps)
    rounding = 64 * torch.finfo(dtype).eps
    assert (lengths(found - centre) <= radius + rounding).all()
    if rotated:
        assert flip(found).min() >= -rounding
        assert flip(found).max() <= 1 + rounding
    else:
        assert found.min() >= 0
        assert found.max() <= 1
    assert found.dtype == dtype


@pytest.mark.parametrize("overshoot", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("radius", [0.1, 0.5, 1.0])
def test_it_is_the_nearest_point(radius: float, overshoot: float) -> None:
    points, centre = problem(20, (3, 4), overshoot=overshoot)
    found = project_ball_box(points, centre, radius, rounds=2000, tolerance=1e-10)
    torch.testing.assert_close(found, exact(points, centre, radius), rtol=0, atol=1e-6)


def test_it_solves_the_quadratic_programme() -> None:
    points, centre = problem(6, (5,))
    found = project_ball_box(points, centre, 0.6, tolerance=1e-9, rounds=1000)
    for point, middle, mine in zip(points.numpy(), centre.numpy(), found.numpy(), strict=True):
        inside = {
            "type": "ineq",
            "fun": lambda x, c=middle: 0.36 - np.sum((x - c) ** 2),
            "jac": lambda x, c=middle: -2 * (x - c),
        }
        solved = optimize.minimize(
            lambda x, p=point: np.sum((x - p) ** 2) / 2,
            middle,
            jac=lambda x, p=point: x - p,
            bounds=[(0, 1)] * 5,
            constraints=inside,
            options={"ftol": 1e-14, "maxiter": 500},
        )
        np.testing.assert_allclose(mine, solved.x, atol=1e-5)


@pytest.mark.parametrize("overshoot", [0.2, 1.0, 10.0])
@pytest.mark.parametrize("tolerance", [1e-2, 1e-4])
def test_the_tolerance_bounds_the_error_in_radii(overshoot: float, tolerance: float) -> None:
    points, centre = problem(50, (3, 8, 8), overshoot=overshoot)
    found = project_ball_box(points, centre, 2.0, rounds=10000, tolerance=tolerance)
    errors = lengths(found - exact(points, centre, 2.0))
    assert (errors <= tolerance * 2.0).all()
    assert errors.max() > 0


def test_it_is_nearer_than_alternating_projections() -> None:
    points, centre = problem(30, (12,), overshoot=2.0)
    alternating = points
    for _ in range(500):
        offsets = alternating - centre
        alternating = centre + offsets * (0.7 / lengths(offsets)).clamp(max=1)[:, None]
        alternating = alternating.clamp(0, 1)
    assert (lengths(alternating - centre) <= 0.7 + 1e-6).all()
    nearest = lengths(project_ball_box(points, centre, 0.7) - points)
    assert (nearest <= lengths(alternating - points) + 1e-6).all()
    assert (nearest < lengths(alternating - points) - 1e-3).sum() > 20


def test_more_rounds_never_end_farther() -> None:
    points, centre = problem(30, (20,), overshoot=2.0)
    solution = exact(points, centre, 0.7)
    gaps = [
        lengths(project_ball_box(points, centre, 0.7, rounds=rounds, tolerance=0) - solution)
        for rounds in (1, 2, 4, 8, 16, 32, 64, 256)
    ]
    for before, after in pairwise(gaps):
        assert (after <= before + 1e-12).all()
    assert gaps[-1].max() < 1e-3 * gaps[0].max()


def test_points_in_both_sets_are_returned_bit_for_bit() -> None:
    points, centre = problem(20, (2, 5, 5), overshoot=0.3)
    points = points.clamp(0, 1)
    radius = float(lengths(points - centre).median())
    found = project_ball_box(points, centre, radius)
    inside = lengths(points - centre) <= radius
    assert 0 < inside.sum() < 20
    assert torch.equal(found[inside], points[inside])
    assert not torch.isclose(found[~inside], points[~inside]).flatten(1).all(dim=1).any()


def test_a_ball_in_the_box_needs_no_more_than_a_rescaling() -> None:
    centre = torch.full((4, 6), 0.5, dtype=DOUBLE)
    points = centre + torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    offsets = points - centre
    expected = centre + 0.3 * offsets / lengths(offsets)[:, None]
    torch.testing.assert_close(project_ball_box(points, centre, 0.3), expected)


def test_the_rotation_commutes_with_the_projection() -> None:
    points, centre = problem(8, (1, 6, 7))
    expected = flip(project_ball_box(points, centre, 0.8))
    found = project_ball_box(flip(points), flip(centre), 0.8, transform=flip, inverse=flip)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    # And it matters: clamped in the wrong coordinates the point would be another.
    clamped = project_ball_box(flip(points), flip(centre), 0.8, -10.0, 10.0)
    assert (found - clamped).abs().max() > 0.05


def test_a_row_does_not_depend_on_the_others() -> None:
    points, centre = problem(12, (10,), overshoot=1.0)
    points[::2] = centre[::2] + 1e-3
    radii = torch.linspace(0.1, 1.2, 12, dtype=DOUBLE)
    whole = project_ball_box(points, centre, radii)
    for row in range(12):
        alone = project_ball_box(points[row, None], centre[row, None], float(radii[row]))
        torch.testing.assert_close(alone[0], whole[row], rtol=0, atol=1e-14)


def test_other_bounds_and_inputs_left_alone() -> None:
    points, centre = problem(5, (9,))
    scaled = project_ball_box(4 * points - 2, 4 * centre - 2, 2.0, -2, 2)
    torch.testing.assert_close(scaled, 4 * project_ball_box(points, centre, 0.5) - 2)
    kept = points.clone(), centre.clone()
    project_ball_box(points, centre, 0.5)
    assert torch.equal(points, kept[0])
    assert torch.equal(centre, kept[1])


POINTS = torch.rand(3, 4)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"centre": torch.rand(3, 5)}, "must agree"),
        ({"centre": POINTS.double()}, "must agree"),
        ({"centre": POINTS + 1.5}, "centre lies outside the box"),
        ({"points": POINTS * math.nan}, "NaN"),
        ({"radius": -1.0}, "radius must be"),
        ({"radius": torch.ones(2)}, "radius must be a number or"),
        ({"lower": 1.0}, "lower must be below upper"),
        ({"transform": flip}, "come together"),
        ({"transform": torch.Tensor.double, "inverse": lambda x: x[:, :2]}, "must keep the shape"),
        ({"rounds": 0}, "rounds must be"),
        ({"tolerance": -1.0}, "tolerance must be"),
    ],
)
def test_what_cannot_be_projected_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        project_ball_box(**{"points": POINTS, "centre": POINTS, "radius": 1.0} | changes)
