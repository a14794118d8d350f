"""Files of a checkpoint, read without running code from them, and what every layout makes of them.

What is wrong is a ValueError that names the file; a file that is not there, a FileNotFoundError.
"""

import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ..store.files import existing, read_torch
from ..vocab import Vocab

_SPECIAL = re.compile(r"\[.*\]|<.*>")


class Checkpoint(NamedTuple):
    """What a folder holds: tensors by the names of their file, and what else is known of them.

    `names` are the replacements, in order, that turn our name of a parameter into the file's;
    `sizes` are those that `config.json` gives; `options` are arguments of `BERTModel` in
    which the layout differs from the book's.
    """

    path: Path
    tensors: dict[str, Tensor]
    names: tuple[tuple[str, str], ...]
    sizes: dict[str, int]
    options: dict
    vocab: Vocab
    vocab_path: Path
    left_out: tuple[str, ...] = ()

    def name_in_file(self, name: str) -> str:
        """Return the name in the file of one of our parameters."""
        for ours, theirs in self.names:
            name = name.replace(ours, theirs)
        return name


def read_torch_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a state dict that torch saved."""
    tensors = read_torch(existing(path), "fetch it again")
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in tensors.items()
    ):
        raise ValueError(f"{path} is not a state dict (names with tensors): save net.state_dict()")
    for name, tensor in tensors.items():
        dense = tensor.layout is torch.strided and not tensor.is_nested and not tensor.is_quantized
        if not dense or not tensor.is_cpu:
            raise ValueError(f"{path}: {name} is not a plain dense tensor: save it as one")
    return dict(tensors)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file; what becomes of the file later does not matter."""
    try:
        mapped = safetensors.torch.load_file(existing(path))
        return {name: tensor.clone() for name, tensor in mapped.items()}
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is not a whole safetensors file ({error}): fetch it again"
        ) from error


def warn_of_capitals(words: Iterable[str], path: Path, way_out: str) -> None:
    """Warn if a vocabulary holds capital letters, which no lower-cased sentence finds."""
    found = [word for word in words if re.search("[A-Z]", word) and not _SPECIAL.fullmatch(word)]
    if found:
        warnings.warn(
            f"{path} has {len(found)} words with capital letters, such as {found[0]!r}, but "
            f"sentences are read in lower case: {way_out}",
            stacklevel=2,
        )


def check_sizes(sizes: dict, path: Path) -> None:
    """Raise ValueError for a size in a config that is not a whole number above zero."""
    for name, value in sizes.items():
        if type(value) is not int or value < 1:
            raise ValueError(f"{path}: {name}={value!r} is not a whole number above zero: mend it")
