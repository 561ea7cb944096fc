"""The checkout: where the chapters, the book and the runs are."""

from pathlib import Path

from robustkit.errors import InputError, unknown

PROFILES = ("smoke", "laptop", "paper")


def _is_root(folder: Path) -> bool:
    return (
        (folder / "pyproject.toml").is_file()
        and (folder / "notebooks").is_dir()
        and (folder / "book").is_dir()
    )


def root() -> Path:
    """Return the checkout: the nearest folder above the working folder, else above the package.

    Raises `InputError` outside a checkout, where there are no chapters to run.
    """
    here, package = Path.cwd(), Path(__file__).resolve().parent
    for folder in (here, *here.parents, *package.parents):
        if _is_root(folder):
            return folder
    raise InputError(
        f"{here} is not in a robustkit checkout (a folder with pyproject.toml, notebooks/ and "
        "book/). Clone the repository and change to it: chapters and claims come with the "
        "repository, not with the installed package."
    )


def chapters() -> list[str]:
    """Return the names of the chapters, in the order of the book."""
    return sorted(path.stem for path in (root() / "notebooks").glob("[0-9][0-9]_*.py"))


def chapter(name: str) -> str:
    """Return the full name of a chapter given as "01_preliminaries", "01" or "1".

    Raises `UnknownNameError` with the near match.
    """
    known = chapters()
    if name in known:
        return name
    numbered = [full for full in known if name.isdecimal() and int(full[:2]) == int(name)]
    if len(numbered) == 1:
        return numbered[0]
    raise unknown("chapter", name, known)


def text_path(chapter: str) -> Path:
    """Return the text notebook of a chapter, the file that is edited."""
    return root() / "notebooks" / f"{chapter}.py"


def notebook_path(chapter: str) -> Path:
    """Return the executed notebook of a chapter, the pair of its text."""
    return root() / "notebooks" / f"{chapter}.ipynb"


def results_path(chapter: str, profile: str) -> Path:
    """Return where the committed record of a chapter at the laptop or paper profile lies."""
    return root() / "book" / "results" / profile / f"{chapter}.json"
