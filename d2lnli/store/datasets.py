"""Datasets on disk: built once, and mapped into memory by any number of processes and runs.

The system reads the pages that a minibatch needs and drops them again, so neither building nor
training needs memory for the whole corpus. A folder has an array in each `.bin` file, and a
description of them in `dataset.json`.
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

from ..corpora import PairFile, open_split
from ..dataset import SNLIBERTDataset
from ..fast.encoding import EncodedPairs, encode_pairs
from ..labels import checked_label_names
from ..truncation import present_strategy
from ..vocab import Vocab
from .files import exclusive_lock, read_json, writing

_PAIRS_AT_ONCE = 100_000
_ARRAYS = {name: "<i4" if name == "ids" else "<i8" for name in (*EncodedPairs._fields, "labels")}
_DESCRIPTION = "dataset.json"
_VERSION = 2
Parts = Iterable[tuple[EncodedPairs, np.ndarray]]
"""Encoded pairs with their label ids, many at a time."""


def mapped_dataset(
    parent: str | Path,
    data_dir: str | Path,
    is_train: bool | str,
    max_len: int,
    vocab: Vocab,
    truncation: str = "longest_first",
    max_examples: int | None = None,
) -> SNLIBERTDataset:
    """Return the dataset of a split, memory-mapped; build it in `parent` if it is not there.

    Each corpus, vocabulary, length, strategy and number of pairs has a folder of its own. One
    process builds it, while others wait.
    """
    pairs = open_split(data_dir, is_train)
    return mapped_pairs(parent, pairs, max_len, vocab, truncation, max_examples)


def mapped_pairs(
    parent: str | Path,
    pairs: PairFile,
    max_len: int,
    vocab: Vocab,
    truncation: str = "longest_first",
    max_examples: int | None = None,
) -> SNLIBERTDataset:
    """Return the dataset of a file's pairs, as `mapped_dataset` does."""
    made_of = {
        "version": _VERSION,
        "pairs": pairs.identity(),
        "max_len": max_len,
        "truncation": present_strategy(truncation),
        "max_examples": max_examples,
        "vocab": _checksum(vocab),
    }
    mark = zlib.crc32(json.dumps(made_of, default=int).encode())  # numpy's numbers are no int
    folder = Path(parent) / f"{pairs.path.stem}-{mark:08x}"
    with writing("the dataset", folder), exclusive_lock(folder):
        if not folder.is_dir():
            parts = _encoded(pairs.pairs(max_examples), max_len, vocab, truncation)
            _build(folder, parts, vocab, _settings(max_len, pairs.label_id.names, truncation))
    pairs.announce()
    dataset = SNLIBERTDataset.load(folder, vocab)
    dataset.truncation = present_strategy(truncation)  # earlier versions did not write it down
    return dataset


def _encoded(
    pairs: Iterator[tuple[str, str, int]], max_len: int, vocab: Vocab, truncation: str
) -> Parts:
    while some := list(islice(pairs, _PAIRS_AT_ONCE)):
        premises, hypotheses, labels = zip(*some, strict=True)
        yield encode_pairs(premises, hypotheses, max_len, vocab, truncation), np.array(labels)


def write_dataset(folder: Path, dataset: SNLIBERTDataset) -> None:
    """Write a dataset; it replaces a dataset in the folder, and ValueError spares other files."""
    folder = folder.resolve()
    names = {_DESCRIPTION, *(f"{name}.bin" for name in _ARRAYS)}
    if folder.is_dir() and (others := {path.name for path in folder.iterdir()} - names):
        raise ValueError(
            f"{folder} has files of other things ({', '.join(sorted(others)[:3])}), which saving "
            "would delete: give the dataset a folder of its own"
        )
    labels = iter(dataset.labels.numpy())
    parts = (
        (part, np.fromiter(labels, np.int64, len(part.starts))) for part in dataset.encoded.parts()
    )
    settings = _settings(dataset.max_len, dataset.label_names, dataset.truncation)
    with writing("the dataset", folder), exclusive_lock(folder):
        _build(folder, parts, dataset.vocab, settings)


def map_dataset(folder: Path, vocab: Vocab) -> tuple[EncodedPairs, torch.Tensor, dict[str, Any]]:
    """Return the pairs of a folder, mapped, their label ids, and the settings of the dataset."""
    path = folder / _DESCRIPTION
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: write a dataset there with its save(folder)")
    described, way_out = read_json(path, dict), f"delete {folder} and build it again"
    if described.get("version") != _VERSION:
        raise ValueError(f"{path} is from another version of d2lnli: {way_out}")
    if described.get("vocab") != _checksum(vocab):
        raise ValueError(f"{folder} was built with another vocabulary: use that, or {way_out}")
    try:
        arrays = {name: _map(path.with_name(f"{name}.bin"), name, described) for name in _ARRAYS}
        names = described["label_names"]
        names = None if names is None else checked_label_names(names)
        settings = _settings(described["max_len"], names, described.get("truncation"))
    except (LookupError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}): {way_out}") from error
    except ValueError as error:
        raise ValueError(f"{error}: {way_out}") from error
    labels = torch.from_numpy(arrays.pop("labels"))
    return EncodedPairs(**arrays), labels, settings


def _map(file: Path, name: str, described: dict) -> np.ndarray:
    """Return the array of a file; ValueError unless it is the one that was described."""
    kind, length = _ARRAYS[name], described["num_tokens" if name == "ids" else "num_pairs"]
    whole = file.is_file() and file.stat().st_size == length * np.dtype(kind).itemsize
    # "c": torch wants an array that it could write to; what it wrote would stay in this process
    array = np.asarray(np.memmap(file, kind, mode="c")) if whole else None
    if array is None or zlib.crc32(array.data) != described["checksums"][name]:
        raise ValueError(f"{file} is damaged")
    return array


def _settings(
    max_len: int, label_names: tuple[str, ...] | None, truncation: str | None
) -> dict[str, Any]:
    return {"max_len": max_len, "label_names": label_names, "truncation": truncation}


def _checksum(vocab: Vocab) -> int:
    return zlib.crc32(json.dumps(vocab.identity()).encode())


def _build(folder: Path, parts: Parts, vocab: Vocab, settings: dict[str, Any]) -> None:
    """Write a dataset beside its folder; it takes the folder's name once it is whole."""
    half = folder.with_name(f".{folder.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    try:
        half.mkdir()
        described = {**_write_arrays(half, parts), **settings, "vocab": _checksum(vocab)}
        text = json.dumps({"version": _VERSION, **described}, indent=2, default=int)
        (half / _DESCRIPTION).write_text(text + "\n", "utf-8")
        if folder.is_dir():
            shutil.rmtree(folder)
        half.rename(folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _write_arrays(folder: Path, parts: Parts) -> dict[str, Any]:
    """Write the arrays of all parts; return their lengths and their checksums."""
    checksums, num_tokens, num_pairs = dict.fromkeys(_ARRAYS, 0), 0, 0
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context((folder / f"{name}.bin").open("wb")) for name in _ARRAYS]
        for encoded, labels in parts:
            encoded = encoded._replace(starts=encoded.starts + num_tokens)
            arrays = zip(files, _ARRAYS.items(), (*encoded, labels), strict=True)
            for file, (name, kind), array in arrays:
                content = array.astype(kind, copy=False).data
                file.write(content)
                checksums[name] = zlib.crc32(content, checksums[name])
            num_tokens, num_pairs = num_tokens + len(encoded.ids), num_pairs + len(labels)
    return {"num_pairs": num_pairs, "num_tokens": num_tokens, "checksums": checksums}
