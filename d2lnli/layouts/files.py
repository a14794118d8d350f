"""Files of a checkpoint, read without running code from them, and what every layout makes of them.

What is wrong is a ValueError that names the file; a file that is not there, a FileNotFoundError.
"""

import json
from pathlib import Path
from typing import NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ..text import Vocab

SIZES = ("vocab_size", "num_hiddens", "ffn_num_hiddens", "num_heads", "num_blks", "max_len")
OPTIONS = ("activation", "embedding_norm", "norm_eps", "tied_decoder", "is_next")


class Checkpoint(NamedTuple):
    """What a folder holds: tensors by the names of their file, and what else is known of them.

    `names` are the replacements, in order, that turn our name of a parameter into the file's;
    `config` has some of `SIZES` and `OPTIONS`, as `config.json` gives them.
    """

    path: Path
    tensors: dict[str, Tensor]
    names: tuple[tuple[str, str], ...]
    config: dict
    vocab: Vocab
    vocab_path: Path
    left_out: tuple[str, ...] = ()

    def name_in_file(self, name: str) -> str:
        """Return the name in the file of one of our parameters."""
        for ours, theirs in self.names:
            name = name.replace(ours, theirs)
        return name


def existing(path: Path) -> Path:
    """Return the path of a file that must be there."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: a checkpoint's folder must hold it")
    return path


def read_json(path: Path, kind: type) -> list | dict:
    """Read a JSON file that holds a list or a dict, as `kind` says."""
    try:
        content = json.loads(existing(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON in UTF-8 ({error}): fetch it again") from error
    if not isinstance(content, kind):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a {kind.__name__}")
    return content


def read_torch(path: Path, way_out: str) -> object:
    """Read what torch saved, in either serialization, without running code from the file."""
    with path.open("rb") as file:
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except MemoryError:
            raise
        except Exception as error:  # a damaged file makes torch raise almost anything
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise ValueError(
                f"{path} is not a whole file of torch's ({reason}): {way_out}"
            ) from error


def read_torch_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a state dict that torch saved."""
    tensors = read_torch(existing(path), "fetch it again")
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in tensors.items()
    ):
        raise ValueError(f"{path} is not a state dict (names with tensors): save net.state_dict()")
    return dict(tensors)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file."""
    try:
        return safetensors.torch.load_file(existing(path))
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is not a whole safetensors file ({error}): fetch it again"
        ) from error


def check_config(config: dict, path: Path) -> dict:
    """Return `config` if its sizes are whole numbers above zero and its options are ours."""
    for name, value in config.items():
        if name not in SIZES + OPTIONS:
            known = ", ".join(SIZES + OPTIONS)
            raise ValueError(f"{path}: unknown entry {name!r}: use {known}")
        if name in SIZES and (type(value) is not int or value < 1):
            raise ValueError(f"{path}: {name}={value!r} is not a whole number above zero: mend it")
    eps = config.get("norm_eps", 1e-5)
    if type(eps) not in (int, float) or not 0 <= eps < 1:
        raise ValueError(f"{path}: a layer norm's epsilon of {eps!r}: it is a small number")
    return config
