"""Figures of margins: a tick a subspace, infinities shown, columns equal to what is drawn."""

import io
import math
import re
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt

from robustkit import plots
from robustkit.errors import InputError
from robustkit.margins.figures import (
    block_heat_map,
    fourier_heat_map,
    margin_film,
    margin_spectrum,
    thinned,
)
from robustkit.margins.fourier_map import FourierMap, fold_frequencies
from robustkit.stats import median


@pytest.fixture(autouse=True)
def _style():
    with mpl.rc_context():
        plt.switch_backend("agg")
        plots.setup()
        yield
        plt.close("all")


def panel():
    _, axes = plt.subplots(figsize=(7, 4))
    return axes


def margins(subspaces=13, count=50, *, censored=True, seed=0):
    draw = np.random.default_rng(seed)
    rise = np.geomspace(1, 80, subspaces)[:, None]
    values = rise * np.exp(0.4 * draw.standard_normal((subspaces, count)))
    return np.where(values > 60, math.inf, values) if censored else values


def svg(axes):
    written = io.StringIO()
    axes.figure.savefig(written, format="svg", metadata={"Date": None})
    return written.getvalue()


def line_of(axes, label):
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return line


def hatched(axes):
    return [patch.get_bbox() for patch in axes.patches if patch.get_hatch()]


@pytest.mark.parametrize("subspaces", [1, 2, 5, 13, 14, 21, 196])
def test_every_subspace_has_a_tick(subspaces):
    axes, values = panel(), margins(subspaces)
    names = [f"block {index}" for index in range(subspaces)]
    columns = margin_spectrum(axes, range(subspaces), values, label="net", ticks=names)
    assert axes.get_xticks().tolist() == list(range(subspaces))
    shown = [label.get_text() for label in axes.get_xticklabels()]
    assert len(shown) == subspaces
    assert shown[0] == names[0]
    assert all(text in ("", name) for text, name in zip(shown, names, strict=True))
    assert columns["name"] == names
    # Those that are named do not touch.
    axes.figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_positions_without_names_have_minor_ticks():
    axes = panel()
    middles = (np.arange(13) * 2 + 3.5) / 64
    columns = margin_spectrum(axes, middles, margins(13), label="net")
    assert axes.get_xticks(minor=True).tolist() == middles.tolist()
    assert columns["position"] == middles.tolist()
    assert set(columns) == {"position", "median", "low", "high", "censored"}


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_the_columns_are_what_is_measured_and_drawn(kind):
    axes, values = panel(), margins(14, 60)
    null = np.linspace(5, 3, 14)
    columns = margin_spectrum(axes, range(14), kind(values), label="net", null=kind(null))
    rows = [median(row) for row in values]
    assert columns["median"] == [row.estimate for row in rows]
    assert columns["low"] == [row.low for row in rows]
    assert columns["high"] == [row.high for row in rows]
    assert columns["censored"] == np.isinf(values).mean(1).tolist()
    assert columns["null"] == null.tolist()
    assert math.isinf(columns["median"][-1])
    drawn = line_of(axes, "net").get_ydata()
    expected = [value if math.isfinite(value) else math.nan for value in columns["median"]]
    np.testing.assert_array_equal(drawn, expected)
    np.testing.assert_array_equal(line_of(axes, "if no direction were preferred").get_ydata(), null)


@pytest.mark.parametrize("cloud", [0, 60])
def test_the_axes_end_near_what_is_drawn(cloud):
    axes, values = panel(), margins(14, 60)
    columns = margin_spectrum(axes, range(14), values, label="net", cloud=cloud)
    assert math.isinf(columns["high"][-1])
    drawn = [*columns["low"], *columns["high"], *(values.ravel() if cloud else [])]
    finite = [value for value in drawn if math.isfinite(value)]
    low, high = axes.get_ylim()
    assert min(finite) / 3 < low < min(finite)
    assert max(finite) < high < 3 * max(finite)


