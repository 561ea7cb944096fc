"""Pairs of an image and a subspace go in batches, and none depends on the others."""

import math

import pytest
import torch
from margin_toys import Affine, Function, affine, conv, dense, draws, images, predicted
from torch.utils._python_dispatch import TorchDispatchMode

from robustkit.attacks import deepfool
from robustkit.attacks.classifier import Classifier
from robustkit.margins import (
    Block,
    Span,
    Whole,
    block_grid,
    diagonal_blocks,
    flip,
    margins,
    random_subspaces,
    span,
)

SHAPE = (2, 8, 8)
BLOCKS = diagonal_blocks(SHAPE, 2, 3)
MIXED = [*BLOCKS, Whole(SHAPE), *random_subspaces(SHAPE, 3, 2)]
FIELDS = ("distances", "success", "iterations", "targets", "labels", "perturbations")
SETTINGS = [{}, {"refine": "none"}, {"refine": "normal"}, {"legacy": True}, {"max_margin": 1.0}]


def assert_same(result, other, rows=slice(None), columns=slice(None)):
    """The margins `other` are those of `result` at some subspaces and images."""
    for name in FIELDS:
        one, two = getattr(result, name), getattr(other, name)
        one = one[columns] if name == "labels" else one[rows][:, columns]
        # Where a direction is the best, a length does not tell it from its neighbours.
        size = 1e-4 if name == "perturbations" else 1e-8
        torch.testing.assert_close(one, two, rtol=size, atol=size, msg=name)


def found(*arguments, **options):
    return margins(*arguments, perturbations=True, **options)


@pytest.mark.parametrize("options", SETTINGS)
def test_a_batch_is_its_pairs_one_by_one(options):
    model, batch = conv(smooth=False), images(3)
    whole = found(model, batch, MIXED, **options)
    assert whole.success.any()
    # The toy is worth its name only if pairs arrive at different times.
    assert len(whole.iterations.unique()) > 1
    for chunk in (1, 3, 7):
        assert_same(whole, found(model, batch, MIXED, chunk=chunk, **options))
    for column in (0, 2):
        alone = found(model, batch[column : column + 1], MIXED, **options)
        assert_same(whole, alone, columns=slice(column, column + 1))
    assert_same(whole, found(model, batch, MIXED[1:2], **options), rows=slice(1, 2))


@pytest.mark.parametrize("options", SETTINGS)
def test_the_order_of_images_and_subspaces_does_not_matter(options):
    model, batch = conv(), images(9)
    order, other = torch.randperm(9, generator=torch.Generator().manual_seed(0)), [3, 0, 5, 2, 1, 4]
    whole = found(model, batch, MIXED, **options)
    shuffled = found(model, batch[order], [MIXED[i] for i in other], **options)
    assert_same(whole, shuffled, rows=other, columns=order)
    assert shuffled.subspaces == tuple(MIXED[i].name for i in other)
    assert shuffled.dims == tuple(MIXED[i].dim for i in other)


@pytest.mark.parametrize("steps", [1, 50])
def test_all_of_space_is_plain_deepfool(steps):
    # With four classes the three nearest rivals are all there are.
    model, batch = conv(4), images(20)
    plain = deepfool(model, batch, bounds=None, steps=steps)
    result = found(model, batch, [Whole(SHAPE)], refine="none", steps=steps)
    assert torch.equal(result.success[0], plain.success)
    assert torch.equal(result.labels, plain.labels)
    hit = plain.success
    assert hit.any()
    assert torch.equal(result.targets[0][hit], plain.predictions[hit])
    assert torch.equal(result.iterations[0], plain.iterations)
    torch.testing.assert_close(result.distances[0][hit], plain.l2[hit], rtol=1e-9, atol=0)
    moved = result.perturbations[0][hit]
    torch.testing.assert_close(moved, plain.perturbation[hit], rtol=1e-8, atol=1e-10)
    halved = deepfool(model, batch, bounds=None, steps=steps, bisection=45)
    refined = margins(model, batch, [Whole(SHAPE)], steps=steps)
    torch.testing.assert_close(refined.distances[0][hit], halved.l2[hit], rtol=1e-9, atol=0)


def test_a_subspace_is_deepfool_with_a_projection():
    model, batch = conv(4), images(12)
    result = margins(model, batch, MIXED, refine="none", steps=50)
    for one, distances in zip(MIXED, result.distances, strict=True):
        plain = deepfool(model, batch, bounds=None, projection=one.project)
        torch.testing.assert_close(distances, plain.distance(2), rtol=1e-9, atol=0)


