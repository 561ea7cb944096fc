"""One HTML page from the record of a card: nothing to fetch, nothing to run, every text escaped."""

from html import escape

import matplotlib as mpl

from robustkit import plots
from robustkit.errors import InputError
from robustkit.report_card import sections
from robustkit.report_card.axis_page import axis_section
from robustkit.report_card.markup import Record, rows
from robustkit.report_card.style import STYLE

# No script, no connection, no form: a name from a data set cannot make the page do anything.
_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; "
    "base-uri 'none'"
)


def page(record: Record) -> str:
    """Return the page of a record that `add_to_record` filled, as the text of an HTML file.

    It holds its pictures, asks for nothing elsewhere and follows the light or dark colours of the
    reader's device. Raises `InputError` for a record without a card.
    """
    if not {"networks", "axes", "numbers"} <= {*record["tables"]}:
        raise InputError("the record holds no report card; robustkit report makes one.")
    names = [str(row["network"]) for row in rows(record, "networks")]
    axes = dict.fromkeys(str(row["axis"]) for row in rows(record, "axes"))
    title = f"Report card: {' and '.join(names)}"
    # The style of the figures is for this page alone.
    with mpl.rc_context():
        plots.setup()
        drawn = [part for axis in axes for part in axis_section(record, axis)]
    parts = [
        *sections.head(record, title),
        *sections.summary(record),
        *sections.comparison(record),
        *drawn,
        *sections.samples(record),
        *sections.provenance(record),
    ]
    body = "\n".join(parts)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY, quote=True)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""
