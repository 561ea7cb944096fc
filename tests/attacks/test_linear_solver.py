"""The sparsest move onto a plane in a box: optimal in l1, in components and in pixels."""

import itertools
import math

import pytest
import torch
from attack_toys import generator
from host_waits import Waits
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from robustkit.attacks.linear_solver import attainable, grouped, parse_unit, sparsest_move
from robustkit.errors import InputError

# Of all that can be gained; never all of it but for rounding.
SHARES = st.integers(-20, 130).map(lambda percent: (percent + 0.37) / 100)


def problem(count, shape, *, seed=0, share=0.5, dtype=torch.float64):
    """Random planes through random boxes: some components useless, some at their bounds."""
    draw = generator(seed)
    size = (count, *shape)
    normals = torch.randn(size, generator=draw, dtype=torch.float64)
    normals[torch.rand(size, generator=draw) < 0.2] = 0.0
    points = torch.rand(size, generator=draw, dtype=torch.float64)
    points = torch.where(torch.rand(size, generator=draw) < 0.2, points.round(), points)
    normals, down, up = normals.to(dtype), points.to(dtype), (1 - points).to(dtype)
    needs = share * attainable(normals, down, up).flatten(1).sum(1)
    return normals, needs, down, up


def gained(normals, moves):
    return (normals * moves).flatten(1).sum(1)


def test_in_order_of_slopes_it_has_the_least_l1_norm():
    for share in (0.05, 0.4, 0.95):
        normals, needs, down, up = problem(8, (20,), share=share)
        moves, reached = sparsest_move(normals, needs, down, up, order="l1")
        assert reached.all()
        torch.testing.assert_close(gained(normals, moves), needs)
        for row in range(8):
            normal = normals[row].numpy()
            room = [(-a, b) for a, b in zip(down[row].tolist(), up[row].tolist(), strict=True)]
            # A signed move is the difference of two positive ones, each paid in full.
            pairs = [(0, b) for _, b in room] + [(0, -a) for a, _ in room]
            best = linprog(
                [1.0] * 40, A_eq=[[*normal, *-normal]], b_eq=[needs[row].item()], bounds=pairs
            )
            assert moves[row].abs().sum().item() == pytest.approx(best.fun, abs=1e-9)


def fewest(gains, need):
    """Brute force: the size of the smallest set of units whose gains are enough."""
    for size in range(len(gains) + 1):
        if any(sum(chosen) >= need for chosen in itertools.combinations(gains, size)):
            return size
    return math.inf


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_in_order_of_gains_it_has_the_fewest_components(share):
    normals, needs, down, up = problem(16, (11,), share=share)
    moves, reached = sparsest_move(normals, needs, down, up)
    assert reached.all()
    torch.testing.assert_close(gained(normals, moves), needs)
    gains = attainable(normals, down, up)
    expected = [fewest(g.tolist(), n.item()) for g, n in zip(gains, needs, strict=True)]
    assert (moves != 0).sum(1).tolist() == expected
    # Which the other order often misses.
    in_l1, _ = sparsest_move(normals, needs, down, up, order="l1")
    assert (in_l1 != 0).sum() > (moves != 0).sum()
    assert (in_l1.abs().sum(1) <= moves.abs().sum(1) + 1e-12).all()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_with_pixels_as_units_it_has_the_fewest_pixels(share):
    normals, needs, down, up = problem(16, (3, 3, 3), share=share)
    moves, reached = sparsest_move(normals, needs, down, up, unit="pixel")
    assert reached.all()
    torch.testing.assert_close(gained(normals, moves), needs)
    gains = attainable(normals, down, up).sum(1).flatten(1)
    expected = [fewest(g.tolist(), n.item()) for g, n in zip(gains, needs, strict=True)]
    pixels = (moves != 0).any(1).flatten(1).sum(1)
    assert pixels.tolist() == expected
    components, _ = sparsest_move(normals, needs, down, up)
    assert (components != 0).any(1).sum() > pixels.sum() or share < 0.5


