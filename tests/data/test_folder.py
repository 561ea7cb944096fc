"""Image folders: both layouts on generated images, then the real sample."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional

from robustkit import inputs
from robustkit.data import load
from robustkit.errors import DataError, InputError


def save(path: Path, value: int, size: tuple[int, int] = (6, 4), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value, value, value)).save(path)


@pytest.fixture
def by_class(tmp_path: Path) -> Path:
    """Classes `ant` (values 10, 11, 12) and `bee` (20), and files that are no images."""
    for name in ("c.png", "a.png", "b.png"):
        save(tmp_path / "ant" / name, {"a": 10, "b": 11, "c": 12}[name[0]])
    save(tmp_path / "bee" / "z.PNG", 20, mode="L")
    (tmp_path / "bee" / "notes.txt").write_text("not an image")
    (tmp_path / "bee" / "._z.png").write_text("left by a file system")
    (tmp_path / ".hidden").mkdir()
    return tmp_path


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Three images listed by a csv, in an order of its own; class index = TrueLabel - 1."""
    root = tmp_path / "sample"
    for name, value in {"p": 10, "q": 20, "r": 30, "unlisted": 40}.items():
        save(root / f"{name}.png", value)
    (root / "images.csv").write_text("ImageId,URL,TrueLabel\nr,x,3\np,x,1\nq,x,3\n")
    return root


def test_classes_are_sorted_and_images_come_in_turn(by_class: Path) -> None:
    dataset = load(f"imagefolder:{by_class}")
    assert dataset.classes == ("ant", "bee")
    assert dataset.images.shape == (4, 3, 4, 6)
    assert dataset.images.dtype == torch.uint8
    assert dataset.labels.tolist() == [0, 1, 0, 0]
    assert dataset.images[:, :, 0, 0].tolist() == [[v] * 3 for v in (10, 20, 11, 12)]


def test_a_limit_reads_no_more_images(by_class: Path) -> None:
    (by_class / "ant" / "c.png").write_text("damaged, but past the limit")
    dataset = load(f"imagefolder:{by_class}", limit=2)
    assert dataset.labels.tolist() == [0, 1]
    noted = inputs.noted()[f"data/imagefolder:{by_class.name}/test"]
    assert sorted(file.name for file in noted) == ["a.png", "z.PNG"]


def test_the_name_does_not_tell_where_the_folder_stands(by_class: Path) -> None:
    dataset = load(f"imagefolder:{by_class}")
    assert dataset.name == f"imagefolder:{by_class.name}"


def test_size_resizes_and_crops_as_torchvision_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = []
    for i, (height, width) in enumerate([(40, 61), (53, 31), (37, 37), (20, 90)]):
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        pictures.append(Image.fromarray(pixels))
        (tmp_path / "only").mkdir(exist_ok=True)
        pictures[-1].save(tmp_path / "only" / f"{i}.png")
    dataset = load(f"imagefolder:{tmp_path}", size=24)
    for picture, image in zip(pictures, dataset.images, strict=True):
        expected = functional.center_crop(functional.resize(picture, [24]), [24])
        assert torch.equal(image, functional.pil_to_tensor(expected))


def test_images_of_that_size_are_left_as_they_are(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    (tmp_path / "only").mkdir()
    Image.fromarray(pixels).save(tmp_path / "only" / "a.png")
    dataset = load(f"imagefolder:{tmp_path}", size=16)
    assert (dataset.images[0].permute(1, 2, 0).numpy() == pixels).all()


def test_different_sizes_ask_for_a_size(by_class: Path) -> None:
    save(by_class / "ant" / "b.png", 11, size=(5, 9))
    with pytest.raises(
        InputError, match=r"b\.png has 5 x 9 pixels but a\.png has 6 x 4; pass size"
    ):
        load(f"imagefolder:{by_class}")
    assert load(f"imagefolder:{by_class}", size=4).images.shape == (4, 3, 4, 4)


@pytest.mark.parametrize("damage", ["empty", "text", "truncated"])
def test_an_unreadable_image_is_named(by_class: Path, damage: str) -> None:
    victim = by_class / "ant" / "b.jpg"
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(victim)
    whole = victim.read_bytes()
    victim.write_bytes({"empty": b"", "text": b"hello", "truncated": whole[:-40]}[damage])
    with pytest.raises(DataError, match=r"b\.jpg cannot be read as an image"):
        load(f"imagefolder:{by_class}")


def test_an_empty_class_is_named(by_class: Path) -> None:
    (by_class / "cow").mkdir()
    with pytest.raises(DataError, match=r"class folder .*cow holds no image"):
        load(f"imagefolder:{by_class}")


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*absent"):
        load(f"imagefolder:{tmp_path / 'absent'}")


def test_a_folder_of_another_layout_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "alone.png", 1)
    with pytest.raises(DataError, match=r"neither one folder a class nor an images\.csv"):
        load(f"imagefolder:{tmp_path}")