def test_points_are_the_first_images():
    axes, values = panel(), margins(5, 50, censored=False)
    margin_spectrum(axes, range(5), values, label="net", cloud=7)
    points = np.sort(axes.lines[0].get_ydata())
    np.testing.assert_array_equal(points, np.sort(values[:, :7].ravel()))
    aside = axes.lines[0].get_xdata().reshape(5, 7) - np.arange(5)[:, None]
    assert 0 < np.abs(aside).max() <= 0.25
    bare = panel()
    margin_spectrum(bare, range(5), values, label="net", cloud=0)
    assert len(bare.lines[0].get_ydata()) == 0


def test_censored_subspaces_are_marked_with_their_share():
    values = np.ones((4, 200)) * np.array([1, 2, 3, 4.0])[:, None]
    values[1, :50] = math.inf
    values[2, 0] = math.inf
    values[3] = math.inf
    axes = panel()
    columns = margin_spectrum(axes, [1, 2, 3, 4], values, label="net")
    assert columns["censored"] == [0, 0.25, 0.005, 1]
    assert [(text.get_text(), text.get_position()[0]) for text in axes.texts] == [
        ("25", 2),
        ("<1", 3),
        ("100", 4),
    ]
    (marks,) = [line for line in axes.lines if line.get_marker() == "^" and len(line.get_xdata())]
    assert list(marks.get_xdata()) == [2, 3, 4]
    # Above everything that is drawn on the scale.
    bottom, top = axes.transData.transform([(0, 1), (0, 3)])[:, 1]
    heights = marks.get_transform().transform(np.column_stack([[2.0], marks.get_ydata()[:1]]))
    assert heights[0, 1] > top > bottom
    assert "no boundary found (% of images)" in axes.get_legend_handles_labels()[1]


def test_a_second_spectrum_keeps_the_first_in_sight():
    axes = panel()
    margin_spectrum(axes, range(13), margins(13), label="first", ticks=["x"] * 13)
    margin_spectrum(axes, range(13), 5 * margins(13)[::-1], label="second", position=1)
    margin_spectrum(axes, range(13), margins(13, censored=False) / 40, label="third", position=2)
    labels = axes.get_legend_handles_labels()[1]
    assert labels.count("no boundary found (% of images)") == 1
    low, high = axes.get_ylim()
    every = np.concatenate([line.get_ydata() for line in axes.lines if line.get_label()[0] != "_"])
    every = every[np.isfinite(every)]
    assert low < every.min()
    # The marks of two lines stay above the data.
    lowest = min(text.get_position()[1] for text in axes.texts)
    share = math.log(every.max() / low) / math.log(high / low)
    assert share < lowest
    colours = {line_of(axes, label).get_color() for label in ("first", "second", "third")}
    dashes = {line_of(axes, label).get_linestyle() for label in ("first", "second", "third")}
    assert len(colours) == len(dashes) == 3


@settings(max_examples=25, deadline=None)
@given(
    subspaces=st.integers(1, 30),
    count=st.integers(1, 12),
    seed=st.integers(0, 1000),
    lost=st.sampled_from([0.0, 0.5, 1.0]),
    zeros=st.booleans(),
)
def test_anything_that_can_be_measured_can_be_drawn(subspaces, count, seed, lost, zeros):
    draw = np.random.default_rng(seed)
    values = 10.0 ** draw.uniform(-3, 3, (subspaces, count))
    values[draw.random(values.shape) < lost] = math.inf
    if zeros:
        values[0] = 0
    axes = panel()
    names = [str(index) for index in range(subspaces)]
    columns = margin_spectrum(axes, range(subspaces), values, label="net", ticks=names)
    axes.figure.draw_without_rendering()
    assert axes.get_yscale() == "log"
    assert len(columns["median"]) == subspaces
    assert np.isfinite(axes.get_ylim()).all()
    plt.close(axes.figure)


