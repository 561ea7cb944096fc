"""The images of a folder: at what size they are read, which of many, and what is said of it."""

import numpy as np
import pytest
import torch
from card_toys import constant
from PIL import Image

from robustkit.data import load
from robustkit.errors import DataError, InputError
from robustkit.records import Record
from robustkit.report_card import add_to_record, report
from robustkit.report_card.page import page
from robustkit.report_card.photographs import described
from robustkit.report_card.sources import load_images


def save(root, *sizes, classes=("cat", "dog")):
    """Noise, one image a (width, height), the classes in turn."""
    generator = np.random.default_rng(0)
    for place, (width, height) in enumerate(sizes):
        folder = root / classes[place % len(classes)]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{place:03d}.png")
    return str(root)


@pytest.mark.parametrize("size", [(14, 14), (14, 20), (20, 14)])
def test_images_of_the_networks_size_are_taken_as_they_are(tmp_path, size):
    folder = save(tmp_path / "pets", *[size] * 4)
    found = load_images(folder, size=(14, 14))
    assert torch.equal(found.images, load(f"imagefolder:{folder}").images)
    assert (found.read, found.cautions) == ("", ())
    assert found.name == "imagefolder:pets"


def test_images_of_a_window_that_is_no_square_are_taken_as_they_are(tmp_path):
    found = load_images(save(tmp_path, (20, 14), (20, 14)), size=(14, 20))
    assert found.images.shape[2:] == (14, 20)
    assert found.read == ""


def test_larger_images_are_brought_to_an_eighth_more(tmp_path):
    folder = save(tmp_path, (40, 30), (30, 50))
    found = load_images(folder, size=(14, 14))
    assert torch.equal(found.images, load(f"imagefolder:{folder}", size=16).images)
    assert "read at 16 x 16" in found.read
    assert found.cautions == ()


def test_images_of_that_very_size_were_not_resized(tmp_path):
    assert load_images(save(tmp_path, (16, 16), (16, 16)), size=(14, 14)).read == ""


def test_smaller_images_are_enlarged_to_the_window_and_no_more(tmp_path):
    folder = save(tmp_path, (8, 8), (8, 12))
    found = load_images(folder, size=(14, 14))
    assert torch.equal(found.images, load(f"imagefolder:{folder}", size=14).images)
    assert "read at 14 x 14" in found.read
    [caution] = found.cautions
    assert caution.startswith("2 images were enlarged to 14 pixels a side")


def test_the_smaller_ones_among_larger_images_are_counted(tmp_path):
    found = load_images(save(tmp_path, (8, 8), (40, 30), (15, 16)), size=(14, 14))
    assert found.images.shape[2:] == (16, 16)
    assert found.cautions[0].startswith("2 of 3 images were enlarged to 16 pixels a side")


def test_a_network_of_one_channel_is_given_grey_images(tmp_path):
    folder = save(tmp_path, (30, 28), (28, 28), classes=("a",))
    found = load_images(folder, size=(28, 28), channels=1)
    colours = load(f"imagefolder:{folder}", size=28).images
    assert found.images.shape == (2, 1, 28, 28)
    for image, colour in zip(found.images, colours, strict=True):
        grey = Image.fromarray(colour.permute(1, 2, 0).numpy()).convert("L")
        assert np.array_equal(image[0].numpy(), np.asarray(grey))
    assert "shades of grey" in found.read


def test_of_many_images_some_are_drawn_by_the_seed(tmp_path):
    folder = save(tmp_path, *[(4, 4)] * 40)
    every = load(f"imagefolder:{folder}")
    first, again, other = (load_images(folder, limit=9, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
    assert not torch.equal(first.images, every.images[:9])
    assert "9 of 40 images of the folder, drawn at random" in first.read
    # Each image keeps its label.
    for image, label in zip(first.images, first.labels, strict=True):
        [place] = (every.images == image).flatten(1).all(dim=1).nonzero().flatten().tolist()
        assert label == every.labels[place]
    assert load_images(folder, limit=40).read == ""


def test_images_that_are_not_drawn_are_not_read(tmp_path):
    folder = save(tmp_path, *[(4, 4)] * 20)
    drawn = load_images(folder, size=(4, 4), limit=5)
    for file in tmp_path.rglob("*.png"):
        kept = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
        if not (drawn.images == kept).flatten(1).all(dim=1).any():
            file.write_text("damaged")
    assert torch.equal(load_images(folder, size=(4, 4), limit=5).images, drawn.images)
    with pytest.raises(DataError, match="cannot be read as an image"):
        load_images(folder, size=(4, 4))


def test_a_limit_is_at_least_one(tmp_path):
    with pytest.raises(InputError, match="limit must be at least 1"):
        load_images(save(tmp_path, (4, 4)), limit=0)


def test_the_page_says_how_images_were_read(tmp_path):
    found = load_images(save(tmp_path, *[(6, 6)] * 12), size=(8, 8), limit=6)
    model = constant(1, 2, 192)
    card = report(model, found.images, found.labels, axes=["clean"], classes=found.classes)
    card = described(card, found)
    record = Record("06_report_card", {"profile": "smoke"})
    add_to_record(record, [card])
    text = " ".join(page(record.as_dict()).split())
    assert "6 of 12 images of the folder" in text
    assert "read at 8 x 8" in text
    assert "6 images were enlarged to 8 pixels a side" in text
