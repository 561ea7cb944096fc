"""The directive `{places}`: the tables and figures of the papers, and the rows that answer them."""

from docutils import nodes

from robustkit import claims
from robustkit.errors import RobustkitError

from . import coverage
from .live import mark_live
from .scoreboard import Scoreboard, boxed, link, table, verdict

REMARKS = {"found": "", "recalled": "By recollection. ", "unread": "Not read. "}


class Places(Scoreboard):
    """One table a chapter with coverage: what each place shows, and links to its rows."""

    option_spec = None

    def run(self) -> list[nodes.Node]:
        mark_live(self.env)
        try:
            rows = {(row.claim.chapter, row.claim.id): row for row in coverage.scoreboard()}
            return [
                self.places(name, {own: row for (where, own), row in rows.items() if where == name})
                for name in coverage.chapters()
            ]
        except RobustkitError as error:
            raise self.error(f"places: {error}") from error

    def places(self, name: str, rows: dict[str, claims.ScoreRow]) -> nodes.container:
        """Return the table of the places that one chapter answers."""
        found = coverage.load(name)
        lines = [("", self.place_cells(place, rows)) for place in found.places]
        caption = [nodes.Text("Behind "), *self.chapter_link(name), nodes.Text(f". {found.note}")]
        headings = [[nodes.Text(text)] for text in ("table or figure", "shows", "rows above")]
        return boxed(f"places-{name}", table("scoreboard places", caption, headings, lines))

    def place_cells(
        self, place: coverage.Place, rows: dict[str, claims.ScoreRow]
    ) -> list[list[nodes.Node]]:
        """Return the cells of a place: where, what is there, each row with its verdict."""
        remark = REMARKS[place.known] + (f"Left out: {place.leaves}." if place.leaves else "")
        work = self.markdown(f"{{cite:t}}`{place.source.key}`")
        shows: list[nodes.Node] = [nodes.Text(place.shows)]
        if remark:
            shows += [nodes.Text(" "), nodes.inline("", remark.strip(), classes=["place"])]
        answers: list[nodes.Node] = []
        for name in place.rows:
            row = rows[name]
            line = nodes.inline("", "", classes=["measured"])
            line += link(f"#claim-{name}", row.claim.statement.rstrip("."))
            line += [nodes.Text(" "), verdict(row.overall.status)]
            answers.append(line)
        return [[*work, nodes.Text(f", {place.source.where}")], shows, answers]