def test_thinning_keeps_every_name_that_fits():
    axes = panel()
    assert thinned(["a", "b", "c"], [0, 1, 2], axes) == ["a", "b", "c"]
    words = ["u1", "complement", "orthogonal 3-dim", "random 3-dim"]
    assert thinned(words, range(4), axes) == words
    many = thinned([str(index) for index in range(100)], range(100), axes)
    named = [index for index, name in enumerate(many) if name]
    assert 10 < len(named) < 34
    assert set(np.diff(named)) == {named[1]}


@pytest.mark.parametrize("shape", [(4, 4), (13, 13), (2, 7), (1, 1)])
def test_block_map_shows_its_values(shape):
    axes = panel()
    values = np.geomspace(1, 50, math.prod(shape)).reshape(shape)
    columns = block_heat_map(axes, values)
    assert columns["value"] == values.ravel().tolist()
    np.testing.assert_array_equal(axes.collections[0].get_array(), values)
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 0.5), (0, 0.5))
    # The blocks tile the axes, rows upwards.
    corners = axes.collections[0].get_coordinates()
    np.testing.assert_allclose(corners[:, 0, 1], np.linspace(0, 0.5, shape[0] + 1), atol=1e-12)
    np.testing.assert_allclose(corners[0, :, 0], np.linspace(0, 0.5, shape[1] + 1), atol=1e-12)
    expected = (np.arange(shape[0]) + 0.5) / 2 / shape[0]
    assert columns["vertical"] == np.repeat(expected, shape[1]).tolist()


def test_infinite_cells_are_hatched_and_absent_ones_empty():
    axes = panel()
    values = torch.tensor([[1.0, 2.0], [math.inf, math.nan]])
    columns = block_heat_map(axes, values, label="median")
    assert np.ma.getmaskarray(axes.collections[0].get_array()).tolist() == [
        [False, False],
        [True, True],
    ]
    (box,) = hatched(axes)
    assert (box.x0, box.y0, box.x1, box.y1) == (0, 0.25, 0.25, 0.5)
    assert axes.child_axes[0].get_ylabel() == "median\n(hatched: infinite)"
    assert columns["value"][2] == math.inf
    assert math.isnan(columns["value"][3])
    block_heat_map(panel(), np.full((2, 2), math.inf))
    block_heat_map(panel(), np.zeros((2, 2)))


def test_blocks_that_overlap_stand_at_their_middles():
    axes, middles = panel(), (np.arange(13) * 2 + 3.5) / 64
    columns = block_heat_map(axes, np.ones((13, 13)), frequencies=(middles, middles))
    corners = axes.collections[0].get_coordinates()[0, :, 0]
    np.testing.assert_allclose(corners, (np.arange(14) * 2 + 2.5) / 64)
    assert columns["horizontal"][:13] == middles.tolist()


@pytest.mark.parametrize("size", [(32, 32), (5, 6), (1, 4)])
def test_fourier_map_is_folded_onto_the_same_axes(size):
    axes, other = panel(), panel()
    wrong = torch.arange(math.prod(size)).reshape(size)
    found = FourierMap(wrong, 2000, 4.0)
    columns = fourier_heat_map(axes, found)
    folded = fold_frequencies(wrong.double() / 2000)
    assert columns["value"] == folded.flatten().tolist()
    rows = torch.arange(size[0] // 2 + 1).double() / size[0]
    assert columns["vertical"] == rows.repeat_interleave(folded.shape[1]).tolist()
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 0.5), (0, 0.5))
    assert fourier_heat_map(other, (wrong.double() / 2000).numpy()) == columns


def test_two_maps_can_share_a_scale():
    first, second = panel(), panel()
    fourier_heat_map(first, np.full((4, 4), 0.3), limits=(0, 1))
    fourier_heat_map(second, np.full((4, 4), 0.6), limits=(0, 1))
    assert first.collections[0].get_clim() == second.collections[0].get_clim() == (0, 1)


