"""A card on a GPU: images and labels go to the model, wherever they are."""

import pytest
import torch
from card_toys import grey, two_classes

from robustkit.errors import InputError
from robustkit.report_card import report

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
AXES = ("clean", "translation", "rics")


def labelled(count):
    model, images = two_classes(), grey(count)
    with torch.no_grad():
        return model, images, model(images).argmax(dim=1)


def test_every_axis_is_measured_there():
    model, images, labels = labelled(6)
    found = report(model.cuda(), images, labels, samples=6, severities=(1,), radius=1)
    assert found.scalar("accuracy").estimate == 1
    assert all(len(axis) == 6 for axis in found.axes.values())


@pytest.mark.parametrize("places", [("cuda", "cpu"), ("cpu", "cuda"), ("cuda", "cuda")])
@pytest.mark.parametrize("home", ["cpu", "cuda"])
def test_images_and_labels_may_lie_on_different_devices(home, places):
    model, images, labels = labelled(12)
    here = report(model, images, labels, axes=AXES, radius=1)
    given = images.to(places[0]), labels.to(places[1])
    there = report(model.to(home), *given, axes=AXES, radius=1)
    assert there.digest == here.digest
    for axis in AXES:
        assert torch.equal(there.axes[axis].rows.cpu(), here.axes[axis].rows)
    assert [there.scalar(name) for name in there.scalars] == [
        here.scalar(name) for name in here.scalars
    ]


def test_a_device_that_is_not_there_is_refused():
    model, images, labels = labelled(3)
    with pytest.raises(InputError, match="cannot be used here"):
        report(model, images, labels, axes=["clean"], device="cuda:99")
