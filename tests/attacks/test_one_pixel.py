"""The one-pixel attack: needles found, the published evolution on one image, and true accounts."""

import math

import pytest
import torch
from attack_toys import Lambda, conv, generator, images, judged_anew
from hypothesis import given, settings
from hypothesis import strategies as st

from robustkit import rng
from robustkit.attacks.one_pixel import one_pixel
from robustkit.errors import InputError

BATCH = images(4, (3, 5, 6))
SMALL = {"population": 12, "generations": 4}


def predicted(model, batch):
    with torch.no_grad():
        return model(batch).argmax(1)


def changed(result):
    """How many pixels of each image differ in any channel."""
    return (result.adversarial != result.images).any(1).flatten(1).sum(1)


def needles(*places, level=0.8):
    """A model that changes its mind once every one of these pixels is bright in all channels."""
    down, right = torch.tensor(places).T

    def forward(x):
        darkest = x[:, :, down, right].flatten(1).amin(1)
        # Smooth, so that there is a slope to climb.
        score = x[:, :, down, right].flatten(1).mean(1) - 1 + torch.where(darkest > level, 2.0, 0.0)
        return torch.stack([0 * score, score], dim=1)

    return Lambda(forward)


def test_a_needle_in_a_haystack_is_found():
    batch = 0.5 * images(3, (3, 5, 6))
    result = one_pixel(needles((2, 4)), batch, population=200, generations=40)
    assert result.success.all()
    assert changed(result).tolist() == [1, 1, 1]
    assert (result.adversarial[:, :, 2, 4] > 0.8).all()
    assert (result.iterations > 1).any()
    assert (result.iterations <= 41).all()


def test_pixels_are_added_until_it_succeeds():
    batch = 0.5 * images(2, (1, 4, 4))
    model = needles((0, 1), (3, 2), level=0.6)
    options = {"population": 60, "generations": 30}
    one = one_pixel(model, batch, **options)
    assert not one.success.any()
    assert changed(one).tolist() == [1, 1]
    assert one.iterations.tolist() == [31, 31]
    more = one_pixel(model, batch, most_pixels=4, **options)
    assert more.success.all()
    assert changed(more).tolist() == [2, 2]
    assert (more.iterations > 31).all()
    assert (more.iterations <= 62).all()
    two = one_pixel(model, batch, pixels=2, **options)
    assert torch.equal(two.adversarial, more.adversarial)
    assert torch.equal(two.iterations + 31, more.iterations)


def paint(image, candidate):
    painted = image.clone()
    height, width = image.shape[1:]
    for row, column, *colour in candidate.tolist():
        place = min(int(row * height), height - 1), min(int(column * width), width - 1)
        painted[:, place[0], place[1]] = torch.tensor(colour, dtype=image.dtype)
    return painted


def reference(model, image, index, *, pixels, population, generations, seed):
    """One image, one candidate at a time, with the probability itself for a fitness."""
    key, stream = torch.tensor([index]), f"one_pixel/{pixels}"
    shape = (population, pixels)

    def probabilities(candidate):
        return model(paint(image, candidate)[None])[0].softmax(0)

    label = model(image[None])[0].argmax()
    places = rng.uniform(seed, f"{stream}/places", key, (*shape, 2), torch.float64)[0]
    normals = rng.normal(seed, f"{stream}/colours", key, (*shape, len(image)), torch.float64)[0]
    children = list(torch.cat([places, (0.5 + 0.5 * normals).clamp(0, 1)], dim=2))
    parents, fitness = children, [math.inf] * population
    for generation in range(generations + 1):
        if generation > 0:
            name = f"{stream}/parents/{generation}"
            draws = rng.uniform(seed, name, key, (population, 3), torch.float64)[0].tolist()
            children = []
            for member in range(population):
                pool = [(member + 1 + step) % population for step in range(population - 1)]
                picks = [parents[pool.pop(int(draw * len(pool)))] for draw in draws[member]]
                children.append((picks[0] + 0.5 * (picks[1] - picks[2])).clamp(0, 1))
        outputs = [probabilities(child) for child in children]
        values = [output[label].item() for output in outputs]
        fooling = [
            (value, place)
            for place, (value, output) in enumerate(zip(values, outputs, strict=True))
            if output.argmax() != label
        ]
        if fooling:
            return paint(image, children[min(fooling)[1]]), generation + 1
        parents = [
            child if value < before else parent
            for child, value, before, parent in zip(children, values, fitness, parents, strict=True)
        ]
        fitness = [min(pair) for pair in zip(values, fitness, strict=True)]
    return paint(image, parents[fitness.index(min(fitness))]), generations + 1