def test_the_channels_of_a_pixel_move_by_the_same_share_of_their_room():
    normals, needs, down, up = problem(16, (3, 3, 3), share=0.5)
    moves, _ = sparsest_move(normals, needs, down, up, unit="pixel")
    useful = attainable(normals, down, up) > 0
    shares = (moves.abs() / torch.where(normals > 0, up, down)).where(useful, torch.nan)
    low, high = shares.nan_to_num(nan=2.0).amin(1), shares.nan_to_num(nan=-1.0).amax(1)
    torch.testing.assert_close(low[high >= 0], high[high >= 0])
    # All of the way but for the last pixel of each image.
    assert (((high > 0) & (high < 1 - 1e-9)).flatten(1).sum(1) <= 1).all()


def literal(normal, need, down, up, order, margin):
    """Algorithm 1 for one image, a component at a time."""
    room = [u if w > 0 else d for w, d, u in zip(normal, down, up, strict=True)]
    merit = [abs(w) * (1 if order == "l1" else r) for w, r in zip(normal, room, strict=True)]
    left = [j for j in range(len(normal)) if abs(normal[j]) * room[j] > 0]
    move, missing = [0.0] * len(normal), need
    while missing > 0 and left:
        best = max(left, key=lambda j: merit[j])
        left.remove(best)
        step = min((missing + margin) / abs(normal[best]), room[best])
        move[best] = math.copysign(step, normal[best])
        gain = abs(normal[best]) * room[best]
        missing = 0.0 if gain >= missing else missing - gain
    return move, missing <= 0


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    share=SHARES,
    order=st.sampled_from(["l0", "l1"]),
    margin=st.sampled_from([0.0, 1e-3, 0.3]),
)
def test_it_is_the_published_loop(seed, share, order, margin):
    normals, needs, down, up = problem(3, (25,), seed=seed, share=share)
    moves, reached = sparsest_move(normals, needs, down, up, order=order, margin=margin)
    for row in range(3):
        arguments = (tensor[row].tolist() for tensor in (normals, needs, down, up))
        expected, met = literal(*arguments, order, margin)
        expected = torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(moves[row], expected, rtol=1e-9, atol=1e-10)
        assert torch.equal(moves[row] != 0, expected != 0)
        assert reached[row] == met


def test_components_without_a_slope_or_room_stay():
    normals, needs, down, up = problem(8, (2, 5, 5), share=3.0)
    for unit in ("component", "pixel"):
        moves, reached = sparsest_move(normals, needs, down, up, unit=unit)
        # The plane is out of reach: all that is useful is at its bound, and no more.
        assert not reached.any()
        expected = torch.where(normals > 0, up, -down).where(normals != 0, 0.0)
        torch.testing.assert_close(moves, expected, rtol=0, atol=1e-15)
        assert (moves[normals == 0] == 0).all()
        assert (moves[torch.where(normals > 0, up, down) == 0] == 0).all()
    assert (normals == 0).any()


@pytest.mark.parametrize("unit", ["component", "pixel"])
@pytest.mark.parametrize("order", ["l0", "l1"])
@pytest.mark.parametrize("need", [0.0, -0.1, -math.inf])
def test_an_image_beyond_the_plane_stays(need, order, unit):
    normals, needs, down, up = problem(8, (3, 8, 8))
    moves, reached = sparsest_move(
        normals, torch.full_like(needs, need), down, up, order=order, unit=unit, margin=1e-3
    )
    assert (moves == 0).all()
    assert reached.all()


@pytest.mark.parametrize("unit", ["component", "pixel"])
@pytest.mark.parametrize("order", ["l0", "l1"])
@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_moves_nothing(broken, order, unit):
    normals, needs, down, up = problem(4, (2, 4, 4))
    expected, _ = sparsest_move(normals, needs, down, up, order=order, unit=unit)
    normals[1, 0, 0, 0] = broken
    normals[2] = broken
    needs[3] = math.nan
    moves, reached = sparsest_move(normals, needs, down, up, order=order, unit=unit)
    assert moves.isfinite().all()
    assert torch.equal(moves[0], expected[0])
    assert moves[1, 0, 0, 0] == 0
    assert (moves[2:] == 0).all()
    assert reached.tolist() == [True, True, False, False]
    assert gained(normals[1].nan_to_num(0, 0, 0)[None], moves[1][None]) >= needs[1] - 1e-12


