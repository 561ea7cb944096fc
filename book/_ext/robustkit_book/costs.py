"""The directive `{costs}`: what the full protocol costs, from the rates of committed records."""

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from robustkit import costs
from robustkit.errors import RobustkitError

from .live import mark_live
from .scoreboard import table


class Costs(SphinxDirective):
    """One table: a row for each work of `book/costs.yml`."""

    def run(self) -> list[nodes.Node]:
        mark_live(self.env)
        try:
            rows = costs.table()
        except RobustkitError as error:
            raise self.error(f"costs: {error}") from error
        caption = [nodes.Text("What the full ImageNet protocol costs, at the rates measured.")]
        headings = [[nodes.Text(text)] for text in costs.HEADINGS]
        lines = [("", [[nodes.Text(cell)] for cell in row]) for row in rows]
        return [table("costs", caption, headings, lines)]
