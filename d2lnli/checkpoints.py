"""Pretrained checkpoints: from a name or a folder to a BERTModel and its vocabulary."""

import os

import torch

from .bert import HEADS, BERTModel
from .layouts import open_checkpoint
from .layouts.building import build
from .store.hub import ARCHITECTURES, find_folder
from .vocab import Vocab


def load_pretrained_model(
    name_or_dir: str | os.PathLike,
    num_hiddens: int | None = None,
    ffn_num_hiddens: int | None = None,
    num_heads: int | None = None,
    num_blks: int | None = None,
    dropout: float = 0.1,
    max_len: int | None = None,
    devices: list[torch.device] | None = None,
) -> tuple[BERTModel, Vocab]:
    """Load a BERT and its vocabulary: a name in `DATA_HUB`, `hf:ORG/NAME`, or a folder.

    A folder has the book's layout (`vocab.json` and `pretrained.params`, PyTorch's or MXNet's,
    and perhaps `config.json`) or Hugging Face's (`config.json`, `model.safetensors` or
    `pytorch_model.bin`, `vocab.txt`). Sizes that you leave out are read from the checkpoint.
    ValueError names a size that contradicts it. A line names the heads that the checkpoint lacks
    and that are new. The model is in evaluation mode, on the first of `devices` (None: the CPU).
    """
    checkpoint = open_checkpoint(find_folder(name_or_dir))
    given = {
        "num_hiddens": num_hiddens,
        "ffn_num_hiddens": ffn_num_hiddens,
        "num_heads": num_heads,
        "num_blks": num_blks,
        "max_len": max_len,
    }
    known = {
        "config.json": checkpoint.sizes,
        "DATA_HUB": ARCHITECTURES.get(str(name_or_dir), {}),
        "your argument": {key: value for key, value in given.items() if value is not None},
    }
    bert = build(checkpoint, known, dropout)
    for fact, names in (
        ("new, to be trained", [HEADS[head] for head in bert.new_heads]),
        ("left out", [f"{head} (another task's)" for head in checkpoint.left_out]),
    ):
        if names:
            print(f"{name_or_dir}: {fact}: {', '.join(names)}")
    return (bert.to(devices[0]) if devices else bert), checkpoint.vocab
