"""Corpora: from files to (premises, hypotheses, labels), and the meaning of the labels."""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

LABELS = ("entailment", "contradiction", "neutral")
"""The three classes, in the book's order: a label id is an index into them.

Hugging Face's `snli` uses other ids: neutral is 1, contradiction is 2, and -1 means no gold label.
"""


def read_snli(
    data_dir: str | Path, is_train: bool | str, max_examples: int | None = None
) -> tuple[list[str], list[str], list[int]]:
    """Read one split of SNLI as (premises, hypotheses, label ids).

    `is_train` is True (train), False (test) or 'train', 'dev', 'test'. `max_examples` is the number
    of pairs to read, from the first. Pairs whose annotators disagree (label `-`) are left out.
    Raises OSError if the file cannot be read, and ValueError, with the line, if it does not have
    SNLI's layout.
    """
    premises, hypotheses, labels = [], [], []
    for premise, hypothesis, label in snli_pairs(data_dir, is_train, max_examples):
        premises.append(premise)
        hypotheses.append(hypothesis)
        labels.append(label)
    return premises, hypotheses, labels


def snli_pairs(
    data_dir: str | Path, is_train: bool | str, max_examples: int | None = None
) -> Iterator[tuple[str, str, int]]:
    """Yield the pairs that `read_snli` reads one at a time, for a corpus larger than memory."""
    path = snli_file(data_dir, is_train)
    ids = {label: i for i, label in enumerate(LABELS)}
    last_parse = premise = label = ""
    for number, (label, parse, hypothesis_parse, *_) in _labelled_rows(path, max_examples, 3):
        if parse != last_parse:  # SNLI has each premise three times in a row; memory holds it once
            last_parse, premise = parse, _sentence(parse)
        hypothesis = _sentence(hypothesis_parse)
        if label not in ids:
            names = ", ".join(LABELS)
            raise ValueError(f"{path}, line {number}: unknown label {label!r}: use {names} or -")
        if not premise or not hypothesis:
            raise ValueError(
                f"{path}, line {number}: the premise or the hypothesis is empty: correct that line"
            )
        yield premise, hypothesis, ids[label]
    if not label:
        raise ValueError(f"{path} has no labelled pairs: check that it is the right file")


def snli_file(data_dir: str | Path, is_train: bool | str) -> Path:
    """Return the path of a split's file; FileNotFoundError if it is missing."""
    splits: dict[bool | str, bool | str] = {True: "train", False: "test"}
    split = splits.get(is_train, is_train)
    if split not in ("train", "dev", "test"):
        raise ValueError(f"unknown split {is_train!r}: use True, False, 'train', 'dev' or 'test'")
    path = Path(data_dir) / f"snli_1.0_{split}.txt"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: give the folder with SNLI's snli_1.0_*.txt files, "
            "such as download_extract('SNLI')"
        )
    return path


def read_phenomena(
    data_dir: str | Path, is_train: bool | str, max_examples: int | None = None
) -> list[str]:
    """Return the phenomenon that each pair of `read_snli` tests, such as 'negation'.

    `SNLI-sample` names it at the end of the pairID. SNLI does not: its pairs have 'not told'.
    """
    rows = _labelled_rows(snli_file(data_dir, is_train), max_examples)
    pair_ids = (row[8] if len(row) > 8 else "" for _, row in rows)
    found = (re.search(r"\.([a-z]+)$", pair_id) for pair_id in pair_ids)
    return [match[1] if match else "not told" for match in found]


def _labelled_rows(
    path: Path, max_examples: int | None, max_split: int = -1
) -> Iterator[tuple[int, list[str]]]:
    """Return (line number, columns) of the first `max_examples` lines with a gold label."""
    if max_examples is not None and not (isinstance(max_examples, Integral) and max_examples >= 1):
        raise ValueError(f"max_examples={max_examples!r}: it must be a whole number, at least 1")
    labelled = (row for row in _rows(path, max_split) if row[1][0] != "-")
    return islice(labelled, None if max_examples is None else min(max_examples, sys.maxsize))


