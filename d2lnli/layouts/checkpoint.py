"""The contents of a checkpoint, in every layout; no code from its files is run.

Wrong content raises a ValueError that names the file; a missing file, a FileNotFoundError.
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
    """The contents of a folder: tensors by their names in the file, and what describes them.

    `names` are replacements, in order, that turn our parameter names into the file's; `sizes` come
    from `config.json`; `options` are arguments of `BERTModel` for a layout other than the book's;
    `left_out` names the heads of other tasks.
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
        """Return the name that one of our parameters has in the file."""
        for ours, theirs in self.names:
            name = name.replace(ours, theirs)
        return name


def read_torch_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a state dict that torch saved."""
    tensors = read_torch(existing(path), "fetch it again")
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in tensors.items()
    ):
        raise ValueError(f"{path} is not a state dict (names and tensors): save net.state_dict()")
    for name, tensor in tensors.items():
        dense = tensor.layout is torch.strided and not tensor.is_nested and not tensor.is_quantized
        if not dense or not tensor.is_cpu:
            raise ValueError(f"{path}: {name} is not a plain dense tensor: save it as one")
    return dict(tensors)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file into memory, so that the file may change later."""
    try:
        mapped = safetensors.torch.load_file(existing(path))
        return {name: tensor.clone() for name, tensor in mapped.items()}
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged or incomplete ({error}): fetch it again") from error


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
