"""What the errors say that faults and bad input end in, and what is tidied up afterwards."""

import os
import time
from pathlib import Path

import pytest
import torch
from matplotlib import pyplot as plt
from torch import Tensor, nn

from robustkit import checks, files, plots
from robustkit.errors import InputError


@pytest.mark.parametrize(("hours", "kept"), [(0.0, True), (23.0, True), (25.0, False)])
def test_parts_of_killed_writes_go_after_a_day(tmp_path: Path, hours: float, kept: bool) -> None:
    target = tmp_path / "weights[1].bin"
    part, other = tmp_path / ".weights[1].bin.x_y.part", tmp_path / ".weights1.bin.x_y.part"
    for file in (part, other):
        file.touch()
        moment = time.time() - 3600 * hours
        os.utime(file, (moment, moment))
    files.write_atomic(target, "new")
    assert part.exists() == kept
    # That of another file is none of its business.
    assert other.exists()
    assert target.read_text() == "new"


class Failing(nn.Module):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def forward(self, images: Tensor) -> Tensor:
        raise self.error


@pytest.mark.parametrize(
    "error", [RuntimeError("3 channels"), ValueError("3 channels"), IndexError("3 channels")]
)
def test_a_model_that_fails_is_told_what_it_was_given(error: Exception) -> None:
    words = r"the model fails on images of shape \(2, 1, 4, 4\), torch.float32, on cpu: 3 channels"
    with pytest.raises(InputError, match=words) as caught:
        checks.run_model(Failing(error), torch.zeros(2, 1, 4, 4))
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [InputError("own words"), torch.OutOfMemoryError("too much"), KeyboardInterrupt()]
)
def test_what_is_no_fault_of_the_images_passes(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        checks.run_model(Failing(error), torch.zeros(2, 1, 4, 4))
    assert caught.value is error


def test_tensors_without_values_and_endless_views_are_named() -> None:
    with pytest.raises(InputError, match="shifts: the device 'meta' holds shapes and no values"):
        checks.check_held("shifts", torch.zeros(2, device="meta"))
    with pytest.raises(InputError, match=r"images: the shape \(2199023255552, 3\) stands for 6.6e"):
        checks.check_size("images", torch.zeros(1, 3).expand(2**41, 3))
    checks.check_size("images", torch.zeros(1).expand(2**40))
    checks.check_size("images", torch.zeros(2, device="meta"))


@pytest.mark.parametrize("device", ["no such device", "", "cuda:99"])
def test_a_device_that_is_not_there_is_named(device: str) -> None:
    with pytest.raises(InputError, match=f"device '{device}' cannot be used here"):
        checks.check_device(device)
    assert checks.check_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("plain", "plain"),
        (r"$\ell_2$", r"$\ell_2$"),
        # One alone is none: matplotlib draws it as it is.
        ("5 $", "5 $"),
        ("two\nlines", "two\nlines"),
        ("one\n$\\frac$", "one\n\\$\\frac\\$"),
        (r"$\frac$ for $5 and $6", r"\$\frac\$ for \$5 and \$6"),
    ],
)
def test_dollars_without_mathematics_stay_dollars(
    text: str, drawn: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert plots.drawable(text) == drawn
    # A glyph that is missing would be a complaint on the page of a chapter.
    assert caplog.records == []
    figure, axes = plt.subplots()
    axes.set_title(plots.drawable(text))
    figure.canvas.draw()
    plt.close(figure)
    assert caplog.records == []
