"""`python -m robustkit`, the same as the command `robustkit`."""

from robustkit.cli import main

main()
