"""The projection onto planes in a box against a literal reference, on arbitrary planes."""

import math

import numpy as np
import pytest
import torch
from attack_toys import generator
from hypothesis import given, settings
from hypothesis import strategies as st

from robustkit.attacks.boundary import boxed_move, free_move


def reference(normal, need, norm, down, up):
    """One plane, one row: walk along t from corner to corner of the piecewise linear gain."""
    size, room = np.abs(normal), np.where(normal > 0, up, down)
    speed = size if norm == 2 else np.sign(size)
    with np.errstate(divide="ignore", invalid="ignore"):
        corners = np.sort(np.where(speed > 0, room / speed, 0.0))
    start = 0.0
    for corner in corners:
        free = speed * corner <= room * (1 + 1e-12)
        free &= speed * start < room
        gained = (size * np.minimum(speed * start, room)).sum()
        slope = (size * speed)[free].sum()
        if slope > 0 and gained + slope * (corner - start) >= need:
            return np.minimum(speed * (start + (need - gained) / slope), room) * np.sign(normal)
        start = corner
    return None


def length(move, norm):
    return np.linalg.norm(move, 2 if norm == 2 else np.inf)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    planes=st.integers(1, 4),
    size=st.integers(1, 9),
    tightness=st.sampled_from([0.05, 0.5, 2.0]),
    norm=st.sampled_from([2, "inf"]),
)
def test_the_nearest_plane_in_a_box(seed, planes, size, tightness, norm):
    draw, rows = generator(seed), 5
    normals = torch.randn(planes, rows, size, generator=draw, dtype=torch.float64)
    normals *= torch.rand(normals.shape, generator=draw) > 0.2
    needs = 0.1 + torch.rand(rows, planes, generator=draw, dtype=torch.float64)
    down, up = tightness * torch.rand(2, rows, size, generator=draw, dtype=torch.float64)
    up *= torch.rand(up.shape, generator=draw) > 0.2
    moves, costs = boxed_move(iter(normals), needs, norm, down, up)
    assert ((moves <= up) & (moves >= -down)).all()
    assert moves.isfinite().all()
    for row in range(rows):
        found = [
            reference(n[row].numpy(), c.item(), norm, down[row].numpy(), up[row].numpy())
            for n, c in zip(normals, needs[row], strict=True)
        ]
        lengths = [length(move, norm) for move in found if move is not None]
        move = moves[row].numpy()
        if lengths:
            assert math.isclose(costs[row].item(), min(lengths), rel_tol=1e-9, abs_tol=1e-12)
            assert math.isclose(length(move, norm), min(lengths), rel_tol=1e-9, abs_tol=1e-12)
            gaps = [
                abs(n[row].numpy() @ move - c.item())
                for n, c in zip(normals, needs[row], strict=True)
            ]
            assert min(gaps) < 1e-9
        else:
            # As far as the box allows, or nowhere; reported as farther than the box is wide.
            diameter = length((down + up)[row].numpy(), norm)
            assert costs[row] > diameter * (1 - 1e-12)
            assert costs[row].isfinite() == bool((moves[row] != 0).any())


def test_a_wide_box_changes_nothing():
    draw = generator(3)
    normals = torch.randn(3, 20, 11, generator=draw, dtype=torch.float64)
    needs = torch.rand(20, 3, generator=draw, dtype=torch.float64)
    room = torch.full((20, 11), 1e3, dtype=torch.float64)
    for norm in (2, "inf"):
        free, free_lengths = free_move(iter(normals), needs, norm)
        boxed, boxed_lengths = boxed_move(iter(normals), needs, norm, room, room)
        torch.testing.assert_close(boxed, free, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(boxed_lengths, free_lengths, rtol=1e-12, atol=1e-14)


def test_unusable_normals_are_no_candidates():
    good = torch.tensor([[3.0, 4.0]])
    needs = torch.ones(1, 2)
    room = torch.ones(1, 2)
    for value in (0.0, math.nan, math.inf):
        bad = torch.full((1, 2), value)
        for order in ([bad, good], [good, bad]):
            move, cost = free_move(iter(order), needs, 2)
            torch.testing.assert_close(move, good / 25)
            torch.testing.assert_close(cost, torch.tensor([0.2]))
            move, cost = boxed_move(iter(order), needs, 2, room, room)
            torch.testing.assert_close(move, good / 25)
        for norm in (2, "inf"):
            for move, cost in (
                free_move(iter([bad, bad]), needs, norm),
                boxed_move(iter([bad, bad]), needs, norm, room, room),
            ):
                assert (move == 0).all()
                assert cost.item() == math.inf


@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
@pytest.mark.parametrize("norm", [2, "inf"])
def test_a_plane_is_the_same_at_any_scale(scale, norm):
    normals = torch.tensor([[1.0, -2.0, 1e-8]])
    needs = torch.tensor([[0.5]])
    room = torch.full((1, 3), 0.4)
    for solve in (free_move, lambda *plane: boxed_move(*plane, room, room)):
        expected, cost = solve(iter([normals]), needs, norm)
        move, scaled_cost = solve(iter([scale * normals]), scale * needs, norm)
        assert ((normals * move).sum() - 0.5).abs() < 1e-6
        torch.testing.assert_close(move, expected)
        torch.testing.assert_close(scaled_cost, cost)
