"""Checkpoints: from a name or a folder to a BERTModel, or a classifier, and its vocabulary."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from .bert import HEADS, BERTClassifier, BERTModel
from .devices import first_device, try_all_gpus
from .labels import checked_label_names
from .layouts import open_checkpoint
from .layouts.building import YOURS, build
from .layouts.classifier import read_hugging_face_classifier
from .layouts.huggingface import is_hugging_face
from .runs.failures import memory_advice
from .store.classifiers import is_classifier_of_ours, read_classifier
from .store.hub import ARCHITECTURES, find_folder
from .vocab import Vocab

Net = TypeVar("Net", bound=nn.Module)


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
    `pytorch_model.bin`, `vocab.txt`), or it holds a fine-tuned classifier, of which the encoder and
    the pooler are taken. Sizes that you leave out are read from the checkpoint. ValueError names a
    size that contradicts it. Lines say what is new, left out or odd. The model is in evaluation
    mode, on the first of `devices` (None: the CPU).
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
        checkpoint.sizes_in: checkpoint.sizes,
        "DATA_HUB": ARCHITECTURES.get(str(name_or_dir), {}),
        YOURS: {key: value for key, value in given.items() if value is not None},
    }
    bert = build(checkpoint, known, dropout)
    # ascii, because a name from a file could hold what a terminal obeys
    heads = dict.fromkeys(ascii(name.partition(".")[0])[1:-1] for name in checkpoint.left_out)
    for fact, names in (
        ("new, to be trained", [HEADS[head] for head in bert.new_heads]),
        ("left out", [f"{head} (another task's)" for head in heads]),
    ):
        if names:
            print(f"{name_or_dir}: {fact}: {', '.join(names)}")
    for note in checkpoint.notes:
        print(f"{name_or_dir}: {note}")
    return (_moved(bert, devices[0]) if devices else bert), checkpoint.vocab


def load_classifier(
    name_or_dir: str | os.PathLike,
    device: torch.device | str = "cpu",
    *,
    label_names: Sequence[str] | None = None,
) -> tuple[BERTClassifier, Vocab]:
    """Load a fine-tuned classifier, in evaluation mode, on `device`, and its vocabulary.

    'auto' is the first GPU, or the CPU where there is none. The classifier is a folder that
    `save_classifier` or `export_classifier` wrote, or a BertForSequenceClassification of Hugging
    Face's: a folder or `hf:ORG/NAME`. The latter names its classes (`id2label`); give
    `label_names`, in the order of its outputs, if the names mean nothing (`LABEL_0`). If the
    classes are `LABELS` in another order, they are put in this one, and a line says so.
    """
    place = first_device(try_all_gpus()[:1] if device == "auto" else [device])
    net, vocab = _read_classifier(name_or_dir, label_names)
    return _moved(net, place), vocab


def _moved(net: Net, device: torch.device) -> Net:
    with memory_advice(device):
        return net.to(device)


def _read_classifier(
    name_or_dir: str | os.PathLike, label_names: Sequence[str] | None
) -> tuple[BERTClassifier, Vocab]:
    is_name = str(name_or_dir).startswith("hf:")
    folder = find_folder(name_or_dir) if is_name else Path(name_or_dir)
    if folder.is_dir() and not is_classifier_of_ours(folder) and is_hugging_face(folder):
        net, vocab, notes = read_hugging_face_classifier(folder, label_names)
        for note in notes:
            print(f"{name_or_dir}: {note}")
        return net, vocab
    path, net, vocab = read_classifier(folder)
    if label_names is not None and checked_label_names(label_names) != net.label_names:
        raise ValueError(
            f"{path}: the classes are {', '.join(net.label_names)}, not {', '.join(label_names)}: "
            "leave label_names out"
        )
    return net, vocab
