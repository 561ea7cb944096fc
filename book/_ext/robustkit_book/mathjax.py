"""MathJax from our own folder: the part of the installed copy that a page can ask for."""

import filecmp
import shutil
from importlib.util import find_spec
from pathlib import Path

# One bundle (TeX in, HTML with fonts out), its fonts, and the TeX extensions it loads by name.
# The whole distribution is six times as large.
NEEDED = ("tex-chtml.js", "output/chtml/fonts/woff-v2/*.woff", "input/tex/extensions/*.js")


def distribution() -> Path:
    """Return the folder of the MathJax that the package `sphinx-mathjax-offline` carries."""
    found = find_spec("sphinx-mathjax-offline")
    if found is None or found.origin is None:
        raise FileNotFoundError(
            "MathJax is not installed: `pip install sphinx-mathjax-offline`, or robustkit[book]."
        )
    return Path(found.origin).parent / "static" / "mathjax"


def copy(target: Path) -> list[Path]:
    """Bring `target` up to date with the needed files and return their paths inside it."""
    source = distribution()
    copied = []
    for pattern in NEEDED:
        files = sorted(source.glob(pattern))
        if not files:
            raise FileNotFoundError(f"the installed MathJax has no {pattern}: is it version 3?")
        for file in files:
            relative = file.relative_to(source)
            placed = target / relative
            if not (placed.is_file() and filecmp.cmp(file, placed, shallow=False)):
                placed.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, placed)
            copied.append(relative)
    return copied
