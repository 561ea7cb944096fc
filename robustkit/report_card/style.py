"""How a card looks: one style sheet for light and dark pages, screens and paper."""

from robustkit.plots import DARK, FAINT, INK, PAPER

_LIGHT = {"ink": INK, "paper": PAPER, "faint": FAINT, "line": "#d0d7de", "tint": "#f3f5f8"}
_DARK = {
    "ink": DARK[INK],
    "paper": DARK[PAPER],
    "faint": DARK[FAINT],
    "line": "#3a424d",
    "tint": "#1d232b",
}


def _variables(colours: dict[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


STYLE = f"""
:root {{ color-scheme: light dark; {_variables(_LIGHT)} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_variables(_DARK)} }} }}
@media print {{ :root {{ color-scheme: light; {_variables(_LIGHT)} }} }}
* {{ box-sizing: border-box; }}
body {{ background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif;
  margin: 0 auto; max-width: 60rem; overflow-wrap: anywhere; padding: 1.5rem 1rem 4rem; }}
h1 {{ font-size: 1.7rem; line-height: 1.2; margin: 0 0 0.5rem; }}
h2 {{ border-top: 1px solid var(--line); font-size: 1.25rem; margin: 2.5rem 0 0.5rem;
  padding-top: 1.2rem; }}
h3 {{ font-size: 1rem; margin: 1.4rem 0 0.4rem; }}
p {{ margin: 0.4rem 0; max-width: 46rem; }}
a {{ color: inherit; }}
small, .method, figcaption, caption {{ color: var(--faint); }}
small, figcaption, caption {{ font-size: 0.85rem; }}
.reading {{ font-size: 1.05rem; }}
.caution {{ background: var(--tint); border-left: 4px solid #b35900; padding: 0.6rem 0.9rem; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: 0.9rem; margin: 0.6rem 0;
  overflow-wrap: normal; }}
caption {{ max-width: calc(100vw - 2rem); padding: 0.2rem 0; text-align: left; }}
th, td {{ border-bottom: 1px solid var(--line); padding: 0.3rem 0.8rem 0.3rem 0; text-align: left;
  vertical-align: top; }}
td.number {{ font-variant-numeric: tabular-nums; white-space: pre; }}
figure {{ margin: 1rem 0; }}
figure img.drawing {{ height: auto; max-width: 100%; }}
ul.examples {{ display: flex; flex-wrap: wrap; gap: 0.8rem; list-style: none; margin: 0;
  padding: 0; }}
ul.examples li {{ background: var(--tint); font-size: 0.8rem; padding: 0.5rem; width: 15.5rem; }}
ul.examples img {{ height: 7rem; image-rendering: pixelated; max-width: 7rem; object-fit: contain;
  width: 7rem; }}
summary {{ cursor: pointer; }}
@media print {{ h2 {{ break-after: avoid; }} figure, li {{ break-inside: avoid; }} }}
"""
