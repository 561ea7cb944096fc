import getpass
import json
import platform
import subprocess
from pathlib import Path

import pytest
import torch

import robustkit
from robustkit import provenance


def test_what_a_run_was_made_with_is_collected():
    found = provenance.collect({"noted": "abc"}, {"commit": "def", "changed": True})
    assert found["robustkit"] == robustkit.__version__
    assert found["packages"]["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()
    assert found["inputs"] == {"noted": "abc"}
    assert (found["commit"], found["changed"]) == ("def", True)
    assert found["cpu"]
    assert found["peak_memory_mib"] > 10
    assert ("gpu" in found) == torch.cuda.is_initialized()


def test_nothing_tells_who_and_where():
    text = json.dumps(provenance.collect({}, {}))
    words = {platform.node(), str(Path.home()), str(Path.cwd())}
    if getpass.getuser() not in ("root", "runner"):
        words.add(getpass.getuser())
    assert not [word for word in words - {""} if word in text]


def git(*arguments):
    subprocess.run(
        ["git", "-c", "user.name=n", "-c", "user.email=e@example.org", *arguments], check=True
    )


def test_the_commit_and_its_changes_are_told(checkout):
    assert provenance.commit() == {}
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    told = provenance.commit()
    assert len(told["commit"]) == 40
    assert told["changed"] is False
    checkout.notebook.write_text("{}")
    assert provenance.commit()["changed"] is False
    checkout.write("# %%\n1\n")
    assert provenance.commit()["changed"] is True


def test_a_machine_without_git_has_no_commit(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.commit() == {}


@pytest.mark.parametrize("name", ["linux", "darwin"])
def test_peak_memory_is_in_mebibytes(monkeypatch, name):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(provenance.sys, "platform", name)
    size = 64 * 2**20 if name == "darwin" else 64 * 2**10
    usage = type("Usage", (), {"ru_maxrss": size})
    monkeypatch.setattr(resource, "getrusage", lambda who: usage)
    assert provenance.peak_memory_mib() == 64
