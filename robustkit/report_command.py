"""The command `robustkit report`: one HTML file and one JSON record about a model."""

from pathlib import Path
from typing import Any

import click

from robustkit.claims_table import number_text, text_table
from robustkit.errors import DataError, InputError, RobustkitError, RunError

CHAPTER = "06_report_card"
_AXES = ("clean", "l2", "sparse", "spectrum", "corruptions", "translation", "rics")


@click.command("report")
@click.argument("model")
@click.option(
    "--data",
    required=True,
    metavar="FOLDER|NAME",
    help="A folder of images, one folder a class, or a dataset that robustkit fetch knows.",
)
@click.option(
    "--budget",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MINUTES",
    help="Choose the samples for about this time; the card says what precision that buys.",
)
@click.option("--compare", metavar="MODEL", help="Put a second model beside it, with paired tests.")
@click.option(
    "--out",
    default=Path("report.html"),
    show_default=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The page; the record goes beside it, with the ending .json.",
)
@click.option("--size", type=click.IntRange(1), help="Pixels a side that the model sees.")
@click.option("--images", type=click.IntRange(1), help="At most so many images.")
@click.option(
    "--outputs",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Which output each class folder stands for: a YAML or JSON mapping, name to number.",
)
@click.option(
    "--axis",
    "axes",
    multiple=True,
    type=click.Choice(_AXES),
    help="Measure this axis only; repeatable.",
)
@click.option("--seed", default=0, show_default=True, help="Of samples and all that is random.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--force", is_flag=True, help="Measure again what was measured already.")
def report_command(
    model: str,
    data: str,
    budget: float | None,
    compare: str | None,
    out: Path,
    size: int | None,
    images: int | None,
    outputs: Path | None,
    axes: tuple[str, ...],
    seed: int,
    device: str,
    force: bool,
) -> None:
    """Measure how robust and how invariant MODEL is, and write its report card.

    MODEL is torchvision:NAME, timm:NAME, robustkit:NAME, or path/to/file.py:factory, a function
    without arguments that returns a torch module for images in [0, 1]. The file is run as it is,
    with your rights: give none that you would not run yourself.
    """
    from robustkit import records, runs
    from robustkit.files import write_atomic

    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--out is the page, a file that ends in .html, got {out}.")
    if not out.absolute().parent.is_dir():
        raise InputError(f"there is no folder {out.absolute().parent} to write {out.name} to.")
    given: dict[str, Any] = {
        "model": _from_anywhere(model),
        "data": _folder(data),
        "compare": "" if compare is None else _from_anywhere(compare),
        "budget": 0.0 if budget is None else budget,
        "size": size or 0,
        "images": images or 0,
        "outputs": "" if outputs is None else str(outputs.resolve()),
        "axes": list(axes),
        "seed": seed,
        "device": device,
    }
    # What a file of the user's reads, weights for one, is not known, and a folder may hold more
    # files than the last time: no run of them is old enough.
    own = any(_is_file(text) for text in (model, compare or "")) or Path(given["data"]).is_dir()
    try:
        result = runs.run(CHAPTER, given, profile="laptop", force=force or own)
    except RunError as error:
        raise _plain(error) from error

    from robustkit.report_card.page import page

    beside = out.with_suffix(".json")
    records.write(beside, result.record)
    write_atomic(out, page(result.record))
    click.echo(_said(result.record))
    click.echo(f"{out} and {beside}")


def _said(record: dict[str, Any]) -> str:
    """Return what the numbers say, and how precise they are, as lines of text."""
    from robustkit.report_card.markup import rows

    axes = list(rows(record, "axes"))
    lines = [f"{row['network']}, {row['title']}: {row['reading']}" for row in axes]
    lines += [str(row["reading"]) for row in rows(record, "comparison_reading")]
    lines += [f"{row['network']}: {row['caution']}" for row in rows(record, "cautions")]
    sizes = [
        [
            f"{row['network']}, {row['axis']}",
            str(row["images"]),
            f"{100 * row['half_width']:.1f} points",
            "-" if row["seconds"] is None else number_text(round(row["seconds"], 1), "s"),
        ]
        for row in axes
    ]
    table = text_table(["measured", "images", "a share, give or take", "taken"], sizes)
    return "\n".join([*lines, "", table])


def _plain(error: RunError) -> RobustkitError:
    """Return what the chapter refused, without the cell that refused it: it names no argument."""
    from robustkit.execution import CellError

    cause = error.__cause__
    kinds = {"InputError": InputError, "UnknownNameError": InputError, "DataError": DataError}
    if not isinstance(cause, CellError) or cause.name not in kinds:
        return error
    return kinds[cause.name](cause.reason)


def _is_file(text: str) -> bool:
    return text.rpartition(":")[0].endswith(".py")


def _from_anywhere(text: str) -> str:
    # The run works in another folder.
    if not _is_file(text):
        return text
    path, _, name = text.rpartition(":")
    place = Path(path).expanduser().resolve()
    if not place.is_file():
        raise InputError(f"there is no file {path}; a model of your own is path/to/file.py:name.")
    return f"{place}:{name}"


def _folder(text: str) -> str:
    path = Path(text.removeprefix("imagefolder:")).expanduser()
    return str(path.resolve()) if path.is_dir() else text