@pytest.mark.parametrize("pixels", [1, 3])
def test_it_is_the_published_algorithm(pixels):
    model, batch = conv(), images(300)
    with torch.no_grad():
        gaps = model(batch).topk(2, dim=1).values.diff().squeeze(1)
    # The nearest to another class, so that some are fooled.
    batch, indices = batch[gaps.topk(8).indices], torch.arange(8) * 7
    options = {"pixels": pixels, "population": 8, "generations": 6, "seed": 2}
    result = one_pixel(model, batch, indices=indices, **options)
    for row in range(8):
        with torch.no_grad():
            expected, count = reference(model, batch[row], indices[row].item(), **options)
        assert torch.equal(result.adversarial[row], expected)
        assert result.iterations[row] == count
    assert 0 < result.success.sum() < 8
    assert torch.equal(result.success, judged_anew(model, result))
    # Some after evolution, not just by the first population.
    assert (result.iterations[result.success] > 1).any()


def test_first_places_are_uniform_and_first_colours_normal():
    seen = []

    def forward(x):
        seen.append(x.clone())
        return torch.tensor([1.0, 0.0]).expand(len(x), 2)

    batch = torch.full((1, 2, 4, 5), 5.0)
    bounds = (torch.tensor([4.0, 0.0])[:, None, None], torch.tensor([6.0, 10.0])[:, None, None])
    one_pixel(Lambda(forward), batch, population=6000, generations=0, bounds=bounds, chunk=2048)
    shown = torch.cat(seen)[1:-1]
    touched = (shown != batch).any(1).flatten(1)
    assert len(shown) == 6000
    assert (touched.sum(1) == 1).all()
    # Twenty places, three hundred each; five standard deviations are 85.
    assert (touched.sum(0) - 300).abs().max() < 85
    colours = shown.flatten(2).permute(0, 2, 1)[touched]
    shares = (colours - torch.tensor([4.0, 0.0])) / torch.tensor([2.0, 10.0])
    # Mean and deviation of a half: a standard deviation below the mean is the lower bound.
    assert ((shares >= 0) & (shares <= 1)).all()
    for share, quantile in ((0.0, 0.1587), (0.25, 0.3085), (0.5, 0.5), (0.999999, 0.8413)):
        assert ((shares <= share).double().mean(0) - quantile).abs().max() < 0.03


def test_one_more_generation_never_leaves_a_likelier_label():
    base, batch = conv(), images(6)
    ahead = 50.0 * torch.eye(6, dtype=torch.float64)[0]
    # The label keeps its lead whatever happens, and its probability rounds to one.
    model = Lambda(lambda x: base(x) + ahead)

    def odds(result):
        with torch.no_grad():
            logits = model(result.adversarial)
        assert (logits.softmax(1)[:, 0] == 1).all()
        return logits[:, 1:].logsumexp(1) - logits[:, 0]

    previous = torch.full((6,), -math.inf)
    for generations in (0, 1, 3, 8):
        result = one_pixel(model, batch, population=10, generations=generations)
        assert not result.success.any()
        assert result.iterations.tolist() == [generations + 1] * 6
        assert (odds(result) >= previous).all()
        assert (odds(result) > previous).any()
        previous = odds(result)
    # With more pixels to try, it is the best of all tries.
    more = one_pixel(model, batch, population=10, generations=8, most_pixels=3)
    assert (odds(more) >= previous).all()
    assert more.iterations.tolist() == [27] * 6


