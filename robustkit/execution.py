"""Execute a notebook in a kernel of this very interpreter and this very package."""

import os
import sys
from pathlib import Path
from typing import Any, ClassVar

import nbformat
import papermill
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError
from tqdm import tqdm

from robustkit.errors import RunError
from robustkit.files import write_atomic
from robustkit.notebooks import clean

# The allocator of Linux returns large blocks to the system at once, and gets each one back page by
# page, zeroed: half the time of a large batch on a processor. The same stand in the Makefile.
_KEEPS_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "8589934592",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
}


class CellError(RunError):
    """A cell that raised an error called `name`, for a `reason`: its message."""

    def __init__(self, message: str, name: str, reason: str) -> None:
        super().__init__(message)
        self.name, self.reason = name, reason


class _ThisInterpreter(KernelSpecManager):
    # A kernel named python3 that another environment has registered would run other packages.
    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(**get_kernel_dict())


class _Kernel(AsyncKernelManager):
    launch: ClassVar[dict[str, Any]] = {}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, kernel_spec_manager=_ThisInterpreter())

    # The base class is typed as synchronous; its asynchronous child overrides it like this too.
    async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
        await super().start_kernel(**{**options, **self.launch})


class _Terminal:
    """Standard error, past a progress bar that may stand on its line."""

    def write(self, text: str) -> None:
        tqdm.write(text, file=sys.stderr, end="")

    def flush(self) -> None:
        sys.stderr.flush()


def execute(
    notebook: Any,
    parameters: dict[str, Any],
    output: Path,
    *,
    folder: Path,
    environment: dict[str, str],
    timeout: float | None = None,
) -> Any:
    """Return `notebook` executed with `parameters` injected, in working folder `folder`.

    `environment` is added to that of the kernel alone. `timeout` is in seconds a cell. What cells
    write to standard error goes to that of this process too, as it comes. The notebook is saved to
    `output` cell by cell, so that after a failure it shows how far it came. Raises `RunError` that
    names the cell that failed and why.
    """
    log = output.with_suffix(".log")
    with log.open("wb") as complaints:
        launch = {
            "env": _environment() | environment,
            "cwd": str(folder),
            "stderr": complaints,
        }
        try:
            return papermill.execute_notebook(
                notebook,
                output,
                parameters=parameters,
                progress_bar=sys.stderr.isatty(),
                stderr_file=_Terminal(),
                execution_timeout=timeout,
                kernel_manager_class=type("Kernel", (_Kernel,), {"launch": launch}),
            )
        except PapermillExecutionError as error:
            raise _failure(error) from None
        except CellTimeoutError as error:
            raise RunError(f"a cell took longer than {timeout} seconds.") from error
        except DeadKernelError as error:
            raise RunError(f"the kernel died: {_last_words(log)}") from error
        except RuntimeError as error:
            # The client's own word for a kernel that never answered: no loopback network, say.
            raise RunError(
                f"no kernel came up ({error}); it talks over 127.0.0.1, which must be reachable."
            ) from error


def keep_failed(output: Path, target: Path) -> str:
    """Keep the notebook of a failed run, as far as it came, at `target`; return where it is."""
    try:
        notebook = nbformat.read(output, as_version=4)
        clean(notebook)
        write_atomic(target, nbformat.writes(notebook))
    except (OSError, ValueError, AttributeError) as error:
        # What made the run fail, a full disk say, may cut the notebook too.
        return f"its notebook could not be kept ({error})"
    return f"the notebook as far as it came is {target}"


def _failure(error: PapermillExecutionError) -> CellError:
    heading = next((line for line in error.source.splitlines() if line.strip()), "")
    reason = error.evalue.strip().splitlines()[-1:]
    said = ": ".join([error.ename, *reason])
    return CellError(
        f"cell [{error.exec_count}] ({heading}) raised {said}", error.ename, "".join(reason)
    )


def _last_words(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    said = [line for line in lines if line.strip() and "[IPKernelApp]" not in line]
    return said[0] if said else "killed from outside, most often because the memory was used up."


def _environment() -> dict[str, str]:
    # In a checkout that is not installed, the kernel would not find the package, or find another.
    source = Path(__file__).resolve().parents[1]
    # As many threads as `make` sets, because sums, and with them outputs, depend on their number.
    environment = {"OMP_NUM_THREADS": "2", **_KEEPS_MEMORY, **os.environ}
    if environment.get("ROBUSTKIT_HOME"):
        # The kernel works in the folder of the notebooks, where a relative path would mislead.
        environment["ROBUSTKIT_HOME"] = str(
            Path(environment["ROBUSTKIT_HOME"]).expanduser().resolve()
        )
    if (source / "pyproject.toml").is_file():
        paths = [str(source), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return environment
