"""Which file of a corpus's folder holds a split: `snli_1.0_dev.txt`, `validation.jsonl`, …"""

import re
import zlib
from itertools import takewhile
from pathlib import Path

from .tables import preference, stem

STANDARD = ("train", "dev", "test")
_SUBSTITUTES = {
    "dev": ("dev_matched", "validation", "validation_matched", "valid", "val", "trial"),
    "test": ("dev_mismatched", "validation_mismatched"),  # MultiNLI's test labels are secret
}
"""Splits that serve as another one, best first."""

_SPLIT_NAMES = {*STANDARD, "validation", "valid", "val"}


def split_file(folder: Path, split: str) -> Path:
    """Return the file of a split in any layout.

    Its name is that of the split, or ends in it, or has it in the middle. Raises FileNotFoundError
    if the folder has no such file, and ValueError if it has several, or if no corpus has that
    split.
    """
    tables = {path: _words(stem(path)) for path in _tables(folder)}
    names = list(filter(None, map(_words, (split, *_SUBSTITUTES.get(split, ())))))
    for begins, ends in ((True, True), (False, True), (False, False)):
        for name in names:
            others = _SPLIT_NAMES - set(name)  # a file with two names of splits is neither of them
            found = [
                path
                for path, words in tables.items()
                if _has(words, name, begins, ends) and others.isdisjoint(words)
            ]
            if len({stem(path) for path in found}) > 1:
                listed = ", ".join(repr(stem(path)) for path in found)
                raise ValueError(
                    f"{folder} has several files for the split {split!r}: choose one of {listed}"
                )
            if found:  # perhaps in several layouts, as SNLI comes; `x.txt` stands before `x.txt.gz`
                return min(found, key=preference)
    raise _missing(folder, split, list(tables.values()))


def _missing(folder: Path, split: str, names: list[list[str]]) -> Exception:
    """Return an error that lists what a folder has instead of a split."""
    if split in STANDARD:
        files = sorted(repr(path.name) for path in folder.iterdir()) if folder.is_dir() else []
        shown = ", ".join([*files[:8], *(["…"] if len(files) > 8 else [])]) or "no files"
        return FileNotFoundError(
            f"{folder / f'snli_1.0_{split}.txt'} is missing, and no other file is named after the "
            f"split {split!r}; the folder has {shown}"
        )
    columns = zip(*(words[:-1] for words in names), strict=False)
    shared = len(list(takewhile(lambda words: len(set(words)) == 1 < len(words), columns)))
    known = ", ".join(sorted({repr("_".join(words[shared:])) for words in names}))
    return ValueError(f"unknown split {split!r}: {folder} has {known or 'no files with pairs'}")


def only_table(folder: Path) -> Path:
    """Return the only file of pairs in a folder; ValueError if it has several, or none."""
    tables = _tables(folder)
    if len(tables) != 1:
        names = ", ".join(repr(path.name) for path in tables) or "none"
        raise ValueError(f"{folder} is a folder, with the files of pairs {names}: give a file")
    return tables[0]


def part_of(premise: str) -> str:
    """Return the split to which a premise belongs in a corpus of one file, wherever it stands."""
    words = " ".join(_words(premise))  # so that a full stop more makes no difference
    tenth = zlib.crc32(words.encode()) % 10
    return {0: "test", 1: "dev"}.get(tenth, "train")


def _tables(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if stem(path) and path.is_file())


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W_]+", name.casefold())


def _has(words: list[str], name: list[str], begins: bool, ends: bool) -> bool:
    """Return whether a file name has the words of a split, perhaps at its beginning and its end."""
    return any(
        words[i : i + len(name)] == name
        for i in range(len(words))
        if (i == 0 or not begins) and (i + len(name) == len(words) or not ends)
    )
