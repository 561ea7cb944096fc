import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from robustkit import __version__, cli, grid, runs
from robustkit.errors import DataError, RunError, unknown


def call(*arguments):
    return CliRunner().invoke(cli.cli, arguments)


def result(chapter="01_tiny", cached=False):
    scalar = {"value": 0.5, "low": 0.25, "high": 0.75, "unit": "", "count": 1, "note": "a share"}
    record = {"scalars": {"share": scalar}, "provenance": {"wall_seconds": 1.5}}
    return runs.RunResult(chapter, {"profile": "smoke"}, Path("runs/x"), record, cached)


@pytest.fixture
def ran(monkeypatch):
    """Record the calls of `runs.run` in place of running."""
    calls = []

    def run(chapter, parameters, **options):
        calls.append((chapter, parameters, options))
        return result(chapter)

    monkeypatch.setattr(runs, "run", run)
    return calls


def test_the_version_is_told():
    assert call("--version").output == f"robustkit, version {__version__}\n"


def test_the_command_starts_without_the_heavy_packages():
    code = (
        "import sys, robustkit.cli, robustkit.runs, robustkit.grid, robustkit.claims\n"
        "heavy = {'torch', 'pandas', 'matplotlib', 'papermill', 'jupytext', 'IPython'}\n"
        "print(heavy & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(cli.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "01_tinny"], "unknown chapter '01_tinny'. Did you mean '01_tiny'"),
        (["build", "--only", "7"], "unknown chapter '7'"),
        (["claims", "01_tinny"], "unknown chapter '01_tinny'. Did you mean '01_tiny'"),
        (["run", "1", "-p", "sed=1"], "unknown parameter 'sed'. Did you mean 'seed'"),
        (["run", "1", "--profile", "labtop"], "unknown profile 'labtop'. Did you mean 'laptop'"),
        (["run", "1", "-p", "seed=x"], "parameter 'seed' is int (where the random numbers start)"),
        (["run", "1", "-p", "seed"], "'seed' is not of the form NAME=VALUE"),
        (["run", "1", "-p", "seed=1", "-p", "seed=2"], "'seed' is given twice"),
        (["run", "1", "--grid", "sed=1,2"], "unknown parameter 'sed'. Did you mean 'seed'"),
        (["run", "1", "--grid", "seed=1,"], "the grid of 'seed' has an empty value"),
        (["run", "1", "--grid", "seed=1,b"], "parameter 'seed' is int"),
        (["run", "1", "-j", "0"], "'-j'"),
        (["run", "1", "--grid", "seed=1,2", "--record", "a.json"], "a grid has one for each"),
        (["collect", "1", "--shards", "2"], "01_tiny does not split"),
        (["runn"], "No such command 'runn'"),
    ],
)
def test_what_is_not_understood_exits_with_two_and_a_hint(checkout, arguments, message):
    done = call(*arguments)
    assert done.exit_code == 2
    assert message in done.output
    assert checkout.executions() == 0


@pytest.mark.parametrize("error", [RunError("it broke"), DataError("it broke")])
def test_a_failure_exits_with_one_and_no_traceback(checkout, monkeypatch, error):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(runs, "run", fail)
    done = call("run", "1")
    assert done.exit_code == 1
    assert done.output == "Error: it broke\n"


def test_an_interrupt_exits_with_130(checkout, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "run", interrupt)
    done = call("run", "1")
    assert done.exit_code == 130
    assert done.output == "interrupted; finished runs are kept, the same command resumes\n"


def test_a_missing_tool_of_the_book_is_named_and_other_bugs_are_not_hidden(checkout, monkeypatch):
    def fail(*arguments, **options):
        raise ModuleNotFoundError("no", name=missing)

    monkeypatch.setattr(runs, "run", fail)
    missing = "papermill"
    done = call("run", "1")
    assert done.exit_code == 1
    assert "papermill is not installed" in done.output
    missing = "robustkit.nothing"
    assert isinstance(call("run", "1").exception, ModuleNotFoundError)


def test_parameters_reach_the_run_with_their_types(checkout, ran):
    done = call(
        "run", "1", "-p", "scale=1e-2", "-p", "device=cpu", "--profile", "laptop", "--force"
    )
    assert done.exit_code == 0
    given = {"scale": 0.01, "device": "cpu", "profile": "laptop"}
    assert ran == [("01_tiny", given, {"force": True})]
    assert "share   0.5 [0.25, 0.75]  a share" in done.output
    assert "finished, 1.5 s" in done.output


