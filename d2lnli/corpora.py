"""Corpora: from files to (premises, hypotheses, labels)."""

import os
import re
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from numbers import Integral
from pathlib import Path
from typing import Any

from .labels import LABELS, LabelIds, LabelReader

Columns = Mapping[str, str | None] | Sequence[str | None] | None
"""(premise, hypothesis, label), or a dict with some of these keys; None: found by their names."""

_COLUMNS = {
    "premise": ("premise", "sentence1", "sentencea", "context"),
    "hypothesis": ("hypothesis", "sentence2", "sentenceb"),
    "label": ("label", "goldlabel", "entailmentlabel", "entailmentjudgment"),
}
"""How corpora name these columns, without case and punctuation."""

ROLES = tuple(_COLUMNS)
_PARSES = {"premise": "sentence1binaryparse", "hypothesis": "sentence2binaryparse"}


def read_snli(
    data_dir: str | Path, is_train: bool | str, max_examples: int | None = None
) -> tuple[list[str], list[str], list[int]]:
    """Read one split of a corpus as (premises, hypotheses, label ids).

    `data_dir` is SNLI's folder, or another with a file for each split in any layout of
    `read_pairs`. It may also be a single file: a fixed tenth of its premises is dev, and another
    tenth is test. `is_train` is True (train), False (test), or the name of a split, such as 'dev'.
    `max_examples` is the number of pairs to read, from the first. Pairs whose annotators disagree
    (label `-`) are left out. Raises OSError if the file cannot be read, and ValueError, with the
    line, if it is not such a corpus.
    """
    return open_split(data_dir, is_train).read(max_examples)


def read_pairs(
    file: str | Path,
    columns: Columns = None,
    label_names: Sequence[str] | None = None,
    max_examples: int | None = None,
) -> tuple[list[str], list[str], list[int] | None]:
    """Read a file as (premises, hypotheses, label ids); the ids are None if it has no labels.

    The file is CSV, TSV or JSON lines (`.csv`, `.tsv`, `.txt`, `.jsonl`), gzipped or not. A line
    says which columns were used. `columns` names those that have other names; a label of None
    ignores the labels. `label_names` names the classes in the order of their ids, for labels that
    are numbers, and for classes of your own; `SNLIBERTDataset` finds the names in the ids.
    Pairs without a gold label (`-`, -1 or nothing) are left out. Raises OSError if the file cannot
    be read, and ValueError, with the line, if it is not such a file.
    """
    pairs = PairFile(file, columns, label_names)
    premises, hypotheses, labels = pairs.read(max_examples)
    return premises, hypotheses, None if pairs.label is None else labels


def read_phenomena(
    data_dir: str | Path, is_train: bool | str, max_examples: int | None = None
) -> list[str]:
    """Return the phenomenon that each pair of `read_snli` tests, such as 'negation'.

    `Scenes` names it at the end of its pairIDs. Pairs of other corpora have 'not told'.
    """
    pairs = open_split(data_dir, is_train)
    column = "pairID" if "pairID" in pairs.table.columns else pairs.premise
    rows = pairs.pairs_with(column, max_examples=max_examples)
    found = (re.search(r"^[a-z]+\d+r\d+\.([a-z]+)$", str(pair_id)) for _, (pair_id,) in rows)
    return [match[1] if match else "not told" for match in found]


def open_split(
    data_dir: str | Path,
    is_train: bool | str,
    columns: Columns = None,
    label_names: Sequence[str] | None = None,
    classes: tuple[str, ...] = LABELS,
) -> "PairFile":
    """Return the pairs of one split of a corpus, as `read_snli` describes it."""
    from .store.splits import STANDARD, split_file

    split = {"True": "train", "False": "test"}.get(str(is_train), is_train)
    path = _path(data_dir)
    if not isinstance(split, str) or (path.is_file() and split not in STANDARD):
        raise ValueError(f"unknown split {is_train!r}: use True, False, 'train', 'dev' or 'test'")
    if path.is_file():
        return PairFile(path, columns, label_names, classes, part=split).labelled()
    return PairFile(split_file(path, split), columns, label_names, classes).labelled()


