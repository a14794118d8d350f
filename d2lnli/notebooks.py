"""Execute the course's notebooks again, in place: `python -m d2lnli.notebooks [FILE …]`.

The outputs that are committed are the ones that this writes: from an empty data folder, so that
they hold nothing of the author's machine. A widget does not outlive its kernel, so what is kept of
it is the still picture.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat

_WIDGET = "application/vnd.jupyter.widget-view+json"


def main(argv: Sequence[str] | None = None) -> int:
    """Execute the named notebooks, or all below notebooks/, and write their outputs."""
    parser = argparse.ArgumentParser(prog="python -m d2lnli.notebooks", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="(all in notebooks/)")
    files = parser.parse_args(argv).files or sorted(Path("notebooks").rglob("[0-9]*.ipynb"))
    if not files:
        print("error: no notebooks here: call this from the project's folder", file=sys.stderr)
        return 1
    for path in files:
        start = time.perf_counter()
        execute(path)
        print(f"{path}: {time.perf_counter() - start:.0f} s")
    return 0


def execute(path: Path) -> None:
    """Run one notebook from an empty data folder and save it with its outputs alone."""
    from nbclient import NotebookClient
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as data_dir:
        NotebookClient(
            notebook,
            timeout=600,
            kernel_name="python3",
            resources={"metadata": {"path": str(path.parent)}},
            record_timing=False,
        ).execute(env={**os.environ, "D2LNLI_DATA_DIR": data_dir})
    notebook, _ = CoalesceStreamsPreprocessor(enabled=True)(notebook, {})
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop(_WIDGET, None)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.write(notebook, path)


if __name__ == "__main__":
    sys.exit(main())
