"""The guard over prose: a number in a sentence comes from a record or a claim, never from a hand.

What may stay as digits: code, mathematics, roles and citations, link targets, the places of
another work ("Table 2"), list markers, and digits that are part of a name (ResNet-20, CIFAR-10).
"""

import re
from typing import Any

_NOT_PROSE = ("math", "code", "code-block", "code-cell", "literalinclude", "figure", "image")
_FENCE = re.compile(r"^(?P<fence>`{3,}|~{3,}|:{3,})(?:\{(?P<name>[\w:-]+)\})?")
_DROPPED = re.compile(
    r"""
      \$\$.*?\$\$ (?:\s*\(eq-[\w-]+\))?           # display mathematics and its label
    | \\begin\{(\w+\*?)\}.*?\\end\{\1\}           # display environments
    | (?<!\\)\$(?:\\.|[^$\\])+\$                  # inline mathematics
    | \{[\w:+-]+\}(`+).+?\2                       # roles, citations
    | (`+).+?\3                                   # code
    | <!--.*?-->  | <[^>\s][^>]*>                 # comments, tags, addresses
    | \]\([^)]*\) | ^\[[^\]]+\]:.*?$              # link targets, reference definitions
    | \[\^[\w-]+\]                                # footnotes
    | \bhttps?://\S+
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
_MARKER = re.compile(r"^\s*(?:\#+\s*)?(?:\d+(?:\.\d+)*[.)]|\(\w+\)=)(?=\s|$)", re.MULTILINE)
_PLACE = re.compile(
    r"\b(?:sections?|sec\.|chapters?|appendix|appendices|tables?|figures?|figs?\.|equations?|"
    r"eqs?\.|algorithms?|theorems?|propositions?|lemmas?|pages?|version)\s+"
    r"[A-Z]?\d[\w.]*(?:(?:,\s*|\s+(?:and|to)\s+|–|-)[A-Z]?\d[\w.]*)*",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"(?<![\w^_])(?<![A-Za-z][-–./])[-+±−]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?%?(?![\w-])"
)


def unexplained_numbers(notebook: Any) -> list[str]:
    """No number stands in prose by itself."""
    return [
        f"cell {position} has the number {number!r} in its prose"
        for position, cell in enumerate(notebook.cells, 1)
        if cell.cell_type == "markdown"
        for number in numbers(cell.source)
    ]


def numbers(markdown: str) -> list[str]:
    """Return the numbers of the prose of a markdown text."""
    text = _DROPPED.sub(" ", _without_fences(markdown))
    text = _PLACE.sub(" ", _MARKER.sub("", text))
    return _NUMBER.findall(text)


def _without_fences(markdown: str) -> str:
    # Prose in a directive (a note, an exercise) is prose; its options and other blocks are not.
    kept: list[str] = []
    closing: list[tuple[str, bool]] = []
    options = False
    for line in markdown.splitlines():
        stripped = line.strip()
        fence = _FENCE.match(stripped)
        if closing and stripped.startswith(closing[-1][0]) and not stripped.strip("`~:"):
            closing.pop()
        elif fence and not (closing and not closing[-1][1]):
            name = fence["name"]
            closing.append((fence["fence"], name is not None and name not in _NOT_PROSE))
            options = True
        elif not closing or closing[-1][1]:
            options = options and bool(re.match(r":[\w-]+:", stripped))
            if not options:
                kept.append(line)
    return "\n".join(kept)