def test_a_grid_prints_a_table_and_reports_failures(checkout, monkeypatch):
    asked = []

    def run_grid(chapter, base, axes, **options):
        asked.append((chapter, base, axes, options))
        good = grid.GridRow({"seed": 1, "scale": 0.5}, result().record)
        return [good, grid.GridRow({"seed": 2, "scale": 0.5}, None, "no luck")]

    monkeypatch.setattr(grid, "grid", run_grid)
    done = call(
        "run", "1", "-p", "device=cpu", "--grid", "seed=1,2", "--grid", "scale=.5", "-j", "2"
    )
    axes = {"seed": [1, 2], "scale": [0.5]}
    assert asked == [("01_tiny", {"device": "cpu"}, axes, {"jobs": 2, "force": False})]
    assert done.exit_code == 1
    assert done.output.splitlines() == [
        "seed  scale  share",
        "----  -----  ----------------",
        "1     0.5    0.5 [0.25, 0.75]",
        "2     0.5    failed",
        "Error: 1 of 2 runs failed:",
        "{'seed': 2, 'scale': 0.5}: no luck",
    ]


@pytest.fixture
def built(monkeypatch):
    """Record the command that builds the book in place of building."""
    calls = []

    def build(command, *, cwd, check):
        calls.append((command, cwd))
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", build)
    return calls


def test_build_runs_the_chapters_and_then_builds_the_book(checkout, ran, built):
    (checkout.folder / "notebooks" / "02_more.py").touch()
    assert call("build").exit_code == 0
    assert [chapter for chapter, _, _ in ran] == ["01_tiny", "02_more"]
    [(command, folder)] = built
    assert command[0] == sys.executable
    assert " ".join(command[3:]) == "build . --toc book/_toc.yml -n -W --keep-going"
    assert folder == checkout.folder
    call("build", "--only", "2", "--force")
    assert ran[2:] == [("02_more", {}, {"force": True})]
    call("build", "--no-run")
    assert len(ran) == 3
    assert len(built) == 3


def test_build_passes_on_the_exit_code_of_the_book(checkout, ran, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=3))
    assert call("build").exit_code == 3


def test_build_runs_the_other_chapters_but_no_book_after_a_failure(checkout, monkeypatch, built):
    (checkout.folder / "notebooks" / "02_more.py").touch()
    tried = []

    def run(chapter, parameters, **options):
        tried.append(chapter)
        raise RunError(f"{chapter} broke")

    monkeypatch.setattr(runs, "run", run)
    done = call("build")
    assert done.exit_code == 1
    assert tried == ["01_tiny", "02_more"]
    assert "01_tiny broke\n02_more broke" in done.output
    assert built == []


def test_fetch_tries_datasets_and_then_weights(monkeypatch):
    fetched = []

    def load_data(name, split):
        if name != "digits":
            raise unknown("dataset", name, ["digits"])
        fetched.append((name, split))
        return range(7)

    def load_model(name):
        if name != "lenet":
            raise unknown("weights", name, ["lenet"])
        fetched.append(name)

    monkeypatch.setitem(sys.modules, "robustkit.data", SimpleNamespace(load=load_data))
    monkeypatch.setitem(sys.modules, "robustkit.models", SimpleNamespace(load=load_model))
    assert call("fetch", "digits").output == "digits, train: 7 images\ndigits, test: 7 images\n"
    assert call("fetch", "lenet").output == "lenet: weights are in place\n"
    assert fetched == [("digits", "train"), ("digits", "test"), "lenet"]
    done = call("fetch", "digit")
    assert done.exit_code == 2
    assert "Did you mean 'digits'" in done.output


def test_claims_prints_the_verdicts(checkout):
    checkout.claims.write_text(
        "chapter: 01_tiny\nclaims:\n"
        "- {id: answer, statement: It is 42., source: {key: adams, where: p. 1}, ours: answer,\n"
        "   accept: {equals: 42}, because: exact, profiles: [smoke], needs: a run}\n"
    )
    done = call("claims")
    assert done.exit_code == 0
    assert "not run: a run" in done.output
    assert call("claims", "01").output == done.output