def test_folders_called_train_and_val_are_splits(tmp_path: Path) -> None:
    save(tmp_path / "train" / "ant" / "a.png", 1)
    save(tmp_path / "val" / "ant" / "a.png", 2)
    assert load(f"imagefolder:{tmp_path}", "train").images[0, 0, 0, 0] == 1
    assert load(f"imagefolder:{tmp_path}", "test").images[0, 0, 0, 0] == 2


def test_a_split_that_is_absent_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "val" / "ant" / "a.png", 2)
    with pytest.raises(DataError, match="has no 'train' split, only val"):
        load(f"imagefolder:{tmp_path}", "train")


def test_a_csv_gives_order_and_labels(flat: Path) -> None:
    dataset = load(f"imagefolder:{flat}")
    assert dataset.images[:, 0, 0, 0].tolist() == [30, 10, 20]
    assert dataset.labels.tolist() == [2, 0, 2]
    assert dataset.classes == ("0", "1", "2")


@pytest.mark.parametrize("beside", [False, True])
def test_class_names_come_from_the_list_nearby(flat: Path, beside: bool) -> None:
    names = [[0, "n0", "tench"], [1, "n1", "<b>goldfish</b>"], [2, "n2", "shark"]]
    place = flat if beside else flat.parent
    (place / "imagenet_classes.json").write_text(json.dumps(names))
    dataset = load(f"imagefolder:{flat}", limit=1)
    assert dataset.classes == ("tench", "<b>goldfish</b>", "shark")
    noted = inputs.noted()["data/imagefolder:sample/test"]
    assert {file.name for file in noted} == {"r.png", "images.csv", "imagenet_classes.json"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a list of"),
        ("[[0, 1]]", "is not a list of"),
        ("3", "is not a list of"),
        ('[[1, "n1", "a"]]', "is not a list of"),
        ('[[0, "n0", "tench"]]', "names 1 classes, the labels need 3"),
    ],
)
def test_a_bad_list_of_class_names_is_refused(flat: Path, content: str, message: str) -> None:
    (flat / "imagenet_classes.json").write_text(content)
    with pytest.raises(DataError, match=f"imagenet_classes.json {message}"):
        load(f"imagefolder:{flat}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ImageId,Label\np,1\n", "no column or no image file called 'TrueLabel'"),
        ("ImageId,TrueLabel\nabsent,1\n", "no column or no image file called 'absent'"),
        ("ImageId,TrueLabel\n../secret,1\n", "no column or no image file called '../secret'"),
        ("ImageId,TrueLabel\np,1\nq,cat\n", "line 3: invalid literal"),
        ("ImageId,TrueLabel\np,0\n", "line 2: TrueLabel counts from 1"),
        ("ImageId,TrueLabel\np\n", "line 2: "),
        ("ImageId,TrueLabel\n", "lists no image"),
        ("", "lists no image"),
    ],
)
def test_a_bad_csv_is_refused(flat: Path, content: str, message: str) -> None:
    (flat / "images.csv").write_text(content)
    with pytest.raises(DataError, match=r"images\.csv.*" + message):
        load(f"imagefolder:{flat}")


def test_the_real_sample_carries_imagenet_labels(real_data: Path) -> None:
    dataset = load(f"imagefolder:{real_data / 'nips17'}", limit=6, size=128)
    assert dataset.images.shape == (6, 3, 128, 128)
    assert len(dataset.classes) == 1000
    assert dataset.name == "imagefolder:nips17"
    assert dataset.labels[:2].tolist() == [305, 883]
    assert dataset.classes[305] == "dung_beetle"
    assert dataset.classes[883] == "vase"