@pytest.mark.parametrize("count", [1, 13, 21])
def test_film_has_epochs_across_and_subspaces_up(count):
    axes, epochs = panel(), [0, 1, 2, 4, 8]
    medians = np.geomspace(1, 90, 5 * count).reshape(5, count)
    medians[4, -1] = math.inf
    columns = margin_film(axes, epochs, medians)
    drawn = axes.collections[0].get_array()
    assert drawn.shape == (count, 5)
    np.testing.assert_array_equal(drawn.filled(math.inf), medians.T)
    assert columns["median"] == medians.ravel().tolist()
    assert columns["epoch"] == np.repeat(epochs, count).tolist()
    assert columns["frequency"] == np.tile(np.arange(count), 5).tolist()
    np.testing.assert_array_equal(
        axes.collections[0].get_coordinates()[0, :, 0], [-0.5, 0.5, 1.5, 3, 6, 8.5]
    )
    (box,) = hatched(axes)
    assert (box.x0, box.x1) == (6, 8.5)
    assert box.y1 == count - 0.5
    named = panel()
    middles = (np.arange(count) + 0.5) / 64
    columns = margin_film(named, epochs, torch.as_tensor(medians), frequencies=middles)
    assert columns["frequency"][:count] == middles.tolist()


def spectrum_drawing():
    axes = panel()
    margin_spectrum(axes, range(13), margins(), label="net", null=np.ones(13))
    axes.legend()
    return svg(axes)


def film_drawing():
    axes = panel()
    margin_film(axes, range(4), np.vstack([np.ones((3, 3)), np.full((1, 3), math.inf)]))
    return svg(axes)


@pytest.mark.parametrize("draw", [spectrum_drawing, film_drawing])
def test_both_pages_can_be_read(draw):
    drawing = draw()
    assert not re.search("(fill|stroke): (#ffffff|#000000|white|black)", drawing)
    dark = plots.recolour(drawing)
    for colour in (plots.INK, plots.FAINT):
        assert colour in drawing
        assert colour not in dark
    # The same data are the same bytes.
    assert draw() == drawing


def test_large_maps_are_pictures():
    axes = panel()
    fourier_heat_map(axes, np.random.default_rng(0).random((160, 160)))
    assert axes.collections[0].get_rasterized()
    assert len(svg(axes)) < 400_000


def test_refusals():
    axes, values = panel(), margins(4, 9)
    bad = [
        ({"margins": values[0]}, r"must be \(M, N\)"),
        ({"margins": values[:3]}, r"must be \(M, N\)"),
        ({"margins": values[:, :0]}, r"must be \(M, N\)"),
        ({"margins": -values}, "at least 0"),
        ({"margins": values * math.nan}, "at least 0"),
        ({"positions": [0, 2, 1, 3]}, "increase"),
        ({"positions": [0, 1, 2, math.inf]}, "increase"),
        ({"null": [1.0, 2.0]}, "null: 2 values for 4"),
        ({"ticks": ["a"]}, "name: 1 values for 4"),
    ]
    for change, message in bad:
        arguments = {"positions": range(4), "margins": values, "label": "net", **change}
        with pytest.raises(InputError, match=message):
            margin_spectrum(axes, **arguments)
    with pytest.raises(InputError, match="positions of shapes"):
        block_heat_map(axes, values, frequencies=([0.1, 0.2], [0.1, 0.2]))
    with pytest.raises(InputError, match="increase"):
        block_heat_map(axes, values[:2, :2], frequencies=([0.2, 0.1], [0.1, 0.2]))
    for limits in ((0, 1), (3, 2), (1, math.inf), (math.nan, 2)):
        with pytest.raises(InputError, match="limits must"):
            block_heat_map(axes, values, limits=limits)
    with pytest.raises(InputError, match="positions of shapes"):
        margin_film(axes, [0, 1], values)
    with pytest.raises(InputError, match="increase"):
        margin_film(axes, [0, 1, 1, 2], values)
    assert not axes.lines
    assert not axes.collections
