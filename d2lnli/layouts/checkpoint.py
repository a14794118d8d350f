"""The contents of a checkpoint, in every layout.

Wrong content raises a ValueError that names the file; a missing file, a FileNotFoundError.
"""

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from ..vocab import Vocab

_SPECIAL = re.compile(r"\[.*\]|<.*>")


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a folder: tensors by their names in the file, and what describes them.

    `names` are replacements, in order, that turn our parameter names into the file's; `sizes` come
    from the file `sizes_in`; `options` are arguments of `BERTModel` for a layout other than the
    book's; `left_out` has the heads of other tasks; `notes` are lines that a person should read.
    """

    path: Path
    tensors: dict[str, Tensor]
    names: tuple[tuple[str, str], ...]
    sizes: dict[str, int]
    options: dict
    vocab: Vocab
    vocab_path: Path
    sizes_in: str = "config.json"
    left_out: dict[str, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def name_in_file(self, name: str) -> str:
        """Return the name that one of our parameters has in the file."""
        return renamed(name, self.names)


def renamed(name: str, names: Iterable[tuple[str, str]]) -> str:
    """Make replacements in a name, in order."""
    for ours, theirs in names:
        name = name.replace(ours, theirs)
    return name


def warn_of_capitals(words: Iterable[str], path: Path, advice: str) -> None:
    """Warn if a vocabulary has capital letters, because sentences are converted to lower case."""
    found = [word for word in words if re.search("[A-Z]", word) and not _SPECIAL.fullmatch(word)]
    if found:
        warnings.warn(
            f"{path} has {len(found)} words with capital letters, such as {found[0]!r}, but "
            f"sentences are converted to lower case: {advice}",
            stacklevel=2,
        )


def check_sizes(sizes: dict, path: Path) -> None:
    """Raise ValueError if a size in a config is not a positive integer."""
    for name, value in sizes.items():
        if type(value) is not int or value < 1:
            raise ValueError(f"{path}: {name}={value!r} is not a positive integer: correct it")
