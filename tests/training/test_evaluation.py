"""Labels and accuracy, whatever the batch size."""

import pytest
import torch
from torch import Tensor, nn

from robustkit.data import Dataset
from robustkit.errors import InputError
from robustkit.training import Accuracy, evaluate, predict


class Brightest(nn.Module):
    """Label an image by its brightest pixel: exact, and the same for any scale."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)


def dataset(count: int = 10) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (count,), generator=generator)
    images = torch.nn.functional.one_hot(labels, 4).to(torch.uint8) * 200
    return Dataset("toy", "test", images.reshape(count, 1, 2, 2), labels, ("a", "b", "c", "d"))


@pytest.mark.parametrize("batch_size", [1, 3, 512])
def test_labels_of_8_bit_and_of_floating_images(batch_size: int) -> None:
    data, model = dataset(), Brightest().eval()
    assert torch.equal(predict(model, data.images, batch_size=batch_size), data.labels)
    floating = data.images / 255
    assert torch.equal(predict(model, floating, batch_size=batch_size), data.labels)


def test_accuracy_counts_the_correct_labels() -> None:
    data = dataset()
    wrong = data.labels.clone()
    wrong[:3] = (wrong[:3] + 1) % 4
    data = Dataset("toy", "test", data.images, wrong, data.classes)
    accuracy = evaluate(Brightest().eval(), data, batch_size=4)
    assert accuracy == Accuracy(7, 10)
    assert accuracy.rate == 0.7
    assert str(accuracy) == "7 of 10 (70.00%)"


def test_what_cannot_be_judged_is_refused() -> None:
    data, model = dataset(), Brightest().eval()
    with pytest.raises(InputError, match="training mode"):
        predict(Brightest().train(), data.images)
    with pytest.raises(InputError, match="batch is empty"):
        predict(model, data.images[:0])
    with pytest.raises(InputError, match="batch_size"):
        predict(model, data.images, batch_size=0)
    with pytest.raises(InputError, match="lie in"):
        predict(model, data.images.float())
    with pytest.raises(InputError, match="floating point"):
        predict(model, data.images.long())
    beyond = Dataset("toy", "test", data.images, data.labels + 4, data.classes)
    with pytest.raises(InputError, match="the model has 4 classes"):
        evaluate(model, beyond)


def test_nan_is_never_a_label() -> None:
    class Broken(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1) * float("nan")

    with pytest.raises(InputError, match="returns NaN"):
        predict(Broken().eval(), dataset().images)
