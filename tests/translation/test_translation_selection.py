"""Selection goes by score and content alone: as plain loops do it, and by the law of the union."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from selection_references import different, levels, ranked, slow_argmax, slow_landmark

from robustkit.errors import InputError
from robustkit.translation import crops_at, select, select_windows

LARGEST = 2**63 - 1


def fields(count, rows, columns, *, contents, values, seed):
    """Maps of scores and hashes of `contents` different crops, whose scores take `values`."""
    generator = torch.Generator().manual_seed(seed)
    which = torch.randint(contents, (count, rows, columns), generator=generator)
    scores = torch.randint(-values, values + 1, (contents,), generator=generator)
    hashes = torch.randperm(LARGEST if contents > 10**6 else 10 * contents, generator=generator)
    return scores[which], hashes[which]


def place(selection, width):
    return selection.positions[..., 0] * width + selection.positions[..., 1]


MAPS = st.fixed_dictionaries(
    {
        "count": st.integers(1, 3),
        "rows": st.integers(1, 9),
        "columns": st.integers(1, 9),
        "contents": st.sampled_from([1, 2, 5, 200]),
        "values": st.sampled_from([0, 1, 3, 1000]),
        "seed": st.integers(0, 10**6),
    }
)


@settings(max_examples=150, deadline=None)
@given(MAPS)
def test_argmax_is_that_of_plain_loops(drawn):
    scores, hashes = fields(**drawn)
    found = select(scores, hashes)
    assert len(found) == drawn["count"]
    for row in range(drawn["count"]):
        at, score, content, gap = slow_argmax(scores[row], hashes[row])
        assert place(found, drawn["columns"])[row] == at
        assert (found.scores[row], found.hashes[row]) == (score, content)
        assert found.gaps[row] == (LARGEST if gap is None else gap)


@settings(max_examples=150, deadline=None)
@given(MAPS, st.integers(1, 12))
def test_several_are_the_first_different_ones(drawn, count):
    scores, hashes = fields(**drawn)
    found = select(scores, hashes, how="bottomk", count=count)
    assert found.positions.shape == (drawn["count"], count, 2)
    for row in range(drawn["count"]):
        rest = different(ranked(scores[row], hashes[row]))
        kept = rest[:count]
        padding = count - len(kept)
        assert found.scores[row].tolist() == [one[0] for one in kept] + [rest[0][0]] * padding
        assert found.hashes[row].tolist() == [one[1] for one in kept] + [-1] * padding
        expected = [one[2] for one in kept] + [rest[0][2]] * padding
        assert place(found, drawn["columns"])[row].tolist() == expected
        gap = kept[-1][0] - rest[count][0] if len(rest) > count else LARGEST
        assert found.gaps[row] == gap


@settings(max_examples=150, deadline=None)
@given(MAPS, st.integers(1, 3))
def test_landmarks_are_those_of_plain_loops(drawn, radius):
    scores, hashes = fields(**drawn)
    found = select(scores, hashes, how="landmark", radius=radius)
    for row in range(drawn["count"]):
        at = slow_landmark(scores[row], hashes[row], radius)
        y, x = at // drawn["columns"], at % drawn["columns"]
        assert found.positions[row].tolist() == [y, x]
        assert (found.scores[row], found.hashes[row]) == (scores[row, y, x], hashes[row, y, x])


def test_one_mark_alone_and_the_fallback():
    scores = torch.zeros(3, 7, 7, dtype=torch.int64)
    scores[0, 5, 4], scores[0, 0, 0] = 5, 9
    scores[1, 5, 6], scores[1, 3, 3] = 9, 1
    hashes = torch.arange(49).reshape(7, 7).expand(3, -1, -1)
    found = select(scores, hashes, how="landmark", radius=1)
    # The largest score lies in the ring, whose neighbours are not all seen. Of a flat map the last
    # hash of each neighbourhood is ahead, which lies in the ring too, so nothing is marked.
    assert found.positions.tolist() == [[5, 4], [3, 3], [6, 6]]
    assert found.gaps.tolist() == [0, 1, 0]


@pytest.mark.parametrize("how", ["argmax", "landmark", "bottomk"])
@settings(max_examples=150, deadline=None)
@given(drawn=MAPS, noise=st.integers(0, 10**6))
def test_changes_below_half_the_gap_keep_the_selected_content(how, drawn, noise):
    drawn["values"] *= 1000
    scores, hashes = fields(**drawn)
    before = select(scores, hashes, how=how, radius=1, count=3)
    generator = torch.Generator().manual_seed(noise)
    # The same for equal contents; whole numbers below half of the gap.
    reach = ((before.gaps - 1) // 2).clamp(0, 10**6)
    shares = 2 * torch.rand(int(hashes.max()) + 1, generator=generator, dtype=torch.float64) - 1
    extreme = torch.rand(len(shares), generator=generator) < 0.7
    shares = torch.where(extreme, shares.sign(), shares)[hashes]
    shaken = scores + (shares * reach[:, None, None]).round().long()
    after = select(shaken, hashes, how=how, radius=1, count=3)
    sure = before.gaps > 0
    kept = before.hashes.reshape(len(sure), -1).sort(dim=1)[0]
    seen = after.hashes.reshape(len(sure), -1).sort(dim=1)[0]
    assert torch.equal(kept[sure], seen[sure])


def test_gaps_that_int64_cannot_hold_are_the_largest():
    scores = torch.tensor([[[-(2**62), 2**62 + 5]], [[7, 7]], [[-(2**63) + 1, -(2**63) + 3]]])
    hashes = torch.tensor([[[1, 2]], [[3, 3]], [[1, 2]]])
    assert select(scores, hashes).gaps.tolist() == [LARGEST, LARGEST, 2]
    assert select(scores, hashes).positions.tolist() == [[0, 1], [0, 0], [0, 1]]


@pytest.mark.parametrize("shape", [(2, 2), (3, 4), (5, 3)])
def test_the_selection_changes_if_and_only_if_the_best_of_the_union_is_not_shared(shape):
    side, source = 12, torch.randperm(12 * 12, generator=torch.Generator().manual_seed(1))
    source = source.reshape(1, side, side)
    rows, columns = side - shape[0] + 1, side - shape[1] + 1
    every = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    chosen = {}
    for y, x in every.tolist():
        window = source[:, y : y + shape[0], x : x + shape[1]]
        chosen[y, x] = (select(window, window).positions[0] + torch.tensor([y, x])).tolist()
    checked = 0
    for (y, x), (v, u) in [(a, b) for a in chosen for b in chosen if a < b]:
        first = {(y + i, x + j) for i in range(shape[0]) for j in range(shape[1])}
        second = {(v + i, u + j) for i in range(shape[0]) for j in range(shape[1])}
        best = max(first | second, key=lambda at: source[0, at[0], at[1]].item())
        assert (chosen[y, x] == chosen[v, u]) == (best in first & second)
        checked += best in first & second
    assert checked > 90


@pytest.mark.parametrize("how", ["argmax", "landmark", "bottomk"])
@settings(max_examples=60, deadline=None)
@given(drawn=MAPS, data=st.data())
def test_windows_of_one_map_are_selected_as_each_window_alone(how, drawn, data):
    scores, hashes = fields(**drawn)
    rows, columns = (data.draw(st.integers(1, drawn[axis])) for axis in ("rows", "columns"))
    steps = [torch.arange(drawn["rows"] - rows + 1), torch.arange(drawn["columns"] - columns + 1)]
    positions = torch.cartesian_prod(*steps).reshape(-1, 2)
    options = {"how": how, "radius": 1, "count": 3}
    found = select_windows(scores, hashes, (rows, columns), positions, **options)
    own = positions.expand(len(scores), -1, -1).flip(1)
    turned = select_windows(scores, hashes, (rows, columns), own, **options)
    for number, (y, x) in enumerate(positions.tolist()):
        window = (slice(None), slice(y, y + rows), slice(x, x + columns))
        alone = select(scores[window], hashes[window], **options)
        for name in ("positions", "scores", "gaps", "hashes"):
            expected = getattr(alone, name)
            assert torch.equal(getattr(found, name)[:, number], expected), name
            assert torch.equal(getattr(turned, name)[:, -1 - number], expected), name


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_crops_are_slices_and_wrapped_ones_are_rolls(data):
    height, width = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 8))
    rows, columns = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    images = levels(3, 2, height, width)
    layouts = [images, images.to(memory_format=torch.channels_last), images / 255]
    images = data.draw(st.sampled_from(layouts))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    limit = torch.tensor([height - rows + 1, width - columns + 1])
    positions = (torch.rand(3, 4, 2, generator=generator) * limit).long()
    many = crops_at(images, positions, (rows, columns))
    assert many.shape == (3, 4, 2, rows, columns)
    anywhere = torch.randint(-20, 20, (3, 2), generator=generator)
    wrapped = crops_at(images, anywhere, (rows, columns), wrap=True)
    for row in range(3):
        for place in range(4):
            y, x = positions[row, place].tolist()
            assert torch.equal(many[row, place], images[row, :, y : y + rows, x : x + columns])
        one = crops_at(images, positions[:, row], (rows, columns))
        assert torch.equal(one, many[:, row])
        rolled = images[row].roll((-anywhere[row]).tolist(), (1, 2))
        assert torch.equal(wrapped[row], rolled[:, :rows, :columns])


def test_gradients_pass_to_the_pixels_of_the_crop():
    images = torch.zeros(2, 1, 4, 5, requires_grad=True)
    crops_at(images, torch.tensor([[1, 2], [0, 0]]), (2, 3)).sum().backward()
    expected = torch.zeros(2, 1, 4, 5)
    expected[0, :, 1:3, 2:5] = 1
    expected[1, :, 0:2, 0:3] = 1
    assert torch.equal(images.grad, expected)


def test_what_cannot_be_selected_is_refused():
    scores, hashes = fields(2, 5, 5, contents=9, values=9, seed=0)
    with pytest.raises(InputError, match="Did you mean 'argmax'"):
        select(scores, hashes, how="argmin")
    with pytest.raises(InputError, match="radius must be at least 1"):
        select(scores, hashes, how="landmark", radius=0)
    with pytest.raises(InputError, match="count must be at least 1"):
        select(scores, hashes, how="bottomk", count=0)
    with pytest.raises(InputError, match="scores must be int64"):
        select(scores.float(), hashes)
    with pytest.raises(InputError, match="one shape"):
        select(scores, hashes[:, 1:])
    images = levels(2, 1, 6, 6)
    for positions in ([[0, 3], [0, 4]], [[0, -1], [0, 0]]):
        with pytest.raises(InputError, match="outside"):
            crops_at(images, torch.tensor(positions), 3)
    with pytest.raises(InputError, match="does not fit"):
        crops_at(images, torch.zeros(2, 2, dtype=torch.int64), (3, 7))
    for positions in (torch.zeros(3, 2).long(), torch.zeros(2, 2), torch.zeros(2, 1, 3).long()):
        with pytest.raises(InputError, match="positions must be int64"):
            crops_at(images, positions, 3)
    for positions in ([[0, 3]], [[-1, 0]]):
        with pytest.raises(InputError, match="outside the scene"):
            select_windows(scores, hashes, 3, torch.tensor(positions))
    with pytest.raises(InputError, match="outside the scene"):
        select_windows(scores, hashes, 6, torch.tensor([[0, 0]]))
    with pytest.raises(InputError, match="positions must be int64"):
        select_windows(scores, hashes, 3, torch.zeros(3, 1, 2).long())
    with pytest.raises(InputError, match="no windows"):
        select_windows(scores, hashes, 3, torch.zeros(0, 2).long())