class PairFile:
    """A file with a pair in each row, and its columns for premise, hypothesis and label.

    `classes` are the names of labels that a file without `label_names` may have. `part` is 'train',
    'dev' or 'test': of a corpus in a single file, only this split counts. `name` stands for the
    file in messages.
    """

    def __init__(
        self,
        file: str | Path,
        columns: Columns = None,
        label_names: Sequence[str] | None = None,
        classes: tuple[str, ...] = LABELS,
        part: str | None = None,
        name: str | None = None,
    ):
        from .store.tables import Table

        self.path, self.part, self.num_unlabelled = _path(file), part, 0
        self.name = name or str(file)
        self.table = Table(self.path, self.name)
        try:
            self.premise, self.hypothesis, self.label = _roles(self.table.columns, columns)
        except ValueError as error:
            raise ValueError(f"{self.name}, line {self.table.header_line}: {error}") from error
        sides = {"premise": self.premise, "hypothesis": self.hypothesis}
        self._parses = {role: _is_parse(name) for role, name in sides.items()}
        self.is_parse = all(self._parses.values())
        if not self.is_parse:  # a parse begins with a bracket, so a quote before it is clear
            self.table.detect_quotes()
        if label_names is not None:
            self.label_id = LabelReader(label_names, numbers=True)
        elif self.label is None:
            self.label_id = LabelReader(classes)
        else:
            get = self.table.getter([self.label])
            labels = (get(row)[0] for _, row in self._rows())
            self.label_id = LabelReader.of_column(labels, classes)

    def labelled(self) -> "PairFile":
        """Return this file; ValueError if it has no labels."""
        if self.label is None:
            problem = _unclear("label", [], self.table.columns)
            raise ValueError(f"{self.name}, line {self.table.header_line}: {problem}")
        return self

    def read(self, max_examples: int | None = None) -> tuple[list[str], list[str], LabelIds]:
        """Return (premises, hypotheses, label ids), and print which columns were used."""
        premises, hypotheses, labels = [], [], LabelIds([], self.label_id.names)
        for (premise, hypothesis, label), _ in _first(max_examples, self._pairs(whole=False)):
            premises.append(premise)
            hypotheses.append(hypothesis)
            labels.append(label)
        self.announce()
        return premises, hypotheses, labels

    def pairs(self, max_examples: int | None = None) -> Iterator[tuple[str, str, int]]:
        """Yield (premise, hypothesis, label id) of the first pairs, one at a time.

        Pairs without a gold label are left out. In a file without labels, all ids are -1.
        """
        return (pair for pair, _ in _first(max_examples, self._pairs(whole=False)))

    def pairs_with(
        self, *columns: str, max_examples: int | None = None
    ) -> Iterator[tuple[tuple[str, str, int], tuple]]:
        """Yield each pair of `pairs` and what stands in these columns of its row."""
        get = self.table.getter(columns)
        pairs = _first(max_examples, self._pairs(whole=True))
        return ((pair, get(row)) for pair, row in pairs)

    def first_row(self) -> dict[str, Any]:
        """Return what stands in each column of the first pair."""
        columns = self.table.columns
        return dict(zip(columns, next(self.pairs_with(*columns))[1], strict=True))

    def announce(self) -> None:
        """Print `description`, but not for SNLI's own files, which need none."""
        if not (self.is_parse and self.path.name.startswith("snli_1.0_")):
            print(self.description())

    def description(self) -> str:
        """Return a line that says what was used for what, and what was left out."""
        roles = {"premise": self.premise, "hypothesis": self.hypothesis, "label": self.label}
        parts = [f"{role} from {name!r}" for role, name in roles.items() if name is not None]
        if self.label is None:
            parts.append("no labels used")
        elif self.label_id.names != LABELS:
            parts.append(f"classes {', '.join(self.label_id.names)}")
        if self.part:
            parts.append(f"split {self.part} by premise")
        if self.num_unlabelled:
            parts.append(f"{self.num_unlabelled} without a gold label left out")
        return f"{Path(self.name).name}: {', '.join([*parts, *self.table.doubts()])}"

    def identity(self) -> list:
        """Return what distinguishes these pairs from others, for JSON."""
        status = self.path.stat()
        file = [str(self.path.absolute()), status.st_size, status.st_mtime_ns]
        labels = [self.label, self.label_id.names, self.label_id.numbers]
        return [*file, self.premise, self.hypothesis, *labels, self.part]

    def _rows(self, whole: bool = False) -> Iterator[tuple[int, Any]]:
        if not self.is_parse:
            return self.table.rows()
        # SNLI's long lines are split no further than needed; some have fewer columns at the end
        used = (name for name in (self.premise, self.hypothesis, self.label) if name is not None)
        return self.table.rows(1 + max(map(self.table.columns.index, used)), whole)

    def _pairs(self, whole: bool) -> Iterator[tuple[tuple[str, str, int], Any]]:
        """Yield each pair with its row, which has all columns if it is `whole`."""
        from .store.splits import part_of

        label = self.premise if self.label is None else self.label
        get = self.table.getter([self.premise, self.hypothesis, label])
        num_pairs = self.num_unlabelled = 0
        text: Any = object()  # unlike any premise
        premise, part, parses = "", self.part, self._parses
        for number, row in self._rows(whole):
            premise_text, hypothesis, label = get(row)
            try:
                label_id = -1 if self.label is None else self.label_id(label)
                if label_id is None:
                    self.num_unlabelled += 1
                    continue
                if text != premise_text:  # SNLI has a premise three times in a row: keep it once
                    if (premise_text, hypothesis) == (self.premise, self.hypothesis):
                        raise ValueError("the header again: delete that line")
                    premise = _sentence("premise", premise_text, parses["premise"])
                    text, part = premise_text, part_of(premise) if self.part else None
                hypothesis = _sentence("hypothesis", hypothesis, parses["hypothesis"])
            except ValueError as error:
                raise ValueError(f"{self.name}, line {number}: {error}") from error
            if part == self.part:
                num_pairs += 1
                yield (premise, hypothesis, label_id), row
        if not num_pairs:
            problem = f"has no {'pairs' if self.label is None else 'labelled pairs'}"
            way_out = "check that it is the right file"
            if self.part:
                problem += f" whose premise belongs to the split {self.part!r}"
                way_out = "give a file with more pairs, or a file for each split"
            raise ValueError(f"{self.name} {problem}: {way_out}")


