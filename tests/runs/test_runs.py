import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from waiting import wait_for

from robustkit import notebooks, records, runs
from robustkit.errors import InputError, RunError, UnknownNameError

SLEEP = """\
# %%
import os
import time

Path("../kernel.txt").write_text(str(os.getpid()))
if not Path("../awake.txt").exists():
    time.sleep(120)
"""


@pytest.fixture
def command():
    """Start `robustkit` in another process; it is ended with the test."""
    started = []
    root = str(Path(runs.__file__).parents[1])

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "robustkit", *arguments],
            env={**os.environ, "PYTHONPATH": root},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_run_executes_once_and_installs_the_notebook(checkout):
    first = runs.run("01", {})
    assert not first.cached
    assert first.record["scalars"]["answer"]["value"] == 42.0
    assert repr(first.record["tables"]["curve"]["a"]) == "[nan, inf]"
    assert checkout.notebook.read_bytes() == (first.folder / "01_tiny.ipynb").read_bytes()
    second = runs.run("01_tiny", {"scale": 1.0})
    assert second.cached
    assert repr(second.record) == repr(first.record)
    assert checkout.executions() == 1
    assert records.RUN_FOLDER not in os.environ
    assert checkout.leftovers() == []
    # A default run has the cells of the text, and nothing of the machine or the moment.
    text, executed = notebooks.read(checkout.text), nbformat.read(checkout.notebook, as_version=4)
    nbformat.validate(executed)
    assert [(cell.id, cell.source, cell.metadata) for cell in executed.cells] == [
        (cell.id, cell.source, cell.metadata) for cell in text.cells
    ]
    assert [cell.execution_count for cell in executed.cells if "outputs" in cell] == [1, 2, 3]
    for trace in (str(checkout.folder), str(Path.home()) + "/", platform.node(), "papermill"):
        assert trace not in checkout.notebook.read_text()
    assert repr(records.committed("01_tiny", "smoke")) == repr(first.record)
    # The installed notebook comes back from the finished run.
    checkout.notebook.unlink()
    assert runs.run("01_tiny", {}).cached
    assert checkout.notebook.exists()


def test_the_record_says_what_it_was_made_with(checkout):
    provenance = runs.run("01_tiny", {"seed": 3}).record["provenance"]
    assert provenance["notebook"] == notebooks.code_hash(notebooks.read(checkout.text))
    assert set(provenance["inputs"]) >= {"noted", "robustkit/records.py", "robustkit/errors.py"}
    assert provenance["python"] == platform.python_version()
    assert provenance["wall_seconds"] > 0
    assert provenance["peak_memory_mib"] > 1


def test_what_a_run_has_read_decides_whether_it_runs_again(checkout):
    first = runs.run("01_tiny", {})
    (checkout.folder / "noted.txt").write_text("second")
    second = runs.run("01_tiny", {})
    assert not second.cached
    assert second.folder == first.folder
    assert second.record["key"] != first.record["key"]
    assert runs.run("01_tiny", {}).cached
    checkout.write("# %%\n1 + 1\n")
    assert not runs.run("01_tiny", {}).cached
    assert not runs.run("01_tiny", {}, force=True).cached
    assert checkout.executions() == 4


def test_prose_and_captions_reach_the_notebook_without_a_run(checkout):
    figure = (
        '# %% mystnb={"figure": {"caption": "CAPTION"}, "image": {"alt": "A line."}}\nprint(7)\n'
    )
    checkout.write(figure.replace("CAPTION", "Old."))
    first = runs.run("01_tiny", {})
    checkout.write("# %% [markdown]\n# New prose.\n\n" + figure.replace("CAPTION", "New."))
    second = runs.run("01_tiny", {})
    assert second.cached
    assert checkout.executions() == 1
    shown, text = nbformat.read(checkout.notebook, as_version=4), notebooks.read(checkout.text)
    nbformat.validate(shown)
    assert [(cell.id, cell.cell_type, cell.source, cell.metadata) for cell in shown.cells] == [
        (cell.id, cell.cell_type, cell.source, cell.metadata) for cell in text.cells
    ]
    assert shown.cells[3].source == "New prose."
    assert shown.cells[4].metadata.mystnb.figure.caption == "New."
    assert shown.cells[4].outputs[0].text == "7\n"
    assert [cell.execution_count for cell in shown.cells if "outputs" in cell] == [1, 2, 3, 4]
    assert repr(records.committed("01_tiny", "smoke")) == repr(first.record)
    checkout.write(figure.replace("CAPTION", "New.").replace("7", "8"))
    assert not runs.run("01_tiny", {}).cached
    assert "8\\n" in checkout.notebook.read_text()


