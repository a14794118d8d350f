"""Labels: the names of the classes, and label ids from whatever form they come in."""

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

LABELS = ("entailment", "contradiction", "neutral")
"""The three classes, in the book's order: a label id is an index into them.

Hugging Face's `snli` uses other ids: neutral is 1, contradiction is 2, and -1 means no gold label.
"""


def default_label_names(num_classes: int) -> tuple[str, ...]:
    """Return `LABELS` for three classes, and `class 0`, `class 1`, … for any other number."""
    return LABELS if num_classes == len(LABELS) else tuple(f"class {i}" for i in range(num_classes))


def checked_label_names(names: Sequence[str], num_classes: int | None = None) -> tuple[str, ...]:
    """Return label names as a tuple; ValueError unless they are different texts, one per class."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ValueError(f"label_names={names!r}: give a list with a text for each class")
    names = tuple(names)
    if not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError(f"label_names={names!r}: give a text for each class")
    if len(set(names)) != len(names):
        raise ValueError(f"label_names={names}: two classes have the same name, rename one")
    if len(names) != (num_classes or len(names)):
        raise ValueError(
            f"{len(names)} label names {names} for {num_classes} classes: "
            f"give one name per class, or num_classes={len(names)}"
        )
    return names


def label_ids(labels: Sequence | Tensor, names: tuple[str, ...] | None = None) -> Tensor:
    """Return labels, given as ids or as names, as a tensor of ids, int64 (n,).

    `labels` is a list, an array, a tensor or a pandas Series, taken in its order. Without `names`,
    labels given by name are those of `LABELS`. Raises ValueError with the number of the pair whose
    label is missing or unknown.
    """
    given = labels.detach().cpu() if isinstance(labels, Tensor) else labels
    try:
        array = np.asarray(given)
        if array.dtype.kind in "OUT":  # objects and texts
            ids = {name: i for i, name in enumerate(names or LABELS)}
            array = np.array([_label_id(i, x, ids) for i, x in enumerate(array.tolist())], np.int64)
    except (TypeError, RuntimeError, OverflowError) as error:
        raise ValueError(f"the labels are not ids or names: {error}") from error
    if array.ndim != 1 or (array.size and array.dtype.kind not in "biuf"):
        raise ValueError(
            f"the labels are {array.dtype}, {array.ndim}-dimensional: give a list of ids or names"
        )
    missing = np.flatnonzero(np.isnan(array) | (array < 0))
    if len(missing):
        raise ValueError(_missing(missing[0], array[missing[0]]))
    if array.dtype.kind == "f" and array.size:
        raise ValueError(f"the labels are {array.dtype}: give whole numbers from 0, or names")
    if names and array.max(initial=0) >= len(names):
        raise ValueError(
            f"the label of pair {array.argmax()} is {array.max()}, but the {len(names)} label "
            f"names {names} have the ids 0 to {len(names) - 1}"
        )
    return torch.from_numpy(array.astype(np.int64))


def _label_id(number: int, label: Any, ids: dict[str, int]) -> int:
    """Return the id of one label of an array of texts or of any objects, such as pandas makes."""
    if isinstance(label, Integral):
        return int(label)
    if label is None or type(label).__name__ == "NAType" or label in ("-", "") or label != label:
        raise ValueError(_missing(number, label))
    if label not in ids:
        raise ValueError(
            f"the label of pair {number} is {label!r}, not one of {', '.join(ids)}: correct it, "
            "or name all classes with label_names"
        )
    return ids[label]


def _missing(number: int, label: object) -> str:
    return (
        f"the label of pair {number} is {label}, which is not a class: -1, nan, None and '-' mark "
        "pairs without a gold label. Leave those pairs out, as read_snli does"
    )
