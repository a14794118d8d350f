"""The package's types: what an editor or a checker of the reader's own is told."""

import subprocess
import sys
from pathlib import Path


def test_the_types_are_right():
    command = [sys.executable, "-m", "mypy"]
    run = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