def _sentence(role: str, text: Any, is_parse: bool) -> str:
    """Return what stands in a column as a sentence; ValueError if it is none."""
    if not isinstance(text, str):
        raise ValueError(f"the {role} is {str(text)[:80]}, not a sentence: correct that line")
    if is_parse:
        if text[:2] == '"(' and text[-2:] == ')"':  # a spreadsheet program wrote the file
            text = text[1:-1].replace('""', '"')
        text = " ".join(text.replace("(", "").replace(")", "").split())
    if not (text[:1].isalnum() or any(map(_is_visible, text))):
        instead = ", or use other columns than the parses" if is_parse else ""
        raise ValueError(f"the {role} is empty: correct that line{instead}")
    return text


def _path(file: str | Path) -> Path:
    if not isinstance(file, (str, os.PathLike)):
        raise ValueError(f"{file!r} is not the path of a file or folder: give a string or a Path")
    return Path(file)


def _is_visible(character: str) -> bool:
    """Return whether a tokenizer keeps a character: not a space, a control or a format code."""
    return unicodedata.category(character)[0] not in "CZ" and character != "\ufffd"


def _first(max_examples: int | None, pairs: Iterator) -> Iterator:
    if max_examples is None:
        return pairs
    is_number = isinstance(max_examples, Integral) and not isinstance(max_examples, bool)
    if not (is_number and max_examples >= 1):
        raise ValueError(f"max_examples={max_examples!r}: it must be a whole number, at least 1")
    return islice(pairs, min(int(max_examples), sys.maxsize))


def _roles(names: list[str], columns: Columns) -> tuple[str, str, str | None]:
    """Return the columns of premise, hypothesis and label; ValueError if they are unclear."""
    is_list = isinstance(columns, Sequence) and not isinstance(columns, str)
    if not (columns is None or is_list or isinstance(columns, Mapping)):
        raise ValueError(f"columns={columns!r}: give (premise, hypothesis, label), or a dict")
    given = columns
    if not isinstance(given, Mapping):
        given = dict(zip(ROLES, given or (), strict=False))
    if not given.keys() <= _COLUMNS.keys() or len(given) < len(columns or ()):
        raise ValueError(f"columns={columns!r}: there are {', '.join(ROLES)}, and no others")
    plain = {name: _plain(name) for name in names}
    sides = [given[role] for role in _PARSES if given.get(role) is not None]
    uses_parses = set(_PARSES.values()) <= set(plain.values()) and all(map(_is_parse, sides))
    found: list[Any] = []
    for role, known in _COLUMNS.items():
        wanted, parse = given.get(role), _PARSES.get(role)
        if wanted is not None:
            fitting = [name for name in names if name == wanted]
        else:
            known = (parse,) if uses_parses and parse else known
            fitting = [name for name in names if plain[name] in known]
        is_absent = role == "label" and wanted is None and (role in given or not fitting)
        if len(fitting) != 1 and not is_absent:
            raise ValueError(_unclear(role, fitting, names))
        found.append(None if is_absent else fitting[0])
    if len(set(found)) < len(found):
        raise ValueError(f"columns={columns!r}: one column cannot have two roles")
    return found[0], found[1], found[2]


def _is_parse(name: Any) -> bool:
    return _plain(str(name)) in _PARSES.values()


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _unclear(role: str, fitting: list[str], names: list[str]) -> str:
    """Return what is wrong with the columns that may have a role, and the way out."""
    problem = f"several columns may be the {role}" if fitting else f"no column for the {role}"
    shown = ", ".join(repr(name[:40]) for name in names[:20]) + (", …" if len(names) > 20 else "")
    return (
        f"{problem}. The header has {shown}: name the columns premise, hypothesis and label in it, "
        "or name them with columns=(premise, hypothesis, label), on the command line --columns"
    )