def test_a_fooling_candidate_comes_before_a_fitter_one():
    # Bright: the label is improbable but ahead of both others. Dark: another class is just ahead.
    def forward(x):
        level = x.flatten(1).sum(1) - x[0].numel() * 0.5
        one, zero = torch.ones_like(level), torch.zeros_like(level)
        bright = torch.stack([0.1 * one, zero, zero, zero], 1)
        dark = torch.stack([5 * one, 5.1 * one, -9 * one, -9 * one], 1)
        neutral = torch.stack([9 * one, zero, zero, zero], 1)
        return torch.where(
            (level > 0.2)[:, None], bright, torch.where((level < -0.2)[:, None], dark, neutral)
        )

    batch = torch.full((3, 1, 4, 4), 0.5)
    result = one_pixel(Lambda(forward), batch, population=30, generations=0)
    assert result.success.all()
    assert result.predictions.tolist() == [1, 1, 1]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    room=st.sampled_from([0.05, 0.3, 1.0]),
    pixels=st.integers(1, 3),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    given_labels=st.booleans(),
)
def test_results_are_in_bounds_and_success_is_true(seed, room, pixels, dtype, given_labels):
    draw = generator(seed)
    model = conv(seed=seed % 7, dtype=dtype, smooth=bool(seed % 2))
    batch = torch.rand(5, 2, 8, 8, generator=draw, dtype=dtype)
    lower = (batch - room * torch.rand(batch.shape, generator=draw, dtype=dtype)).clamp(min=0)
    upper = (batch + room * torch.rand(batch.shape, generator=draw, dtype=dtype)).clamp(max=1)
    lower[:, :, 6:], upper[:, :, 6:] = batch[:, :, 6:], batch[:, :, 6:]
    labels = torch.randint(6, (5,), generator=draw) if given_labels else None
    before = batch.clone()
    options = {"bounds": (lower, upper), "most_pixels": 3, "seed": seed, **SMALL}
    result = one_pixel(model, batch, labels, pixels=pixels, **options)
    assert torch.equal(batch, before)
    assert ((result.adversarial >= lower) & (result.adversarial <= upper)).all()
    assert torch.equal(result.success, judged_anew(model, result))
    assert torch.equal(result.adversarial[:, :, 6:], batch[:, :, 6:])
    assert (changed(result) <= 3).all()
    already = result.labels != predicted(model, batch)
    assert torch.equal(result.adversarial[already], batch[already])
    assert torch.equal(result.iterations == 0, already)


@pytest.mark.parametrize("chunk", [1, 7, 512])
def test_the_rest_of_the_batch_does_not_matter(chunk):
    model, batch = conv(), images(7)
    labels = predicted(model, batch)
    labels[3] = (labels[3] + 1) % 6
    whole = one_pixel(model, batch, labels, most_pixels=2, **SMALL)
    rows = torch.tensor([6, 3, 0, 2])
    part = one_pixel(
        model, batch[rows], labels[rows], most_pixels=2, indices=rows, chunk=chunk, **SMALL
    )
    assert torch.equal(part.adversarial, whole.adversarial[rows])
    assert torch.equal(part.iterations, whole.iterations[rows])
    other = one_pixel(model, batch, labels, most_pixels=2, seed=1, **SMALL)
    assert not torch.equal(other.adversarial, whole.adversarial)


