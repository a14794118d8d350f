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


def write_shards(
    folder: Path,
    file: str = "model.safetensors",
    place: Callable[[int, str], int] = lambda i, name: i % 3,
) -> dict:
    """Write the golden checkpoint in three shards; return the index that lies beside them."""
    (write_hf(folder) / "model.safetensors").unlink()
    stem, ending = file.split(".")
    shards = [f"{stem}-0000{i + 1}-of-00003.{ending}" for i in range(3)]
    tensors = tiny_tensors()
    map_ = {name: shards[place(i, name)] for i, name in enumerate(tensors)}
    for shard in shards:
        inside = {name: tensors[name] for name in tensors if map_[name] == shard}
        if ending == "safetensors":
            safetensors.torch.save_file(inside, folder / shard)
        else:
            torch.save(inside, folder / shard)
    index = {"metadata": {"total_size": 1}, "weight_map": map_}
    (folder / f"{file}.index.json").write_text(json.dumps(index))
    return index


def with_rows(tensors: dict[str, Tensor], number: int, fill: Callable = torch.zeros) -> dict:
    """Return tensors with more rows of the word embedding, and as many outputs of its decoder."""
    words, bias = "bert.embeddings.word_embeddings.weight", "cls.predictions.bias"
    more = {words: fill(number, 32), bias: fill(number)}
    return {**tensors, **{name: torch.cat([tensors[name], new]) for name, new in more.items()}}
