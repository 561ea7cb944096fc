"""Provenance: what a run was made with, and nothing about who ran it or where."""

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import robustkit
from robustkit import project
from robustkit.errors import InputError

_PACKAGES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "numpy": "numpy",
    "scipy": "scipy",
    "scikit-learn": "sklearn",
    "scikit-image": "skimage",
    "pillow": "PIL",
    "matplotlib": "matplotlib",
    "timm": "timm",
}


def collect(digests: dict[str, str], checkout: dict[str, Any]) -> dict[str, Any]:
    """Return versions, hardware and peak memory of this process, its inputs and its checkout.

    `digests` are those of its inputs, `checkout` what `commit` said when the run began. Peak
    memory is the largest resident size of the process, in MiB. The entry "gpu" is present only in
    a process that has used one.
    """
    found: dict[str, Any] = {
        "robustkit": robustkit.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": packages(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "peak_memory_mib": peak_memory_mib(),
        **checkout,
        "inputs": digests,
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        found["threads"] = torch.get_num_threads()
        if torch.cuda.is_initialized():
            found["gpu"] = torch.cuda.get_device_name()
            found["gpu_peak_memory_mib"] = round(torch.cuda.max_memory_allocated() / 2**20)
    return found


def commit() -> dict[str, Any]:
    """Return the git commit of the checkout and whether its sources differ; empty without git."""
    try:
        folder = project.root()
        head = _git(folder, "rev-parse", "HEAD")
        changes = _git(folder, "status", "--porcelain", "--", "robustkit", "notebooks/*.py")
    except (InputError, OSError, subprocess.SubprocessError):
        return {}
    return {"commit": head, "changed": bool(changes)}


def cpu_model() -> str:
    """Return the name of the processor, as the system gives it."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def peak_memory_mib() -> int | None:
    """Return the largest resident size of this process in MiB, None where it is not counted."""
    try:
        import resource
    except ImportError:
        return None
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, Linux kibibytes.
    return round(size / 2**20 if sys.platform == "darwin" else size / 2**10)


def packages() -> dict[str, str]:
    """Return the versions of the packages that this process uses, of those that numbers rest on."""
    # What was not imported had no part in the run.
    return {
        name: str(sys.modules[module].__version__)
        for name, module in _PACKAGES.items()
        if module in sys.modules
    }


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    return done.stdout.strip()
