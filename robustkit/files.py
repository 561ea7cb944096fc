"""Files that are whole or absent: the cache folder, atomic writes, checked downloads."""

import hashlib
import os
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from http.client import HTTPException
from pathlib import Path
from tempfile import NamedTemporaryFile

from robustkit.errors import DataError
from robustkit.progress import progress

_ABANDONED = 24 * 3600.0


def home() -> Path:
    """Return the folder of datasets and weights: `ROBUSTKIT_HOME`, else the user's cache."""
    given = os.environ.get("ROBUSTKIT_HOME")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "robustkit"


def offline() -> bool:
    """Tell whether `ROBUSTKIT_OFFLINE` forbids downloads."""
    return os.environ.get("ROBUSTKIT_OFFLINE", "").lower() not in {"", "0", "false", "no"}


def sha256(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder that replaces `path` only if the block succeeds.

    What killed processes left of earlier attempts is removed once it is a day old.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for part in path.parent.glob(f".{escape(path.name)}.*.part"):
        # Another process may be writing a younger one, or remove this one first.
        with suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > _ABANDONED:
                part.unlink()
    with NamedTemporaryFile(
        dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False
    ) as file:
        temporary = Path(file.name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a whole file or leave the old one as it was."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def check_sha256(path: Path, expected: str, *, what: str) -> None:
    """Refuse a file whose sha256 is not `expected`.

    Raises `DataError` that names the file, both hashes and what to do.
    """
    found = sha256(path)
    if found != expected:
        raise DataError(
            f"{what}: {path} is damaged or another version (sha256 {found}, expected {expected}). "
            "Delete it and fetch it again."
        )


def download(urls: list[str], path: Path, expected: str, *, what: str) -> Path:
    """Return `path`, fetched from the first of `urls` that delivers bytes of the expected sha256.

    A file that is already there is checked, not fetched. Raises `DataError` when offline, when no
    address answers or when the bytes are not the expected ones; the message gives the addresses
    and the path at which to place the file by hand.
    """
    if path.exists():
        check_sha256(path, expected, what=what)
        return path
    manual = (
        f"Fetch {' or '.join(urls)} by hand and place it at {path} (sha256 {expected}), or set "
        "ROBUSTKIT_HOME to a folder that has it."
    )
    if offline():
        raise DataError(f"{what} is not in {home()} and ROBUSTKIT_OFFLINE is set. {manual}")
    reasons = []
    for url in urls:
        try:
            with atomic_path(path) as temporary:
                _fetch(url, temporary, what)
                check_sha256(temporary, expected, what=what)
            return path
        except (OSError, HTTPException, DataError) as error:
            reasons.append(f"{url}: {error}")
    raise DataError(f"{what} could not be fetched ({'; '.join(reasons)}). {manual}")


def _fetch(url: str, target: Path, what: str) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "robustkit"})
    with urllib.request.urlopen(request, timeout=60) as answer, target.open("wb") as file:
        size = int(answer.headers.get("Content-Length") or 0)
        with progress(size, what, unit="byte") as bar:
            while block := answer.read(1 << 20):
                file.write(block)
                bar.update(len(block))
