"""Tensors from files of weights; no code from them is run, and all of them are read or none."""

from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ..store.files import existing, read_torch
from ..store.weights import INDEX, MERGE, UNQUANTIZED, missing_shards, shards_of

_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_WRAPPERS = ("state_dict", "model_state_dict", "model")  # under which trainers keep a state dict
_OF_QUANTIZED = ("qweight", "qzeros", "scales", "SCB", "absmax", "weight_scale")
_LFS_POINTER = b"version https://git-lfs"
_SAVE_TENSORS = (
    "load it where you trust it, and save its tensors alone, torch.save(net.state_dict(), file)"
)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file, or of all shards of an index.

    Raises ValueError for a damaged file and for tensors that are not plain, such as quantized ones.
    """
    with existing(path).open("rb") as file:
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise ValueError(
                f"{path} is a pointer of Git LFS, not the file itself: run `git lfs pull` there"
            )
    if path.name.endswith(INDEX):
        tensors = _read_shards(path)
    elif path.suffix == ".safetensors":
        tensors = _read_safetensors(path)
    else:
        tensors = read_torch_tensors(path)
    for name in tensors:
        if name.rpartition(".")[2] in _OF_QUANTIZED or ".quant_state." in name:
            raise ValueError(f"{path}: {name} belongs to quantized weights: {UNQUANTIZED}")
        if ".lora_" in name or ".base_layer." in name:
            raise ValueError(f"{path}: {name} belongs to an adapter: {MERGE}")
    return tensors


def check_floats(name: str, tensor: Tensor, path: Path) -> None:
    """Raise ValueError if a parameter does not hold floating-point numbers, or too short ones."""
    if tensor.dtype not in _FLOATS:
        raise ValueError(
            f"{path}: {name} holds {tensor.dtype}, not floating-point numbers of 16 bits or more, "
            f"as quantized weights do: {UNQUANTIZED}"
        )


def read_torch_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a state dict that torch saved."""
    tensors: Any = read_torch(existing(path), "fetch it again", _SAVE_TENSORS)
    for wrapper in _WRAPPERS:
        if isinstance(tensors, dict) and isinstance(tensors.get(wrapper), dict):
            tensors = tensors[wrapper]
    if not isinstance(tensors, dict) or not all(isinstance(name, str) for name in tensors):
        raise ValueError(f"{path} is not a state dict (names and tensors): save net.state_dict()")
    for name, tensor in tensors.items():
        if "_packed_params" in name:
            raise ValueError(f"{path}: {name} belongs to quantized weights: {UNQUANTIZED}")
        if not isinstance(tensor, Tensor):
            raise ValueError(
                f"{path} is not a state dict (names and tensors), because {name!r} is a "
                f"{type(tensor).__name__}: save net.state_dict()"
            )
        dense = tensor.layout is torch.strided and not tensor.is_nested and not tensor.is_quantized
        if not dense or not tensor.is_cpu or _is_expanded(tensor):
            raise ValueError(f"{path}: {name} is not a plain dense tensor: save it as one")
    return dict(tensors)


def _is_expanded(tensor: Tensor) -> bool:
    """Return whether a tensor repeats what is stored once, so that it may be of any size."""
    return tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file into memory, so that the file may change later."""
    try:
        mapped = safetensors.torch.load_file(existing(path))
        return {name: tensor.clone() for name, tensor in mapped.items()}
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged or incomplete ({error}): fetch it again") from error


def _read_shards(index: Path) -> dict[str, Tensor]:
    if missing := missing_shards(index):
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise FileNotFoundError(
            f"{index.parent} lacks {', '.join(missing[:5])}{more}, which {index.name} names: fetch "
            "them, too"
        )
    tensors: dict[str, Tensor] = {}
    for file, names in shards_of(index).items():
        shard = read_weights(index.parent / file)
        if absent := [name for name in names if name not in shard]:
            raise ValueError(
                f"{index.parent / file} lacks {absent[0]}, which {index.name} says it has: fetch "
                "both again"
            )
        if twice := sorted(shard.keys() & tensors.keys()):
            raise ValueError(f"{index.parent / file}: another shard has {twice[0]}, too: fetch all")
        tensors |= shard
    return tensors
