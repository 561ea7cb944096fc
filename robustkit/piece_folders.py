"""Where the pieces of a run lie, so that it goes on after an interruption and splits into shards.

They lie in the folder of the run that is not split, `runs/<chapter>/<prekey>/pieces/`: those of
shard 2 of 8 in `2-of-8/`, those of a run on its own in `0-of-1/`, and what all shards share in
`once/`. A run tells its kernel by two environment variables.
"""

import hashlib
import os
import re
import shutil
from pathlib import Path

FOLDER = "ROBUSTKIT_PIECES"
COLLECTED = "ROBUSTKIT_COLLECTED_SHARDS"
ONCE = "once"


def folder() -> Path | None:
    """Return the folder of the pieces of this process, or None where no run was started."""
    given = os.environ.get(FOLDER)
    return Path(given) if given else None


def collected() -> int:
    """Return of how many shards this process collects the pieces; 0 where it makes its own."""
    return int(os.environ.get(COLLECTED, "0"))


def of_shard(shard: int, shards: int) -> str:
    """Return the name of the folder of one shard's pieces."""
    return f"{shard}-of-{shards}"


def file_name(name: str, block: int | None = None) -> str:
    """Return the name of the file of a piece, the same for the same name on every machine."""
    readable = re.sub(r"[^\w.-]+", "-", name)[:80]
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    place = "" if block is None else f"-{block:05d}"
    return f"{readable}-{digest}{place}.safetensors"


def begin(pieces: Path, shard: int, shards: int) -> None:
    """Make the folder of one shard: what shards share is in use from now on."""
    (pieces / of_shard(shard, shards)).mkdir(parents=True, exist_ok=True)


def clear(pieces: Path, shard: int, shards: int) -> None:
    """Remove the pieces of one shard, and what shards share if no other shard has pieces."""
    shutil.rmtree(pieces / of_shard(shard, shards), ignore_errors=True)
    if not any(pieces.glob("*-of-*")):
        shutil.rmtree(pieces, ignore_errors=True)
