"""A small checkout with committed results, and what is left of it after a fault.

Its one chapter reads `noted.txt`: with other words there, the run must be made anew and its record
differs. `committed` are the files that a repository would hold.
"""

import hashlib
import random
import re
from pathlib import Path

CHAPTER = "01_tiny"
# What a record says of its run that no two runs have in common.
_MEASURED = re.compile(rb'"(?:wall_seconds|peak_memory_mib)": [\d.]+')

TEXT = """\
# %% [markdown]
# # Tiny

# %% tags=["parameters"]
profile: str = "smoke"  # smoke | laptop | paper
seed: int = 0  # where the random numbers start
device: str = "auto"  # auto | cpu | cuda

# %%
import os
import time
from pathlib import Path

from robustkit import inputs, records

here = Path("..").resolve()
with (here / "runs" / "executed.txt").open("a") as file:
    file.write("once ")
words = here / "noted.txt"
inputs.note("noted", [words])
record = records.Record("01_tiny", dict(profile=profile, seed=seed, device=device))

# %%
# What happens in this cell is up to the test: nothing, or a sleep in which the run is killed.
(here / "runs" / "kernel.txt").write_text(str(os.getpid()))
if (here / "runs" / "asleep.txt").exists():
    time.sleep(120)
record.scalar("answer", len(words.read_text()), 0, 100)
record.table("curve", {"x": list(range(2000))})

# %%
record.finish()
"""


def make(root: Path) -> Path:
    """Write the checkout at `root`, a folder that is there, and return it."""
    for folder in ("notebooks", "book/claims", "book/results/laptop", "runs"):
        (root / folder).mkdir(parents=True)
    (root / "pyproject.toml").touch()
    (root / "noted.txt").write_text("first")
    (root / "notebooks" / f"{CHAPTER}.py").write_text(TEXT)
    (root / "book" / "results" / "laptop" / "02_other.json").write_text('{"schema": 1}\n')
    (root / "published.bin").write_bytes(b"weights" * 10_000)
    return root


def change(root: Path) -> None:
    """Make every run of before out of date, so that the next one computes other numbers."""
    (root / "noted.txt").write_text("second words")


def committed(root: Path) -> dict[str, str]:
    """Return the sha256 of every file by its path, but for those that git ignores, and `home`.

    Two runs that differ in time and memory alone have the same.
    """
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(
            _MEASURED.sub(b"", path.read_bytes())
        ).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
        and path.relative_to(root).parts[0] not in ("runs", "home")
        and path.suffix != ".part"
    }


def parts(root: Path) -> list[str]:
    """Name what a stopped write or run leaves: parts of files, and hidden folders of runs."""
    hidden = [path for path in (root / "runs").rglob(".*") if path.is_dir()]
    return sorted(str(path.relative_to(root)) for path in [*root.rglob("*.part"), *hidden])


def executions(root: Path) -> int:
    """Count how often the chapter began."""
    told = root / "runs" / "executed.txt"
    return len(told.read_text().split()) if told.exists() else 0


def draws(name: str, count: int, *, seed: int = 0) -> list[float]:
    """Return `count` numbers in [0, 1) that `name` and `seed` alone decide."""
    keyed = random.Random(f"{seed}/{name}")
    return [keyed.random() for _ in range(count)]
