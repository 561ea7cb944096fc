"""The command `robustkit`: build the book, run and collect chapters, fetch data, judge claims.

Exit codes: 0 done, 1 a run or a file failed, 2 the command was not understood, 130 interrupted.
"""

import importlib
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Never

import click

from robustkit import __version__, project, records
from robustkit.claims_table import interval_text, text_table
from robustkit.errors import InputError, RobustkitError, RunError, UnknownNameError
from robustkit.report_command import report_command

_GIVEN = click.option("-p", "given", multiple=True, metavar="NAME=VALUE", help="Set a parameter.")
_PROFILE = click.option(
    "--profile", metavar="PROFILE", help=f"One of {', '.join(project.PROFILES)}."
)
_RECORD = click.option(
    "--record",
    "copy",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Copy the record there.",
)
_BOOK_TOOLS = {"ipykernel", "jupyter_book", "jupyter_client", "jupytext", "nbformat", "papermill"}


class _Commands(click.Group):
    """Turns the package's errors into messages and exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            raise click.UsageError(str(error)) from error
        except RobustkitError as error:
            raise click.ClickException(str(error)) from error
        except ModuleNotFoundError as error:
            if error.name not in _BOOK_TOOLS:
                raise
            raise click.ClickException(
                f"{error.name} is not installed; running chapters needs pip install "
                "'robustkit[book]'."
            ) from error
        except KeyboardInterrupt:
            click.echo("interrupted; finished runs are kept, the same command resumes", err=True)
            ctx.exit(130)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="robustkit")
def cli() -> None:
    """How image classifiers break, and how to make them hold: the executable book."""


@cli.command()
@click.option("--only", multiple=True, metavar="CHAPTER", help="Run this chapter only; repeatable.")
@click.option("--force", is_flag=True, help="Run chapters again that are finished.")
@click.option("--no-run", is_flag=True, help="Build the book from the notebooks as they are.")
def build(only: tuple[str, ...], force: bool, no_run: bool) -> None:
    """Run the chapters at the smoke profile and build the book into _build/html."""
    from robustkit import runs

    root = project.root()
    chosen = [project.chapter(name) for name in only] or project.chapters()
    failures = []
    for chapter in [] if no_run else chosen:
        try:
            _report(runs.run(chapter, {}, force=force))
        except RunError as error:
            failures.append(str(error))
    if failures:
        raise RunError("\n".join(failures))
    # The console script of another environment would build with other packages.
    program = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
    options = ["build", ".", "--toc", "book/_toc.yml", "-n", "-W", "--keep-going"]
    importlib.import_module("jupyter_book")
    done = subprocess.run([sys.executable, "-c", program, *options], cwd=root, check=False)
    sys.exit(done.returncode)


@cli.command()
@click.argument("chapter")
@_GIVEN
@_PROFILE
@click.option(
    "--grid", "axes", multiple=True, metavar="NAME=A,B,...", help="Run at each of these values."
)
@click.option("-j", "--jobs", default=1, type=click.IntRange(1), help="Runs at a time in a grid.")
@click.option("--force", is_flag=True, help="Run again what is finished.")
@_RECORD
def run(
    chapter: str,
    given: tuple[str, ...],
    profile: str | None,
    axes: tuple[str, ...],
    jobs: int,
    force: bool,
    copy: Path | None,
) -> None:
    """Run CHAPTER ("01_preliminaries", "01" or "1") with parameters."""
    from robustkit import notebooks, parameters, runs

    chapter = project.chapter(chapter)
    specs = notebooks.parameters(project.text_path(chapter))
    base = parameters.from_text(specs, _texts(given, profile))
    if not axes:
        _report(runs.run(chapter, base, force=force), copy)
        return
    if copy is not None:
        raise InputError("--record copies the record of one run; a grid has one for each.")
    from robustkit.grid import grid

    values: dict[str, list[Any]] = {
        name: [parameters.from_text(specs, {name: text})[name] for text in _split(name, listed)]
        for name, listed in _assignments(axes).items()
    }
    rows = grid(chapter, base, values, jobs=jobs, force=force)
    names = list(
        dict.fromkeys(name for row in rows if row.record for name in row.record["scalars"])
    )
    click.echo(text_table([*values, *names], [_cells(row, names) for row in rows]))
    failed = [f"{row.values}: {row.error}" for row in rows if row.record is None]
    if failed:
        raise RunError("\n".join([f"{len(failed)} of {len(rows)} runs failed:", *failed]))


@cli.command()
@click.argument("chapter")
@_GIVEN
@_PROFILE
@click.option("--shards", required=True, type=int, metavar="N", help="How many there are.")
@click.option("--force", is_flag=True, help="Collect again what is finished.")
@_RECORD
def collect(
    chapter: str,
    given: tuple[str, ...],
    profile: str | None,
    shards: int,
    force: bool,
    copy: Path | None,
) -> None:
    """Make the record of CHAPTER out of its N finished shards, as if it had never been split."""
    from robustkit import collecting, notebooks, parameters

    chapter = project.chapter(chapter)
    specs = notebooks.parameters(project.text_path(chapter))
    values = parameters.from_text(specs, _texts(given, profile))
    _report(collecting.collect(chapter, values, shards=shards, force=force), copy)


@cli.command()
@click.argument("name")
def fetch(name: str) -> None:
    """Fetch the dataset or weights NAME ahead of time into ROBUSTKIT_HOME."""
    data, models = (importlib.import_module(f"robustkit.{part}") for part in ("data", "models"))
    try:
        for split in ("train", "test"):
            click.echo(f"{name}, {split}: {len(data.load(name, split))} images")
        return
    except UnknownNameError as error:
        no_dataset = error
    try:
        models.load(name)
    except UnknownNameError as error:
        raise InputError(
            f"no dataset and no weights have this name: {no_dataset} {error}"
        ) from error
    click.echo(f"{name}: weights are in place")


@cli.command()
@click.argument("chapter", required=False)
@click.option("--check", is_flag=True, help="Fail when a verdict is worse than the accepted one.")
@click.option("--accept", is_flag=True, help="Keep the verdicts of today in book/verdicts.yml.")
def claims(chapter: str | None, check: bool, accept: bool) -> None:
    """Print what the papers claim, what was measured, and the verdicts."""
    from robustkit import claim_files, verdicts
    from robustkit import claims as judged

    if check and accept:
        raise InputError("give one of --check and --accept.")
    known = claim_files.chapters()
    if chapter is not None and chapter not in known:
        chapter = project.chapter(chapter)
    if check or accept:
        changes = verdicts.accept(chapter) if accept else verdicts.check(chapter)
        failed = verdicts.failures(changes) if check else []
        passed = [str(change) for change in changes if change not in failed]
        click.echo("\n".join(passed) if changes else "every verdict is the accepted one")
        if failed:
            raise RunError(
                "\n".join(
                    [
                        f"{len(failed)} worse than accepted; mend what made it so, or accept it by "
                        "robustkit claims --accept and commit book/verdicts.yml:",
                        *map(str, failed),
                    ]
                )
            )
        return
    for name in known if chapter is None else [chapter]:
        click.echo(f"{judged.table(judged.scoreboard(name), name)!r}\n")


cli.add_command(report_command)


def main() -> None:
    """Run the command; a request to terminate ends it as tidily as Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> Never:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    cli(prog_name="robustkit")