def published(model, image, basis, *, classes=10, overshoot=0.02, steps=100):
    """Subspace DeepFool for one image and one dense orthonormal basis, as the authors run it."""
    start, total = image.flatten(), torch.zeros(image.numel(), dtype=image.dtype)

    def logits_at(move):
        return model((start + move).reshape(1, *image.shape))[0]

    with torch.no_grad():
        ranks = logits_at(total).argsort(descending=True)[:classes].tolist()
    step, answer = 0, ranks[0]
    while answer == ranks[0] and step < steps:
        move = total.clone().requires_grad_()
        logits = logits_at(move)
        gradients = [torch.autograd.grad(logits[k], move, retain_graph=True)[0] for k in ranks]
        nearest = math.inf
        for rank in range(1, len(ranks)):
            inside = basis @ (gradients[rank] - gradients[0])
            distance = (logits[ranks[rank]] - logits[ranks[0]]).abs().item() / inside.norm().item()
            if distance < nearest:
                nearest, direction = distance, inside @ basis / inside.norm()
        total = total + max(nearest, 1e-4) * direction
        with torch.no_grad():
            answer = logits_at((1 + overshoot) * total).argmax().item()
        step += 1
    return (1 + overshoot) * total, step, answer


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize(("classes", "candidates"), [(6, 10), (6, 3), (12, 10)])
def test_legacy_is_the_published_algorithm_pair_by_pair(smooth, classes, candidates):
    model, batch = conv(classes, smooth=smooth), images(5)
    result = found(model, batch, MIXED, legacy=True, candidates=candidates)
    assert result.iterations.max() > 1
    for row, one in enumerate(MIXED):
        basis = dense(one, batch)
        for column, image in enumerate(batch):
            move, steps, answer = published(model, image, basis, classes=candidates)
            assert result.iterations[row, column] == steps
            assert result.targets[row, column] == answer
            torch.testing.assert_close(
                result.perturbations[row, column].flatten(), move, rtol=1e-5, atol=1e-8
            )
            assert result.distances[row, column].item() == pytest.approx(
                move.norm().item(), rel=1e-5
            )


def test_the_default_finds_no_longer_margins_than_legacy():
    model, batch = conv(12), images(20)
    legacy = margins(model, batch, MIXED, legacy=True)
    none, bisect, normal = (
        margins(model, batch, MIXED, refine=refine) for refine in ("none", "bisect", "normal")
    )
    assert legacy.success.all()
    assert bisect.success.all()
    assert (normal.distances <= bisect.distances).all()
    assert (bisect.distances <= none.distances).all()
    assert (bisect.distances <= legacy.distances).double().mean() > 0.95
    assert torch.equal(bisect.iterations, none.iterations)


def test_a_point_of_the_result_is_over_the_boundary_and_a_nearer_one_is_not():
    model, batch = conv(), images(20)
    for refine in ("bisect", "normal"):
        result = found(model, batch, MIXED, refine=refine)
        assert result.success.all()
        for row, one in enumerate(MIXED):
            offsets = result.perturbations[row]
            assert torch.equal(predicted(model, batch + offsets), result.targets[row])
            assert (result.targets[row] != result.labels).all()
            before = predicted(model, batch + (1 - 1e-8) * offsets)
            assert torch.equal(before, result.labels)
            torch.testing.assert_close(one.project(offsets), offsets, rtol=0, atol=1e-10)
            lengths = offsets.flatten(1).norm(dim=1)
            torch.testing.assert_close(lengths, result.distances[row], rtol=1e-12, atol=0)


def test_more_room_is_no_longer_way_on_a_plane():
    model, batch = affine(7), images(15)
    nested = [Block(SHAPE, 1, 1, size, size) for size in (1, 2, 4, 7)]
    nested = [*nested, Block(SHAPE, 0, 0, 8, 8), Whole(SHAPE)]
    distances = margins(model, batch, nested, candidates=None).distances
    assert (distances[1:] <= distances[:-1] * (1 + 1e-9)).all()
    torch.testing.assert_close(distances[-2], distances[-1], rtol=1e-9, atol=0)
    rows = draws(9, *SHAPE)
    spans = [span(rows[:count]) for count in (1, 3, 9)]
    distances = margins(model, batch, spans, candidates=None).distances
    assert (distances[1:] <= distances[:-1] * (1 + 1e-9)).all()


