"""Pages that show records or claims: read again at each build, since those files are not theirs."""

from collections.abc import Iterable

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def mark_live(env: BuildEnvironment) -> None:
    """Remember that the page being read shows something of a record or a claims file."""
    env.metadata[env.docname]["robustkit_live"] = True


def outdated(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> Iterable[str]:
    """Name the pages to read again (event `env-get-outdated`)."""
    return [page for page, kept in env.metadata.items() if "robustkit_live" in kept]