def test_an_input_that_changes_during_the_run_makes_it_stale(checkout):
    late = '# %%\nPath("../noted.txt").write_text("changed")\n'
    early = "# %%\nfrom pathlib import Path\nfrom robustkit import inputs\n"
    early += 'inputs.note("noted", [Path("../noted.txt").resolve()])\n'
    checkout.write(late)
    checkout.text.write_text(early + checkout.text.read_text())
    runs.run("01_tiny", {})
    assert not runs.run("01_tiny", {}).cached
    assert runs.run("01_tiny", {}).cached


def test_parameters_are_injected_and_other_profiles_installed_as_results(checkout):
    laptop = runs.run("01_tiny", {}, profile="laptop")
    results = checkout.folder / "book" / "results" / "laptop" / "01_tiny.json"
    assert results.read_bytes() == (laptop.folder / "record.json").read_bytes()
    assert laptop.record["parameters"]["profile"] == "laptop"
    other = runs.run("01_tiny", {"scale": 2, "seed": 1, "profile": "laptop"})
    assert other.record["scalars"]["answer"]["value"] == 85.0
    assert repr(records.committed("01_tiny", "laptop")) == repr(laptop.record)
    assert not checkout.notebook.exists()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"sed": 1}, UnknownNameError, "unknown parameter 'sed'. Did you mean 'seed'"),
        ({"profile": "smok"}, UnknownNameError, "unknown profile 'smok'. Did you mean 'smoke'"),
        ({"seed": "1"}, InputError, "parameter 'seed' is int"),
    ],
)
def test_nothing_runs_with_parameters_that_do_not_exist(checkout, given, error, message):
    with pytest.raises(error, match=message):
        runs.run("01_tiny", given)
    assert checkout.executions() == 0


def test_a_failed_run_is_kept_and_leaves_the_record_whole(checkout):
    checkout.write(
        '# %%\nif Path("../fail.txt").exists():\n    raise ValueError("line\\nlast one")\n'
    )
    good = runs.run("01_tiny", {})
    (checkout.folder / "fail.txt").touch()
    with pytest.raises(
        RunError, match=r"cell \[3\] \(if Path.*raised ValueError: last one"
    ) as caught:
        runs.run("01_tiny", {}, force=True)
    failed = good.folder / "failed.ipynb"
    assert str(failed) in str(caught.value)
    outputs = [
        output.output_type
        for cell in nbformat.read(failed, as_version=4).cells
        for output in cell.get("outputs", [])
    ]
    assert outputs == ["error"]
    assert repr(records.read(good.folder / "record.json")) == repr(good.record)
    assert repr(records.committed("01_tiny", "smoke")) == repr(good.record)
    assert checkout.leftovers() == []
    (checkout.folder / "fail.txt").unlink()
    runs.run("01_tiny", {}, force=True)
    assert not failed.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# %%\nraise SystemExit(0)\n", "must call record.finish"),
        ('# %%\nrecord.chapter = "02_other"\n', "calls itself '02_other'"),
        ("# %%\nimport os\nos.kill(os.getpid(), 9)\n", "the kernel died"),
    ],
)
def test_a_chapter_that_ends_without_a_record_failed(checkout, text, message):
    checkout.write(text)
    if "finish" in message:
        checkout.text.write_text(checkout.text.read_text().replace("record.finish()", "1"))
    with pytest.raises(RunError, match=message):
        runs.run("01_tiny", {})
    assert not checkout.notebook.exists()
    assert len(list((checkout.folder / "runs").rglob("failed.ipynb"))) == 1


def test_a_cell_that_takes_too_long_fails(checkout):
    checkout.write(SLEEP)
    with pytest.raises(RunError, match=r"longer than 1.0 seconds"):
        runs.run("01_tiny", {}, timeout=1.0)


def test_what_a_cell_writes_to_standard_error_is_shown(checkout, capsys):
    checkout.write('# %%\nimport sys\n\nprint("about an hour", file=sys.stderr)\n')
    runs.run("01_tiny", {})
    assert "about an hour\n" in capsys.readouterr().err