def test_a_rotation_of_network_images_and_subspaces_changes_nothing():
    model, batch = conv(), images(8)
    rotation, _ = torch.linalg.qr(draws(128, 128, seed=9))

    def turned(points):
        return (points.flatten(1) @ rotation).reshape(points.shape)

    def back(points):
        return (points.flatten(1) @ rotation.mT).reshape(points.shape)

    spans = random_subspaces(SHAPE, 6, 3)
    parts = [*spans, Whole(SHAPE)]
    moved = [*(Span(turned(one.basis)) for one in spans), Whole(SHAPE)]
    plain = found(model, batch, parts)
    result = found(Function(lambda x: model(back(x))), turned(batch), moved)
    torch.testing.assert_close(result.distances, plain.distances, rtol=1e-9, atol=0)
    assert torch.equal(result.iterations, plain.iterations)
    assert torch.equal(result.targets, plain.targets)
    for one, other in zip(plain.perturbations, result.perturbations, strict=True):
        torch.testing.assert_close(turned(one), other, rtol=0, atol=1e-8)


@pytest.mark.parametrize("options", SETTINGS)
def test_flipped_data_mirror_the_margins(options):
    model, batch = conv(), images(10)
    plain = margins(model, batch, BLOCKS, **options)
    flipped = margins(Function(lambda x: model(flip(x))), flip(batch), BLOCKS, **options)
    torch.testing.assert_close(flipped.distances, plain.distances.flip(0), rtol=1e-8, atol=0)
    assert torch.equal(flipped.iterations, plain.iterations.flip(0))
    assert plain.distances[0].isfinite().any()


@pytest.mark.parametrize("options", SETTINGS[:4])
def test_scale_and_shift_of_the_logits_do_not_matter(options):
    model, batch = conv(), images(10)
    plain = margins(model, batch, MIXED, **options)
    for scale, shift in [(1e-3, 0.0), (40.0, 0.0), (1.0, 3.0), (5.0, -20.0)]:
        other = Function(lambda x, a=scale, b=shift: a * model(x) + b)
        result = margins(other, batch, MIXED, **options)
        torch.testing.assert_close(result.distances, plain.distances, rtol=1e-8, atol=0)
        assert torch.equal(result.iterations, plain.iterations)


@pytest.mark.parametrize("factor", [0.01, 255.0])
@pytest.mark.parametrize("refine", ["none", "bisect", "normal"])
def test_images_of_another_scale_have_margins_of_that_scale(factor, refine):
    model, batch = conv(), images(10)
    plain = margins(model, batch, MIXED, refine=refine)
    stretched = Function(lambda x: model(x / factor))
    result = margins(stretched, factor * batch, MIXED, refine=refine)
    torch.testing.assert_close(result.distances, factor * plain.distances, rtol=1e-8, atol=0)
    assert torch.equal(result.iterations, plain.iterations)


class Passes:
    """Count, image by image, what goes through a model and back."""

    def __init__(self, monkeypatch, model, batch):
        self.model, self.batch = Function(model), batch
        self.backward = []
        gradient = torch.autograd.grad

        def counted(outputs, *rest, **options):
            self.backward.append(len(outputs))
            return gradient(outputs, *rest, **options)

        monkeypatch.setattr(torch.autograd, "grad", counted)


@pytest.mark.parametrize("options", SETTINGS)
@pytest.mark.parametrize("chunk", [1, 5, 512])
def test_the_passes_are_counted_as_made_and_in_chunks(monkeypatch, options, chunk):
    model, batch = conv(), images(3)
    labels = predicted(model, batch)
    labels[0] = (labels[0] + 1) % 6
    passes = Passes(monkeypatch, model, batch)
    result = margins(passes.model, batch, MIXED[2:], labels, chunk=chunk, **options)
    assert result.forward_calls == len(passes.model.calls)
    assert result.forwards.sum() == sum(passes.model.calls)
    assert result.backward_calls == len(passes.backward)
    assert result.backwards.sum() == sum(passes.backward)
    assert max(passes.model.calls) <= chunk
    assert min(passes.model.calls) > 0


def test_no_call_holds_more_than_a_chunk_when_few_of_it_start():
    # Six of the first ten images are misclassified: the other four arrive, and wait for company.
    model, batch = affine(3), images(20)
    labels = predicted(model, batch)
    labels[:6] = (labels[:6] + 1) % 3
    counted = Function(model)
    margins(counted, batch, [Whole(SHAPE)], labels, chunk=10)
    assert max(counted.calls) <= 10


