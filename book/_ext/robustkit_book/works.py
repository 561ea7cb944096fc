"""The works of the bibliography: how the text names each and where its entry is."""

from dataclasses import dataclass

from sphinx.application import Sphinx


@dataclass(frozen=True)
class Work:
    """One entry: its name in the text (authors and year) and its address from the root."""

    label: str
    address: str


def cited(app: Sphinx) -> dict[str, Work]:
    """Return the entries of the bibliography by key."""
    found = {}
    for citation in app.env.get_domain("cite").citations:
        names = [" ".join(person.last_names) for person in citation.entry.persons["author"]]
        page = app.builder.get_target_uri(citation.bibliography_key.docname)
        label = f"{authors(names)} ({citation.entry.fields['year']})"
        found[citation.key] = Work(label, f"{page}#{citation.citation_id}")
    return found


def authors(names: list[str]) -> str:
    """Return one name, two names, or the first and the rest in short."""
    return f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
