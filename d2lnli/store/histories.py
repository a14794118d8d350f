"""Histories on disk: the points of a run as CSV, or in the classifier that it trained."""

import csv
import io
import math
from dataclasses import astuple
from pathlib import Path

from ..history import COLUMNS, History, Record
from .classifiers import read_history
from .files import write_text

_HEADER = [*COLUMNS, "num_classes"]
_OLD_HEADER = _HEADER[:5]  # of earlier versions


def save_history(path: Path, history: History) -> None:
    """Write the points as CSV; the file is replaced whole or not at all."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    writer.writerows([*astuple(record), history.num_classes] for record in history.records)
    write_text(path, text.getvalue())


def load_history(path: Path) -> History:
    """Read the points from a file, or from a folder: its `history.csv`, or its classifier."""
    if path.is_dir():
        folder, path = path, path / "history.csv"
        if not path.is_file() and (history := read_history(folder)):
            return history
    with path.open(encoding="utf-8", newline="") as file:
        rows, history = csv.reader(file), History()
        try:
            header = next(rows, None)
            if header not in (_HEADER, _OLD_HEADER):
                raise ValueError(f"the first line must be {','.join(_HEADER)}")
            for row in rows:
                if len(row) != len(header):
                    raise ValueError(f"there are {len(row)} columns, not {len(header)}")
                history.records.append(_record(row[: len(COLUMNS)]))
                if header == _HEADER:
                    history.num_classes = _num_classes(row[-1])
        except (TypeError, ValueError, csv.Error) as error:
            raise ValueError(
                f"{path}, line {rows.line_num}: this is not a history that d2lnli wrote ({error}): "
                "restore the file, or give another"
            ) from error
    return history


def _record(row: list[str]) -> Record:
    record = Record.of([float(value) for value in row])
    if not (0 < record.epoch < math.inf and record.pairs_per_sec > 0):
        raise ValueError(f"epoch {record.epoch}, {record.pairs_per_sec} pairs a second")
    return record


def _num_classes(text: str) -> int:
    if int(text) < 1:
        raise ValueError(f"{text} classes")
    return int(text)
