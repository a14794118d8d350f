"""Checkpoints of every layout, written for tests as their own libraries write them."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from conftest import GOLDEN
from seams import MXNET_NAMES

HF = GOLDEN.parent / "hf" / "tiny"
MXNET_TYPES = {"float32": 0, "float64": 1, "float16": 2}


def write_mxnet(path: Path, arrays: dict[str, np.ndarray], magic: int = 0xF993FACA) -> None:
    """Write named arrays as MXNet's `save_parameters` does."""
    with path.open("wb") as file:
        file.write(struct.pack("<QQQ", 0x112, 0, len(arrays)))
        for array in arrays.values():
            file.write(struct.pack("<Iii", magic, 0, array.ndim))
            file.write(struct.pack(f"<{array.ndim}q", *array.shape))
            file.write(struct.pack("<iii", 1, 0, MXNET_TYPES[array.dtype.name]))
            array.tofile(file)
        file.write(struct.pack("<Q", len(arrays)))
        for name in arrays:
            file.write(struct.pack("<Q", len(name.encode())) + name.encode())


def in_mxnet(name: str) -> str:
    """Return MXNet's name of a parameter of the book's PyTorch edition; the golden holds them."""
    for ours, theirs in MXNET_NAMES:
        name = name.replace(ours, theirs)
    return name


def tiny_tensors() -> dict[str, Tensor]:
    """Return the tensors of the golden BertForPreTraining by their names."""
    return safetensors.torch.load_file(HF / "model.safetensors")


def write_hf(
    folder: Path,
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]] = lambda tensors: tensors,
    config: dict | None = None,
    file: str = "model.safetensors",
) -> Path:
    """Write the golden checkpoint into a folder, with its tensors and its config changed."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(HF / "vocab.txt", folder)
    old = json.loads((HF / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**old, **(config or {})}))
    tensors = change(tiny_tensors())
    if file == "model.safetensors":
        safetensors.torch.save_file(tensors, folder / file)
    else:
        torch.save(tensors, folder / file)
    return folder
