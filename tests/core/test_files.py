"""Files are whole or absent; a download is the expected bytes or an error with the way out."""

import hashlib
from pathlib import Path

import pytest

from robustkit import files, inputs
from robustkit.errors import DataError

CONTENT = b"weights" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBUSTKIT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ROBUSTKIT_OFFLINE", raising=False)


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    target = tmp_path / "record.json"
    files.write_atomic(target, "old")
    with pytest.raises(KeyboardInterrupt), files.atomic_path(target) as temporary:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert parts(tmp_path) == ["record.json"]


def test_a_download_delivers_the_expected_bytes_from_the_first_address_that_has_them(
    tmp_path: Path,
):
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(CONTENT)
    bad.write_bytes(b"<html>quota exceeded</html>")
    target = tmp_path / "home" / "weights" / "w"
    urls = [(tmp_path / "absent").as_uri(), bad.as_uri(), good.as_uri()]
    assert files.download(urls, target, DIGEST, what="weights w").read_bytes() == CONTENT
    assert parts(target.parent) == ["w"]


def test_wrong_bytes_are_never_kept(tmp_path: Path):
    bad = tmp_path / "bad"
    bad.write_bytes(CONTENT[:-1])
    target = tmp_path / "home" / "w"
    with pytest.raises(DataError, match="by hand") as caught:
        files.download([bad.as_uri()], target, DIGEST, what="weights w")
    assert str(target) in str(caught.value)
    assert DIGEST in str(caught.value)
    assert not target.exists()


def test_offline_names_the_path_to_fill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ROBUSTKIT_OFFLINE", "1")
    with pytest.raises(DataError, match="ROBUSTKIT_OFFLINE is set"):
        files.download(["https://example.org/w"], tmp_path / "w", DIGEST, what="weights w")


def test_a_damaged_file_in_place_is_reported_not_used(tmp_path: Path):
    target = tmp_path / "w"
    target.write_bytes(CONTENT[:10])
    with pytest.raises(DataError, match="Delete it and fetch it again"):
        files.download([], target, DIGEST, what="weights w")


def test_inputs_know_what_was_read(tmp_path: Path):
    source = tmp_path / "a.bin"
    source.write_bytes(CONTENT)
    inputs.note("data/a", [source])
    noted = inputs.noted()
    assert noted["data/a"] == [source]
    assert "robustkit/inputs.py" in noted
    before = inputs.digest([source])
    source.write_bytes(CONTENT[:-1])
    assert inputs.digest([source]) != before
    assert inputs.digest([tmp_path / "gone"]) != before
