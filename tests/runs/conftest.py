"""A tiny checkout with one chapter, in which real runs take about a second."""

from pathlib import Path

import pytest

PARAMETERS = """\
# %% tags=["parameters"]
profile: str = "smoke"  # smoke | laptop | paper
seed: int = 0  # where the random numbers start
device: str = "auto"  # auto | cpu | cuda
scale: float = 1.0  # factor of the answer
"""

# Each execution leaves a line in executed.txt; what `noted.txt` holds is an input of the run.
WORK = """\
# %%
from pathlib import Path

from robustkit import inputs, records

with Path("../executed.txt").open("a") as file:
    file.write(f"{seed}\\n")
inputs.note("noted", [Path("../noted.txt").resolve()])
record = records.Record(
    "01_tiny", dict(profile=profile, seed=seed, device=device, scale=scale)
)
record.scalar("answer", 42 * scale + seed, 41, 44, count=10)
record.table("curve", {"x": [0, 1], "a": [float("nan"), float("inf")]})
"""

FINISH = """\
# %%
record.finish()
"""


class Checkout:
    """The folder of a checkout, and what its chapter did."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.text = folder / "notebooks" / "01_tiny.py"
        self.notebook = folder / "notebooks" / "01_tiny.ipynb"
        self.claims = folder / "book" / "claims" / "01_tiny.yml"

    def write(self, middle: str = "") -> None:
        """Write the chapter, with cells between its work and its end."""
        cells = ["# %% [markdown]\n# # Tiny\n", PARAMETERS, WORK, middle, FINISH]
        self.text.write_text("\n".join(cells))

    def executions(self) -> int:
        """Count how often the chapter was executed."""
        executed = self.folder / "executed.txt"
        return len(executed.read_text().splitlines()) if executed.exists() else 0

    def leftovers(self) -> list[str]:
        """Name the files that a stopped run must not leave: temporary folders and parts."""
        found = [*(self.folder / "runs").rglob(".*"), *self.folder.rglob("*.part")]
        return [str(path) for path in found]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """A checkout whose chapter 01_tiny is ready to run; the working folder is there."""
    for folder in ("notebooks", "book/claims"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "noted.txt").write_text("first")
    made = Checkout(tmp_path)
    made.write()
    monkeypatch.chdir(tmp_path)
    return made