def test_a_box_without_walls_needs_one_component():
    normals, needs, down, up = problem(4, (9,))
    # Infinite room is no gain that can be compared, large room is.
    moves, reached = sparsest_move(normals, needs, down + 1e6, up + 1e6, order="l1")
    assert reached.all()
    steepest = normals.abs().argmax(1)
    assert torch.equal(moves.abs().argmax(1), steepest)
    assert ((moves != 0).sum(1) == 1).all()
    sizes = (needs / normals.abs().amax(1))[:, None]
    torch.testing.assert_close(moves.abs().amax(1, keepdim=True), sizes)


def test_the_margin_takes_room_that_is_there_and_no_further_unit():
    normals = torch.ones(1, 4, dtype=torch.float64)
    up = torch.tensor([[0.5, 0.3, 0.2, 0.1]], dtype=torch.float64)
    down = torch.zeros_like(up)

    def moved(need, margin):
        needs = torch.tensor([need], dtype=torch.float64)
        return sparsest_move(normals, needs, down, up, margin=margin)[0][0].tolist()

    assert moved(0.4, 0.05) == pytest.approx([0.45, 0, 0, 0])
    assert moved(0.4, 0.5) == [0.5, 0, 0, 0]
    assert moved(0.75, 0.01) == pytest.approx([0.5, 0.26, 0, 0])


def test_of_equals_the_first_are_taken():
    normals = torch.tensor([[1.0, -1.0, 1.0, 1.0, -1.0]]).repeat(2, 1)
    room = torch.full((2, 5), 0.5)
    moves, _ = sparsest_move(normals, torch.tensor([1.0, 0.6]), room, room)
    expected = torch.tensor([[0.5, -0.5, 0, 0, 0], [0.5, -0.1, 0, 0, 0]])
    torch.testing.assert_close(moves, expected)
    assert torch.equal(moves != 0, expected != 0)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    share=SHARES,
    order=st.sampled_from(["l0", "l1"]),
    unit=st.sampled_from(["component", "pixel"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_moves_stay_in_the_box_and_each_image_is_on_its_own(seed, share, order, unit, dtype):
    normals, needs, down, up = problem(4, (3, 4, 4), seed=seed, share=share, dtype=dtype)
    moves, reached = sparsest_move(normals, needs, down, up, order=order, unit=unit)
    assert moves.dtype == dtype
    assert ((moves >= -down) & (moves <= up)).all()
    assert ((moves * normals) >= 0).all()
    met = gained(normals, moves)[reached]
    assert (met >= needs[reached] - 1e-5 * needs[reached].abs()).all()
    for row in (0, 3):
        part = slice(row, row + 1)
        alone, _ = sparsest_move(
            normals[part], needs[part], down[part], up[part], order=order, unit=unit
        )
        assert torch.equal(alone[0], moves[row])


def test_a_pixel_of_a_batch_of_another_rank_is_a_component():
    for shape in ((30,), (5, 6), (2, 3, 1, 5)):
        normals, needs, down, up = problem(3, shape)
        expected, _ = sparsest_move(normals, needs, down, up, unit="component")
        moves, _ = sparsest_move(normals, needs, down, up, unit="pixel")
        assert torch.equal(moves, expected)
        assert grouped(moves, "pixel").shape == (3, 1, 30)
    assert grouped(torch.zeros(2, 3, 4, 5), "pixel").shape == (2, 3, 20)


def test_the_host_never_waits():
    arguments = problem(4, (3, 8, 8))
    with Waits() as waits:
        sparsest_move(*arguments, unit="pixel")
        sparsest_move(*arguments, order="l1")
    assert waits.count == 0
    with waits:
        arguments[1].sum().item()
    assert waits.count == 1


def test_another_unit_is_refused():
    assert parse_unit("pixel") == "pixel"
    with pytest.raises(InputError, match=r"unit 'pixels'.*Did you mean 'pixel'"):
        parse_unit("pixels")
