"""Sheets of images: written here image by image, read back, and damaged."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robustkit.data import sheets
from robustkit.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two sheets whose image i is pasted where reading order says, with labels i mod 10."""
    for number in range(2):
        sheet = Image.new("RGB", (1600, 640))
        for i in range(1000):
            colour = (number, i // 256, i % 256)
            tile = Image.new("RGB", (32, 32), colour)
            tile.putpixel((31, 0), (255, 0, 0))
            sheet.paste(tile, (32 * (i % 50), 32 * (i // 50)))
        sheet.save(tmp_path / f"{number:02d}.webp", lossless=True, exact=True, method=0)
    np.save(tmp_path / "labels.npy", (np.arange(2000) % 10).astype(np.uint8))
    return tmp_path


def test_images_come_back_in_order_with_rows_before_columns(folder: Path) -> None:
    images, labels, files = sheets.read(folder)
    assert images.shape == (2000, 3, 32, 32)
    assert images.dtype == np.uint8
    numbers = images[:, :, 5, 5].astype(int)
    index = numbers[:, 0] * 1000 + numbers[:, 1] * 256 + numbers[:, 2]
    assert index.tolist() == list(range(2000))
    assert (images[:, :, 0, 31] == [255, 0, 0]).all()
    assert labels.tolist() == [i % 10 for i in range(2000)]
    assert [file.name for file in files] == ["00.webp", "01.webp", "labels.npy"]


def test_a_truncated_sheet_is_named(folder: Path) -> None:
    sheet = folder / "01.webp"
    sheet.write_bytes(sheet.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"01\.webp is damaged .* Put a whole copy in its place"):
        sheets.read(folder)


def test_a_file_that_is_no_picture_is_named(folder: Path) -> None:
    (folder / "00.webp").write_text("version https://git-lfs")
    with pytest.raises(DataError, match=r"00\.webp is damaged"):
        sheets.read(folder)


def test_a_sheet_of_another_size_is_refused(folder: Path) -> None:
    Image.new("RGB", (640, 1600)).save(folder / "00.webp")
    with pytest.raises(DataError, match=r"00\.webp is damaged \(640 x 1600 pixels, not 1600 x 640"):
        sheets.read(folder)


def test_a_folder_without_sheets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no \.webp sheet"):
        sheets.read(tmp_path)


def test_absent_or_truncated_labels_are_named(folder: Path) -> None:
    labels = folder / "labels.npy"
    labels.write_bytes(labels.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"labels\.npy is damaged"):
        sheets.read(folder)
    labels.unlink()
    with pytest.raises(DataError, match=r"labels\.npy is damaged .*No such file"):
        sheets.read(folder)
