"""What the book adds to Sphinx: numbers and tables of records, the scoreboard and its links to the
cells that record, tolerances, costs, speed and run times, the block on how a page was made, the
foot of each figure, figures for both colour schemes, buttons that open a notebook elsewhere,
MathJax from our own folder, and a last pass over the HTML."""

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from robustkit.plots import DARK

from . import (
    costs,
    feet,
    launch,
    live,
    mathjax,
    parity,
    places,
    polish,
    provenance,
    record_table,
    recorded,
    run_times,
    scoreboard,
    signatures,
    speed,
    speed_page,
    values,
    works,
)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register everything (called by Sphinx)."""
    app.add_role("value", values.ValueRole())
    app.add_directive("record-table", record_table.RecordTable)
    app.add_directive("scoreboard", scoreboard.Scoreboard)
    app.add_directive("places", places.Places)
    app.add_directive("parity", parity.Parity)
    app.add_directive("costs", costs.Costs)
    app.add_directive("speed-goals", speed_page.SpeedGoals)
    app.add_directive("speed-table", speed_page.SpeedTable)
    app.add_directive("speed-made", speed_page.SpeedMade)
    app.add_directive("run-times", run_times.RunTimes)
    app.add_directive("environment", run_times.Environment)
    app.connect("config-inited", launch.offer_buttons)
    app.connect("env-get-outdated", live.outdated)
    app.connect("doctree-read", provenance.append_block)
    app.connect("doctree-read", recorded.mark_cells)
    app.connect("doctree-read", feet.add_feet)
    app.connect("html-page-context", add_filter)
    app.connect("autodoc-process-signature", signatures.from_source)
    app.connect("build-finished", finish)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def add_filter(app: Sphinx, page: str, template: str, context: Any, document: Any) -> None:
    """Let the scoreboard, and no other page, load its script (event `html-page-context`)."""
    if page == scoreboard.PAGE:
        app.add_js_file("scoreboard.js")


def finish(app: Sphinx, error: Exception | None) -> None:
    """Complete the site once its pages are written."""
    if error is not None or app.builder.format != "html":
        return
    site = Path(app.outdir)
    mathjax.copy(site / "_static" / "mathjax")
    provenance.copy_records(site)
    speed.copy_records(site)
    polish.polish(site, DARK, works.cited(app))
