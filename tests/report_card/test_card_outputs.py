"""Class folders and outputs: by order, by their names, by a file, and what is refused."""

import json

import pytest
import torch
from card_toys import constant
from PIL import Image

from robustkit import inputs
from robustkit.errors import InputError
from robustkit.report_card.outputs import fitted
from robustkit.report_card.sources import load_images


def folders(root, *names):
    """One image a class, at the level of its place among the names."""
    for place, name in enumerate(names):
        (root / "pets" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4), (place, 0, 0)).save(root / "pets" / name / "a.png")
    return str(root / "pets")


def network(outputs):
    return {"mine": constant(0, outputs, 48)}


def labels_of(images):
    """The label of each image, in the order of `folders`."""
    order = images.images[:, 0, 0, 0].argsort()
    return images.labels[order].tolist()


def test_as_many_folders_as_outputs_are_outputs_in_their_order(tmp_path):
    images = load_images(folders(tmp_path, "dog", "cat", "eel"))
    found = fitted(images, network(3))
    assert labels_of(found) == [1, 0, 2]
    assert found.classes == ("cat", "dog", "eel")


@pytest.mark.parametrize("outputs", [2, 4, 1000])
def test_another_number_of_outputs_is_refused(tmp_path, outputs):
    images = load_images(folders(tmp_path, "dog", "cat", "eel"))
    with pytest.raises(InputError, match=rf"3 class folders and the network {outputs} outputs.*--"):
        fitted(images, network(outputs))


def test_folders_that_are_numbers_are_the_outputs_of_these_numbers(tmp_path):
    images = load_images(folders(tmp_path, "10", "9", "007"))
    found = fitted(images, network(12))
    assert labels_of(found) == [10, 9, 7]
    assert len(found.classes) == 12
    assert [found.classes[label] for label in (7, 8, 9, 10)] == ["007", "8", "9", "10"]
    assert "3 of the 12 classes of the network" in found.read


def test_numbers_go_before_the_order_of_names(tmp_path):
    names = [str(number) for number in range(11)]
    found = fitted(load_images(folders(tmp_path, *names)), network(11))
    assert labels_of(found) == list(range(11))
    assert found.classes == tuple(names)
    assert found.read == ""


def test_a_number_that_is_no_output_is_refused(tmp_path):
    with pytest.raises(InputError, match="3 stands for output 3, and the network has outputs 0 to"):
        fitted(load_images(folders(tmp_path, "1", "2", "3")), network(3))


def test_two_folders_of_one_number_are_refused(tmp_path):
    with pytest.raises(InputError, match="01 and 1 both stand for output 1"):
        load_images(folders(tmp_path, "1", "01"))


@pytest.mark.parametrize("ending", ["yml", "json"])
def test_a_file_maps_folders_to_outputs(tmp_path, ending):
    file = tmp_path / f"outputs.{ending}"
    mapping = {"dog": 2, "cat": 5, "7": 0, "whale": 5}
    text = "dog: 2\ncat: 5\n7: 0\nwhale: 5\n" if ending == "yml" else json.dumps(mapping)
    file.write_text(text)
    found = fitted(load_images(folders(tmp_path, "dog", "cat", "7"), outputs=str(file)), network(6))
    assert labels_of(found) == [2, 5, 0]
    assert found.classes == ("7", "1", "dog", "3", "4", "cat")
    assert inputs.noted()[f"outputs/{file.name}"] == [file.resolve()]
    with pytest.raises(InputError, match="cat stands for output 5, and the network has outputs 0"):
        fitted(load_images(str(tmp_path / "pets"), outputs=str(file)), network(5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dog: 1", r"says no output for 1 class folders \(cat\)"),
        ("dog: 1\ncat: 1", "cat and dog both stand for output 1"),
        ("dog: 1\ncat: -1", "output of cat must be a whole number of at least 0, got -1"),
        ("dog: 1\ncat: two", "output of cat must be a whole number"),
        ("dog: 1\ncat: true", "output of cat must be a whole number"),
        ("- dog\n- cat", "is no mapping"),
        ("", "is no mapping"),
        ("dog: [", "cannot be read"),
        ("!!python/object/apply:os.getcwd []", "cannot be read"),
    ],
)
def test_a_file_that_is_no_such_mapping_is_refused(tmp_path, text, message):
    file = tmp_path / "outputs.yml"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        load_images(folders(tmp_path, "dog", "cat"), outputs=str(file))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"absent\.yml cannot be read"):
        load_images(folders(tmp_path, "dog", "cat"), outputs=str(tmp_path / "absent.yml"))


def test_a_known_dataset_says_its_own_labels(tmp_path):
    images = load_images("digits", limit=3)
    found = fitted(images, {"mine": constant(0, 12, 64)})
    assert torch.equal(found.labels, images.labels)
    with pytest.raises(InputError, match="classes of digits are no folders"):
        load_images("digits", outputs=str(tmp_path / "outputs.yml"))


def test_the_labels_of_a_csv_are_outputs_as_they_are(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "p.png")
    (tmp_path / "images.csv").write_text("ImageId,TrueLabel\np,3\n")
    assert fitted(load_images(str(tmp_path)), network(9)).labels.tolist() == [2]


def test_models_that_differ_in_their_outputs_are_refused(tmp_path):
    images = load_images(folders(tmp_path, "dog", "cat"))
    with pytest.raises(InputError, match="different numbers of classes"):
        fitted(images, {"a": constant(0, 2, 48), "b": constant(0, 3, 48)})
