"""Datasets on disk: built once, and mapped into memory by any number of processes and runs.

The system reads the pages that a minibatch needs and drops them again, so that neither building nor
training holds the corpus in memory. A folder holds an array in each `.bin`, and what they are.
"""

import contextlib
import json
import shutil
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..corpora import LABELS, checked_label_names, snli_file, snli_pairs
from ..dataset import SNLIBERTDataset
from ..fast.encoding import EncodedPairs, encode_pairs
from ..vocab import Vocab
from .files import exclusive_lock, read_json, writing

_PAIRS_AT_ONCE = 100_000
_ARRAYS = {name: "<i4" if name == "ids" else "<i8" for name in (*EncodedPairs._fields, "labels")}
_DESCRIPTION = "dataset.json"
_VERSION = 2
Parts = Iterable[tuple[EncodedPairs, np.ndarray]]
"""Encoded pairs and their label ids, many at a time."""


def mapped_dataset(
    parent: str | Path,
    data_dir: str | Path,
    is_train: bool | str,
    max_len: int,
    vocab: Vocab,
    truncation: str = "longest_first",
    max_examples: int | None = None,
) -> SNLIBERTDataset:
    """Return the dataset of a split, memory-mapped; it is built in `parent` if it is not there.

    Each corpus, vocabulary, length, strategy and number of pairs has a folder of its own there. Of
    several processes one builds, while the others wait.
    """
    file = snli_file(data_dir, is_train).absolute()
    made_of = {
        "version": _VERSION,
        "file": str(file),
        "size": file.stat().st_size,
        "changed": file.stat().st_mtime_ns,
        "max_len": max_len,
        "truncation": truncation,
        "max_examples": max_examples,
        "vocab": _checksum(vocab),
    }
    folder = Path(parent) / f"{file.stem}-{zlib.crc32(json.dumps(made_of).encode()):08x}"
    with writing("the dataset", folder), exclusive_lock(folder):
        if not folder.is_dir():
            pairs = snli_pairs(data_dir, is_train, max_examples)
            parts = _encoded(pairs, max_len, vocab, truncation)
            _build(folder, parts, max_len, vocab, LABELS, truncation)
    dataset = SNLIBERTDataset.load(folder, vocab)
    dataset.truncation = truncation  # earlier versions did not write it down
    return dataset


def _encoded(
    pairs: Iterator[tuple[str, str, int]], max_len: int, vocab: Vocab, truncation: str
) -> Parts:
    while some := list(islice(pairs, _PAIRS_AT_ONCE)):
        premises, hypotheses, labels = zip(*some, strict=True)
        yield encode_pairs(premises, hypotheses, max_len, vocab, truncation), np.array(labels)


def write_dataset(folder: Path, dataset: SNLIBERTDataset) -> None:
    """Write a dataset, which replaces one that is there; ValueError if anything else is."""
    folder = folder.resolve()
    ours = {_DESCRIPTION, *(f"{name}.bin" for name in _ARRAYS)}
    if folder.is_dir() and (others := {path.name for path in folder.iterdir()} - ours):
        raise ValueError(
            f"{folder} holds other files than a dataset's ({', '.join(sorted(others)[:3])}), which "
            "saving would delete: give a folder of its own"
        )
    labels = iter(dataset.labels.numpy())
    parts = (
        (part, np.fromiter(labels, np.int64, len(part.starts))) for part in dataset.encoded.parts()
    )
    settings = dataset.max_len, dataset.vocab, dataset.label_names, dataset.truncation
    with writing("the dataset", folder), exclusive_lock(folder):
        _build(folder, parts, *settings)


def map_dataset(folder: Path, vocab: Vocab) -> tuple[EncodedPairs, torch.Tensor, dict[str, Any]]:
    """Return the pairs of a folder, mapped, their label ids, and what else is known of them."""
    path = folder / _DESCRIPTION
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: write a dataset there with its save(folder)")
    described, way_out = read_json(path, dict), f"delete {folder}, to build it anew"
    if described.get("version") != _VERSION:
        raise ValueError(f"{path} is not of this version of d2lnli: {way_out}")
    if described.get("vocab") != _checksum(vocab):
        raise ValueError(f"{folder} was built with another vocabulary: use that, or {way_out}")
    try:
        arrays = {name: _map(path.with_name(f"{name}.bin"), name, described) for name in _ARRAYS}
        names = described["label_names"]
        known = {
            "max_len": described["max_len"],
            "label_names": None if names is None else checked_label_names(names),
            "truncation": described.get("truncation"),
        }
    except (LookupError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}): {way_out}") from error
    except ValueError as error:
        raise ValueError(f"{error}: {way_out}") from error
    labels = torch.from_numpy(arrays.pop("labels"))
    return EncodedPairs(**arrays), labels, known


def _map(file: Path, name: str, described: dict) -> np.ndarray:
    kind, length = _ARRAYS[name], described["num_tokens" if name == "ids" else "num_pairs"]
    whole = file.is_file() and file.stat().st_size == length * np.dtype(kind).itemsize
    # "c": torch wants arrays that it could write to; what it wrote would stay in this process
    array = np.asarray(np.memmap(file, kind, mode="c")) if whole else None
    if array is None or zlib.crc32(array.data) != described["checksums"][name]:
        raise ValueError(f"{file} is damaged")
    return array


def _checksum(vocab: Vocab) -> int:
    return zlib.crc32(json.dumps(vocab.identity()).encode())


def _build(
    folder: Path,
    parts: Parts,
    max_len: int,
    vocab: Vocab,
    label_names: tuple[str, ...] | None,
    truncation: str | None,
) -> None:
    """Write encoded pairs, part after part; the folder takes its name once it is whole.

    One of this name is replaced.
    """
    half = folder.with_name(f".{folder.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    try:
        half.mkdir()
        checksums, num_tokens, num_pairs = dict.fromkeys(_ARRAYS, 0), 0, 0
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context((half / f"{name}.bin").open("wb")) for name in _ARRAYS]
            for encoded, labels in parts:
                encoded = encoded._replace(starts=encoded.starts + num_tokens)
                arrays = zip(files, _ARRAYS.items(), (*encoded, labels), strict=True)
                for file, (name, kind), array in arrays:
                    content = array.astype(kind, copy=False).data
                    file.write(content)
                    checksums[name] = zlib.crc32(content, checksums[name])
                num_tokens, num_pairs = num_tokens + len(encoded.ids), num_pairs + len(labels)
        description = {
            "version": _VERSION,
            "num_pairs": num_pairs,
            "num_tokens": num_tokens,
            "max_len": max_len,
            "label_names": label_names,
            "truncation": truncation,
            "vocab": _checksum(vocab),
            "checksums": checksums,
        }
        (half / _DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", "utf-8")
        if folder.is_dir():
            shutil.rmtree(folder)
        half.rename(folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)