def test_the_passes_are_counted_as_made():
    model = Lambda(conv())
    batch = images(6)
    labels = predicted(model.function, batch)
    labels[:2] = (labels[:2] + 1) % 6
    result = one_pixel(model, batch, labels, chunk=32, **SMALL)
    # The clean image, every candidate, and the one returned.
    expected = torch.where(result.iterations > 0, 2 + 12 * result.iterations, 1)
    assert torch.equal(result.forwards, expected)
    assert result.forwards[:2].tolist() == [1, 1]
    assert (result.forward_calls, int(result.forwards.sum())) == (model.calls, model.images)
    assert result.backwards.tolist() == [0] * 6
    assert result.backward_calls == 0


def test_no_gradient_is_needed():
    model, batch = conv(), images(4)
    expected = one_pixel(model, batch, **SMALL)
    with torch.inference_mode():
        result = one_pixel(Lambda(lambda x: model(x.detach()).detach()), batch + 0, **SMALL)
    assert torch.equal(result.adversarial, expected.adversarial)


def test_a_model_without_finite_outputs_is_never_fooled():
    model = Lambda(lambda x: x.flatten(1)[:, :3] * math.nan)
    result = one_pixel(model, BATCH, **SMALL)
    assert not result.success.any()
    assert torch.equal(result.adversarial, BATCH)
    assert result.iterations.tolist() == [0] * 4
    assert model.calls == 1


@pytest.mark.parametrize("broken", [math.nan, -math.inf])
def test_candidates_without_a_finite_output_are_the_least_fit(broken):
    def forward(x):
        score = x[:, 0].flatten(1).amax(1)
        return torch.stack([torch.where(score > 0.5, broken, 3.0), score], dim=1)

    model, batch = Lambda(forward), torch.full((3, 1, 4, 4), 0.1)
    result = one_pixel(model, batch, population=30, generations=5)
    assert not result.success.any()
    assert (result.predictions == 0).all()
    assert (result.adversarial.flatten(1).amax(1) <= 0.5).all()
    assert (changed(result) == 1).all()


def test_no_finite_candidate_at_all_returns_clean():
    batch = BATCH[:, :, :2, :2]
    model = Lambda(
        lambda x: (
            torch.where((x == batch[0]).flatten(1).all(1)[:, None], 1.0, math.nan)
            * torch.tensor([[2.0, 1.0]])
        )
    )
    result = one_pixel(model, batch[:1], population=8, generations=2)
    assert not result.success.any()
    assert torch.equal(result.adversarial, batch[:1])
    assert result.predictions.tolist() == [0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_serves(dtype):
    model = Lambda(lambda x: torch.stack([0 * x.flatten(1).amax(1) + 0.9, x.flatten(1).amax(1)], 1))
    batch = 0.5 * images(6, (1, 4, 5), dtype=dtype)
    result = one_pixel(model, batch, population=30, generations=3)
    assert result.adversarial.dtype == dtype
    assert result.success.all()
    assert torch.equal(result.success, judged_anew(model, result))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": torch.zeros(0, 1, 4, 5)}, "empty"),
        ({"images": 255 * BATCH}, "Normalized"),
        ({"images": BATCH.flatten(1)}, r"\(N, C, H, W\)"),
        ({"images": BATCH[..., None]}, r"\(N, C, H, W\)"),
        ({"labels": torch.full((4,), 6)}, "6 classes"),
        ({"model": conv().train()}, "training mode"),
        ({"pixels": 0}, "pixels"),
        ({"pixels": 3, "most_pixels": 2}, "most_pixels"),
        ({"population": 3}, "population"),
        ({"generations": -1}, "generations"),
        ({"indices": torch.arange(3)}, "indices"),
        ({"chunk": 0}, "chunk"),
        ({"bounds": None}, "needs bounds"),
        ({"bounds": (0.5, 1.0)}, "outside the given bounds"),
    ],
)
def test_what_it_cannot_work_with_is_refused_with_a_reason(arguments, message):
    arguments = {"model": Lambda(lambda x: x.flatten(1)[:, :6]), "images": BATCH, **arguments}
    with pytest.raises(InputError, match=message):
        one_pixel(**arguments)
