"""Buttons that open a chapter on Colab or Binder, and one that leads to the repository.

They need a public repository: `ROBUSTKIT_REPOSITORY` in the environment of the build, or
`repository: {url: ...}` in `_config.yml`. Without an address there are none.
"""

import os
import re

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ConfigError

VARIABLE, BRANCH = "ROBUSTKIT_REPOSITORY", "ROBUSTKIT_BRANCH"
# What Jupyter Book fills in where `_config.yml` names no repository.
FILLED_IN = "https://github.com/executablebooks/jupyter-book"
SERVICES = {
    "colab_url": "https://colab.research.google.com",
    "binderhub_url": "https://mybinder.org",
    "notebook_interface": "jupyterlab",
}


def offer_buttons(app: Sphinx, config: Config) -> None:
    """Set the options of the theme (event `config-inited`).

    Raises `ConfigError` for an address that is not one of a repository on the web.
    """
    options = config.html_theme_options
    given = {key: value for key, value in options.pop("launch_buttons", {}).items() if value}
    configured, branch = (options.pop(f"repository_{what}", "") for what in ("url", "branch"))
    if configured == FILLED_IN:
        configured = branch = ""
    address = os.environ.get(VARIABLE, "") or configured
    if not address:
        options["use_repository_button"] = False
        return
    if not re.fullmatch(r"https://[\w.-]+(/[\w.-]+){2,}/?", address):
        raise ConfigError(
            f"{address!r} is not the address of a repository, such as https://github.com/name/"
            f"robustkit; mend {VARIABLE} or repository.url in _config.yml."
        )
    options["repository_url"] = address.rstrip("/")
    options["repository_branch"] = os.environ.get(BRANCH, "") or branch or "main"
    options["use_repository_button"] = True
    options["launch_buttons"] = SERVICES | given
