"""What is in memory at once: as many images as asked for, or as many pixels, however many come."""

import pytest
import torch
from selection_references import levels
from shift_toys import Function
from torch import nn

from robustkit.prediction import predict
from robustkit.translation import (
    RICS,
    CircularShift,
    adversary,
    certified_radius,
    circular,
    filter_score,
    neighbourhood,
    rics,
)
from robustkit.translation.distinct import selected_content
from robustkit.translation.labels import suited_batch
from robustkit.translation.levels import in_parts


def test_parts_hold_at_most_so_many_pixels():
    images = levels(7, 1, 4, 5)
    for most, sizes in ((20, [1] * 7), (59, [2, 2, 2, 1]), (1000, [7]), (3, [1] * 7)):
        assert [len(part) for part in in_parts(images, most)] == sizes
    assert [len(part) for part in in_parts(images, 1000, most_on_cpu=40)] == [2, 2, 2, 1]


@pytest.mark.parametrize("batch_size", [1, 4, 30])
def test_circular_selections_keep_the_batch_size(batch_size, monkeypatch):
    seen, plain = [], circular._scores

    def watched(images, *others):
        seen.append(len(images))
        return plain(images, *others)

    images = levels(3, 2, 9, 8)
    model = RICS(Function(lambda x: x.flatten(1)[:, :5]), 7, mode="circular", score="hash")
    expected = selected_content(model, images, CircularShift(), neighbourhood(1), batch_size=1000)
    monkeypatch.setattr(circular, "_scores", watched)
    found = selected_content(
        model, images, CircularShift(), neighbourhood(1), batch_size=batch_size
    )
    assert torch.equal(found, expected)
    assert sum(seen) == 3 * 9
    assert max(seen) <= batch_size
    # All circular shifts select one content: each image is labelled once.
    result = adversary(model, images, None, CircularShift(), batch_size=batch_size)
    assert result.calls.tolist() == [1, 1, 1]


@pytest.mark.parametrize("how", ["argmax", "landmark"])
def test_scenes_are_scored_in_parts(how, monkeypatch):
    scenes = levels(5, 1, 20, 20)
    model = RICS(nn.Flatten(), 9, select=how, radius=2, score="hash")
    shared = torch.tensor([[0, 0], [3, 2], [5, 5]])
    own = torch.randint(0, 6, (5, 3, 2), generator=torch.Generator().manual_seed(0))
    expected = [model.select_windows(scenes, 15, places) for places in (shared, own)]
    certified = certified_radius(model, scenes, 14)
    seen, plain = [], RICS.score_maps

    def watched(self, images):
        seen.append(len(images))
        return plain(self, images)

    monkeypatch.setattr(RICS, "score_maps", watched)
    monkeypatch.setattr(rics, "_PIXELS", 2 * 20 * 20)
    for places, whole in zip((shared, own), expected, strict=True):
        found = model.select_windows(scenes, 15, places)
        for name in ("positions", "scores", "gaps", "hashes"):
            assert torch.equal(getattr(found, name), getattr(whole, name))
    assert seen == [2, 2, 1] * 2
    assert torch.equal(certified_radius(model, scenes, 14).safe, certified.safe)


def test_filters_of_many_images_are_those_of_each():
    images = levels(5, 1, 300, 301)
    scores = filter_score()(images, (298, 300))
    for one, expected in zip(images, scores, strict=True):
        assert torch.equal(filter_score()(one[None], (298, 300))[0], expected)


def test_several_crops_reach_the_model_one_of_each_image_at_a_time():
    seen = []

    def classify(images):
        seen.append(len(images))
        return images.flatten(1)[:, :5]

    images = levels(3, 1, 9, 8)
    together = RICS(Function(classify), 7, select="bottomk", count=4, score="hash")(images)
    assert seen == [3] * 4
    for one, expected in zip(images, together, strict=True):
        alone = RICS(Function(classify), 7, select="bottomk", count=4, score="hash")(one[None])
        assert torch.equal(alone[0], expected)


def test_a_batch_suits_the_size_of_the_images():
    model = nn.Flatten()
    assert suited_batch(model, levels(1, 3, 32, 32), None) == 256
    assert suited_batch(model, levels(1, 3, 256, 256), None) == 32
    assert suited_batch(model, levels(1, 1, 1, 2**22), None) == 1
    assert suited_batch(model, levels(1, 3, 256, 256), 1000) == 1000


def test_8_bit_images_reach_rics_as_they_are():
    class Watched(RICS):
        def forward(self, images):
            seen.append(images.dtype)
            return super().forward(images)

    seen: list[torch.dtype] = []
    images = levels(5, 3, 12, 12)
    inner = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4))
    model = Watched(inner, 8).eval()
    assert torch.equal(predict(model, images), predict(model, images.float() / 255))
    assert seen == [torch.uint8, torch.float32]
    assert torch.equal(
        predict(inner, images[..., :8, :8]), inner(images[..., :8, :8] / 255).argmax(1)
    )
