"""Results that this project recorded: the tables that the notebooks read beside their own runs.

`python -m benchmarks.scenes` and other programs in `benchmarks` make them. They come with the
package, so that a notebook shows them wherever it runs.
"""

import csv
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "data" / "results"


def recorded_results(name: str) -> list[dict[str, float | str]]:
    """Return the rows of a recorded table, with numbers as floats and other cells as text.

    Raises ValueError with the names of the tables if there is none with this name.
    """
    file = RESULTS / f"{name}.csv"
    if not file.is_file():
        names = ", ".join(sorted(path.stem for path in RESULTS.glob("*.csv")))
        raise ValueError(f"there are no recorded results {name!r}: use one of {names}")
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    return [{column: _cell(text) for column, text in row.items()} for row in rows]


def _cell(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