def test_the_first_gradients_of_an_image_serve_all_of_its_subspaces():
    model, batch = affine(5), images(6)
    one, many = margins(model, batch, BLOCKS[:1]), margins(model, batch, block_grid(SHAPE, 2))
    # A plane is reached in one step, and every step after would cost gradients of its own.
    assert many.backwards.tolist() == one.backwards.tolist() == [4] * 6
    assert many.backward_calls == one.backward_calls == 4
    legacy = margins(model, batch, block_grid(SHAPE, 2), legacy=True)
    assert legacy.backwards.tolist() == [4] * 6
    # The clean image, and for each pair one pass to judge its point and one for its class.
    assert legacy.forwards.tolist() == [1 + 2 * 16] * 6


def test_after_the_first_step_three_rivals_are_differentiated():
    model, batch = conv(12, smooth=False), images(6)
    high = [Block(SHAPE, 6, 6, 2, 2)]
    result = margins(model, batch, high, candidates=None, refine="none")
    assert result.iterations.max() > 1
    # Eleven at the clean image; then three a step, or none for who has arrived in a new graph.
    assert ((result.backwards - 11) % 3 == 0).all()
    assert (result.backwards >= 11 + 3 * (result.iterations[0] - 1)).all()
    legacy = margins(model, batch, high, candidates=None, legacy=True)
    assert torch.equal(legacy.backwards, 11 * legacy.iterations[0])


class Waits(TorchDispatchMode):
    """Count the operations whose outcome the host must know before it can go on."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        names = ("_local_scalar_dense", "nonzero", "equal.default")
        self.count += any(name in str(function) for name in names)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("options", SETTINGS)
def test_calls_and_waits_do_not_grow_with_the_batch(options):
    model, batch = conv(), images(4)
    with Waits() as few:
        one = margins(model, batch, BLOCKS, **options)
    with Waits() as many:
        result = margins(model, batch.repeat(12, 1, 1, 1), BLOCKS, chunk=10**6, **options)
    assert result.forward_calls == one.forward_calls
    assert result.backward_calls == one.backward_calls
    assert many.count == few.count
    assert torch.equal(result.backwards, one.backwards.repeat(12))


def test_the_same_image_in_several_rows_of_a_call_is_counted_each_time():
    classifier = Classifier(affine(3), 4, torch.device("cpu"))
    rows = torch.tensor([2, 0, 2, 2])
    inputs, logits = classifier.graph(images(4), rows)
    assert classifier.forwards.tolist() == [1, 0, 3, 0]
    weights = torch.zeros_like(logits)
    weights[:, 1] = 1
    classifier.pull_back(inputs, logits, weights, rows, keep_graph=True)
    classifier.pull_back(inputs, logits, weights, rows)
    assert classifier.backwards.tolist() == [2, 0, 6, 0]
    assert (classifier.forward_calls, classifier.backward_calls) == (1, 2)


def test_results_are_the_same_every_time():
    model, batch = conv(smooth=False), images(6)
    one, two = (found(model, batch, MIXED, refine="normal") for _ in range(2))
    for name in FIELDS:
        assert torch.equal(getattr(one, name), getattr(two, name))


def test_vectors_and_images_of_other_ranks_serve():
    for shape in [(12,), (3, 4), (1, 2, 3, 2)]:
        weight = draws(4, 12, seed=1)
        model, batch = Affine(weight, draws(4, seed=2)), images(5, shape)
        parts = [Whole(shape), *random_subspaces(shape, 3, 2), span(draws(2, *shape))]
        expected, _ = model.margins(batch, parts)
        result = found(model, batch, parts)
        torch.testing.assert_close(result.distances, expected, rtol=1e-6, atol=0)
        assert result.perturbations.shape == (4, 5, *shape)


def test_strided_images_are_as_good_as_any():
    model, batch = conv(), images(6)
    expected = found(model, batch, MIXED)
    for strided in (
        batch.contiguous(memory_format=torch.channels_last),
        batch.transpose(2, 3).contiguous().transpose(2, 3),
        batch[:1].expand(6, -1, -1, -1),
    ):
        columns = [0] * 6 if strided.stride(0) == 0 else slice(None)
        assert_same(expected, found(model, strided, MIXED), columns=columns)
