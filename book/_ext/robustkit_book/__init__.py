"""What the book adds to Sphinx: numbers of records in the text, the scoreboard, the tolerances of
corruptions, the costs of a protocol, the block on how a page was made, figures for both colour
schemes, MathJax from our own folder, and a last pass over the HTML."""

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from robustkit.plots import DARK

from . import (
    costs,
    live,
    mathjax,
    parity,
    polish,
    provenance,
    scoreboard,
    signatures,
    values,
    works,
)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register everything (called by Sphinx)."""
    app.add_role("value", values.ValueRole())
    app.add_directive("scoreboard", scoreboard.Scoreboard)
    app.add_directive("parity", parity.Parity)
    app.add_directive("costs", costs.Costs)
    app.connect("env-get-outdated", live.outdated)
    app.connect("doctree-read", provenance.append_block)
    app.connect("autodoc-process-signature", signatures.from_source)
    app.connect("build-finished", finish)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def finish(app: Sphinx, error: Exception | None) -> None:
    """Complete the site once its pages are written."""
    if error is not None or app.builder.format != "html":
        return
    site = Path(app.outdir)
    mathjax.copy(site / "_static" / "mathjax")
    provenance.copy_records(site)
    polish.polish(site, DARK, works.cited(app))