def _texts(given: Sequence[str], profile: str | None) -> dict[str, str]:
    return _assignments([*given, *([] if profile is None else [f"profile={profile}"])])


def _assignments(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for assignment in given:
        name, sign, text = assignment.partition("=")
        if not sign or not name:
            raise InputError(f"{assignment!r} is not of the form NAME=VALUE.")
        if name in found:
            raise InputError(f"parameter {name!r} is given twice.")
        found[name] = text
    return found


def _split(name: str, listed: str) -> list[str]:
    from robustkit.parameters import split_values

    values = split_values(listed)
    if "" in values:
        raise InputError(f"the grid of {name!r} has an empty value: {listed!r}.")
    return values


def _cells(row: Any, names: Sequence[str]) -> list[str]:
    cells = [str(value) for value in row.values.values()]
    if row.record is None:
        return [*cells, *(["failed"] * len(names))]
    scalars = row.record["scalars"]
    return [*cells, *(_shown(scalars[name]) if name in scalars else "-" for name in names)]


def _shown(scalar: dict[str, Any]) -> str:
    return interval_text(scalar["value"], scalar["low"], scalar["high"], scalar["unit"])


def _report(result: Any, copy: Path | None = None) -> None:
    record = result.record
    if copy is not None:
        records.write(copy, record)
    rows = [[name, _shown(scalar), scalar["note"]] for name, scalar in record["scalars"].items()]
    click.echo(text_table(["scalar", "value", "note"], rows))
    seconds = record["provenance"]["wall_seconds"]
    state = "was finished already (--force runs it again)" if result.cached else "finished"
    click.echo(
        f"{result.chapter}, {result.parameters['profile']}: {state}, {seconds} s, in "
        f"{result.folder}"
    )