def _rows(path: Path, max_split: int) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, columns) of each line below the header."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                row = line.rstrip("\n").split("\t", max_split)
                if number == 1 and row[0] != "gold_label":
                    raise ValueError(f"{path}, line 1: SNLI's header (gold_label, …) is missing")
                if number == 1 or line.isspace():
                    continue
                if len(row) < 3:
                    raise ValueError(
                        f"{path}, line {number}: there are {len(row)} column(s): give a label and "
                        "two parses, separated by tabs"
                    )
                yield number, row
    except UnicodeDecodeError as error:
        raise ValueError(_not_utf8(path)) from error


def _not_utf8(path: Path) -> str:
    """Return a message with the line that is not UTF-8; a decoder reads ahead and lacks it."""
    content = path.read_bytes()
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        return f"{path}, line {number}: not UTF-8 ({error.reason}): save the file as UTF-8"
    return f"{path} is not UTF-8, or it changed during reading: save it as UTF-8"


def _sentence(parse: str) -> str:
    """Return the words of a parse without its brackets."""
    if parse.startswith('"(') and parse.endswith(')"'):  # a spreadsheet program wrote the file
        parse = parse[1:-1].replace('""', '"')
    return " ".join(parse.replace("(", "").replace(")", "").split())


def default_label_names(num_classes: int) -> tuple[str, ...]:
    """Return `LABELS` for three classes, and `class 0`, `class 1`, … for another number."""
    return LABELS if num_classes == len(LABELS) else tuple(f"class {i}" for i in range(num_classes))


def checked_label_names(names: Sequence[str], num_classes: int | None = None) -> tuple[str, ...]:
    """Return label names as a tuple; ValueError unless they are different strings, one a class."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ValueError(f"label_names={names!r}: give a list with a string for each class")
    names = tuple(names)
    if not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError(f"label_names={names!r}: give a string for each class")
    if len(set(names)) != len(names):
        raise ValueError(f"label_names={names}: two classes have the same name: rename one")
    if len(names) != (num_classes or len(names)):
        raise ValueError(
            f"{len(names)} label names {names} for {num_classes} classes: "
            f"give one name per class, or num_classes={len(names)}"
        )
    return names


def label_ids(labels: Sequence | Tensor, names: tuple[str, ...] | None = None) -> Tensor:
    """Return labels, which are ids or names, as a tensor of ids, int64 (n,).

    `labels` is a list, an array, a tensor or a pandas Series. The default of `names` is `LABELS`.
    Raises ValueError, with the number of the pair, if a label is missing or unknown.
    """
    try:
        array = np.asarray(labels.detach().cpu() if isinstance(labels, Tensor) else labels)
        if array.dtype.kind in "OUT":  # objects and strings
            ids = {name: i for i, name in enumerate(names or LABELS)}
            array = np.array([_label_id(i, x, ids) for i, x in enumerate(array.tolist())], np.int64)
    except (TypeError, RuntimeError, OverflowError) as error:
        raise ValueError(f"the labels are not all ids or names: {error}") from error
    if array.ndim == 1 and array.dtype.kind in "if":
        missing = np.isnan(array) | (array < 0)
        if missing.any():
            raise ValueError(_missing_label(missing.argmax(), array[missing.argmax()]))
    if array.ndim != 1 or (array.size and array.dtype.kind not in "biu"):
        raise ValueError(
            f"the labels are {array.dtype}, {array.ndim}-dimensional: give a list of ids or names"
        )
    if names and array.max(initial=0) >= len(names):
        raise ValueError(
            f"the label of pair {array.argmax()} is {array.max()}, but the {len(names)} label "
            f"names {names} have ids 0 to {len(names) - 1}: correct it, or add names"
        )
    return torch.from_numpy(array.astype(np.int64))


def _label_id(number: int, label: Any, ids: dict[str, int]) -> int:
    """Return the id of one label, an id or a name; pandas has several objects for a missing one."""
    if isinstance(label, Integral):
        return int(label)
    if label is None or type(label).__name__ == "NAType" or label in ("-", "") or label != label:
        raise ValueError(_missing_label(number, label))
    if label not in ids:
        raise ValueError(
            f"the label of pair {number} is {label!r}, not one of {', '.join(ids)}: correct it, "
            "or name all classes in label_names"
        )
    return ids[label]


def _missing_label(number: int | np.integer, label: object) -> str:
    return (
        f"the label of pair {number} is {label}, which is not a class: -1, nan, None and '-' mark "
        "pairs without a gold label. Leave those pairs out, as read_snli does"
    )