def test_a_truncated_file_makes_the_run_run_again_and_says_so(checkout, caplog):
    folder = runs.run("01_tiny", {}).folder
    planned = runs.plan("01_tiny", {})
    for name in ("record.json", "inputs.json", "01_tiny.ipynb"):
        whole = (folder / name).read_text()
        (folder / name).write_text(whole[: len(whole) // 2])
        caplog.clear()
        assert runs.find(planned) is None
        assert "is damaged and runs again" in caplog.text
        assert name in caplog.text
        (folder / name).write_text(whole)
    assert runs.find(planned) is not None
    (folder / "record.json").write_text("{")
    assert not runs.run("01_tiny", {}).cached
    assert runs.run("01_tiny", {}).cached


def test_files_of_two_runs_do_not_pass_for_one(checkout):
    finished = runs.run("01_tiny", {})
    records.write(finished.folder / "record.json", {**finished.record, "key": "another"})
    assert runs.find(runs.plan("01_tiny", {})) is None


def test_a_kernel_of_another_environment_is_not_used(checkout, monkeypatch):
    spec = checkout.folder / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    foreign = {"argv": ["/bin/false"], "display_name": "Python 3", "language": "python"}
    (spec / "kernel.json").write_text(json.dumps(foreign))
    monkeypatch.setenv("JUPYTER_PATH", str(checkout.folder / "jupyter"))
    checkout.write('# %%\nimport sys\nPath("../python.txt").write_text(sys.executable)\n')
    runs.run("01_tiny", {})
    assert (checkout.folder / "python.txt").read_text() == sys.executable


@pytest.mark.parametrize(("given", "used"), [(None, "2"), ("1", "1")])
def test_the_kernel_has_two_threads_unless_told(checkout, monkeypatch, given, used):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    checkout.write('# %%\nimport os\nPath("../t.txt").write_text(os.environ["OMP_NUM_THREADS"])\n')
    runs.run("01_tiny", {})
    assert (checkout.folder / "t.txt").read_text() == used


def test_a_relative_home_means_the_folder_of_the_caller(checkout, monkeypatch):
    monkeypatch.chdir(checkout.folder)
    monkeypatch.setenv("ROBUSTKIT_HOME", "data")
    checkout.write(
        "# %%\nfrom robustkit import files\n"
        'Path("../home.txt").write_text(str(files.home().resolve()))\n'
    )
    runs.run("01_tiny", {})
    assert (checkout.folder / "home.txt").read_text() == str((checkout.folder / "data").resolve())


def test_two_processes_execute_one_run_once(checkout, command):
    checkout.write(
        '# %%\nimport time\nPath("../started.txt").touch()\nfor _ in range(1200):\n'
        '    if Path("../go.txt").exists():\n        break\n    time.sleep(0.05)\n'
        "else:\n    raise RuntimeError('nobody waits')\n"
    )
    first = command("run", "01_tiny")
    wait_for((checkout.folder / "started.txt").exists, "the first run")
    second = command("run", "01_tiny")
    # These reads end at the latest when the first run gives up and the second has run.
    said = next((line for line in second.stdout if "waiting for it" in line), "")
    (checkout.folder / "go.txt").touch()
    assert "waiting for it" in said
    said = [process.stdout.read() for process in (first, second)]
    assert [process.wait(60) for process in (first, second)] == [0, 0], said
    assert "was finished already" in said[1]
    assert checkout.executions() == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing_half_written(checkout, command, number):
    checkout.write(SLEEP)
    process = command("run", "01_tiny")
    wait_for(lambda: checkout.executions() and (checkout.folder / "kernel.txt").exists(), "work")
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "interrupted; finished runs are kept, the same command resumes" in said
    assert "Traceback" not in said
    assert checkout.leftovers() == []
    assert list((checkout.folder / "runs").rglob("*.json")) == []
    assert not checkout.notebook.exists()
    kernel = int((checkout.folder / "kernel.txt").read_text())
    wait_for(lambda: not alive(kernel), "the end of the kernel")
    (checkout.folder / "awake.txt").touch()
    assert not runs.run("01_tiny", {}).cached
    assert runs.run("01_tiny", {}).cached


def test_what_a_killed_run_left_is_cleared(checkout):
    planned = runs.plan("01_tiny", {})
    left = planned.folder.parent / f".{planned.folder.name}-abc"
    left.mkdir(parents=True)
    (left / "record.json").write_text("{")
    runs.run("01_tiny", {})
    assert not left.exists()


def test_the_command_of_papermill_works_as_it_is(checkout):
    runs.run("01_tiny", {})
    before = checkout.notebook.read_bytes()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "papermill", "01_tiny.ipynb", "../out.ipynb"),
            *("-p", "scale", "2", "-p", "seed", "1", "--no-progress-bar"),
        ],
        cwd=checkout.folder / "notebooks",
        env={**os.environ, "PYTHONPATH": str(Path(runs.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    executed = nbformat.read(checkout.folder / "out.ipynb", as_version=4)
    assert "injected-parameters" in executed.cells[2].metadata.tags
    assert executed.cells[-1].outputs[0].text == "record 01_tiny: 1 scalars, 1 tables\n"
    assert (checkout.folder / "executed.txt").read_text().splitlines() == ["0", "1"]
    assert checkout.notebook.read_bytes() == before
