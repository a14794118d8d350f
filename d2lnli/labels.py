"""Labels: the names of the classes, their ids, and the many ways in which people write them."""

import re
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
TWO_LABELS = ("entailment", "non-entailment")
"""The two classes of corpora that do not separate neutral and contradiction: HANS, RTE."""

_SPELLINGS = {
    "e": "entailment",
    "entails": "entailment",
    "n": "neutral",
    "c": "contradiction",
    "contradictory": "contradiction",
    "contradicts": "contradiction",
    "not-entailment": "non-entailment",
    "nonentailment": "non-entailment",
}
_NO_LABEL = ("", "-", "-1", "-1.0", "nan")


class LabelIds(list):
    """A list of label ids that knows the names of their classes, as do its slices, copies and sums.

    `list(ids)` and an array of them no longer know.
    """

    def __init__(self, ids: Iterable[int], names: tuple[str, ...]):
        super().__init__(ids)
        self.names = names

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return LabelIds(found, self.names) if isinstance(index, slice) else found

    def __add__(self, other: list) -> "LabelIds":
        return LabelIds(super().__add__(self._checked(other)), self.names)

    def __iadd__(self, other: Iterable) -> "LabelIds":  # type: ignore[misc]
        return super().__iadd__(self._checked(other))

    def extend(self, other: Iterable) -> None:
        """Append the ids of the same classes."""
        super().extend(self._checked(other))

    def copy(self) -> "LabelIds":
        """Return a copy that knows the names, too."""
        return self[:]

    def _checked(self, other: Any) -> Any:
        """Return the other ids; ValueError if they stand for other classes."""
        names = getattr(other, "names", self.names)
        if names != self.names:
            raise ValueError(f"ids of the classes {self.names} and of {names} do not go together")
        return other


class LabelReader:
    """Turn what stands in a file's label column into ids.

    Names count in any case and in the usual spellings (`contradictory`, `e`, `not_entailment`).
    With `numbers`, a label may also be an id. Pass it only if you know the order of the classes,
    because corpora number them differently.
    """

    def __init__(self, names: Sequence[str], numbers: bool = False):
        self.names = checked_label_names(names)
        if unusable := [name for name in self.names if name.strip().lower() in _NO_LABEL]:
            raise ValueError(f"label_names={self.names}: {unusable} mean that there is no label")
        self.numbers = numbers
        self._is_named_by_numbers = any(map(_number, self.names))
        self._ids: dict[str, int | None] = {}
        self._canonical_ids = {_canonical(name): i for i, name in enumerate(self.names)}
        if len(self._canonical_ids) < len(self.names):
            raise ValueError(f"label_names={self.names}: two classes have one meaning: rename one")

    @classmethod
    def of_column(cls, labels: Iterable[Any], expected: tuple[str, ...]) -> "LabelReader":
        """Return a reader for the expected names, or for `TWO_LABELS` if the labels are those."""
        known = set(map(_canonical, expected)) - {LABELS[0]}
        for label in labels:
            name = _canonical(str(label))
            if name in known:
                break
            if name == TWO_LABELS[1]:
                return cls(TWO_LABELS)
        return cls(expected)

    def __call__(self, label: Any) -> int | None:
        """Return the id of a label, or None if it says that there is no gold label."""
        text = label if isinstance(label, str) else "" if label is None else str(label)
        if text not in self._ids:  # a column has few different labels, many times each
            self._ids[text] = self._id(text.strip())
        return self._ids[text]

    def _id(self, text: str) -> int | None:
        if text in _NO_LABEL:
            return None
        if (found := self._canonical_ids.get(_canonical(text))) is not None:
            return found
        number = None if self._is_named_by_numbers else _number(text)
        if number and self.numbers and int(number[1]) < len(self.names):
            return int(number[1])
        if number and not self.numbers:
            raise ValueError(
                f"the label {text} is a number, and corpora number their classes differently: say "
                "what 0, 1, … mean with label_names (--label-names). Hugging Face's corpora mostly "
                "use entailment, neutral, contradiction"
            )
        raise ValueError(
            f"unknown label {text[:80]!r}: use {', '.join(self.names)}, or - for no gold label, or "
            "name all classes with label_names (--label-names)"
        )


def _number(label: str) -> re.Match[str] | None:
    """Match a whole number, which pandas may have written as `1.0`."""
    return re.fullmatch(r"(\d{1,9})(\.0+)?", label.strip())


def _canonical(label: str) -> str:
    """Return one spelling for the many of a label: `Contradictory` becomes `contradiction`."""
    name = re.sub(r"[\s_-]+", "-", label.strip().casefold())
    return _SPELLINGS.get(name, name)


def usual_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names as the package writes them, `ENTAILMENT` as `entailment`, if all are ours.

    Among a, b and c, the name `c` does not mean contradiction.
    """
    usual = tuple(map(_canonical, names))
    is_ours = {*usual} <= {*LABELS, *TWO_LABELS} and len({*usual}) == len(usual)
    return usual if is_ours else names


def default_label_names(num_classes: int) -> tuple[str, ...]:
    """Return `LABELS` for three classes, and `class 0`, `class 1`, … for another number."""
    return LABELS if num_classes == len(LABELS) else tuple(f"class {i}" for i in range(num_classes))


def checked_label_names(names: Sequence[str], num_classes: int | None = None) -> tuple[str, ...]:
    """Return label names as a tuple; ValueError unless they are different strings, one a class."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ValueError(f"label_names={names!r}: give a list with a string for each class")
    names = tuple(names)
    if not names:
        raise ValueError("label_names is empty: give a name for each class")
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
