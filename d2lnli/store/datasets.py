"""Datasets on disk: built once, and mapped into memory by any number of processes and runs.

The system reads the pages that a minibatch needs and drops them again, so that neither building nor
training holds the corpus in memory.
"""

import contextlib
import json
import shutil
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from ..corpora import LABELS, checked_label_names, snli_file, snli_pairs
from ..dataset import EncodedPairs, SNLIBERTDataset, encode_pairs, words_of
from ..vocab import Vocab
from .files import exclusive_lock, read_json

_PAIRS_AT_ONCE = 100_000
_ARRAYS = {name: "<i4" if name == "ids" else "<i8" for name in (*EncodedPairs._fields, "labels")}
_DESCRIPTION = "dataset.json"
_VERSION = 2


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
        "vocab": _vocab_checksum(vocab),
    }
    name = f"{file.stem}-{zlib.crc32(json.dumps(made_of).encode()):08x}"
    folder = Path(parent) / name
    with _writing(folder), exclusive_lock(folder):
        if not folder.is_dir():
            pairs = snli_pairs(data_dir, is_train, max_examples)
            parts = _encoded(pairs, max_len, vocab, truncation)
            _build(folder, parts, max_len, vocab, LABELS, truncation)
    dataset = load_dataset(folder, vocab)
    dataset.truncation = truncation  # earlier versions did not write it down
    return dataset


def save_dataset(folder: str | Path, dataset: SNLIBERTDataset) -> None:
    """Write a dataset for `load_dataset`; one that is there already is replaced."""
    folder = Path(folder)
    with _writing(folder), exclusive_lock(folder):
        shutil.rmtree(folder, ignore_errors=True)
        parts = dataset.encoded.parts()
        labels = iter(dataset.labels.numpy())
        labelled = ((part, np.fromiter(labels, np.int64, len(part.starts))) for part in parts)
        settings = dataset.max_len, dataset.vocab, dataset.label_names, dataset.truncation
        _build(folder, labelled, *settings)


def load_dataset(folder: str | Path, vocab: Vocab) -> SNLIBERTDataset:
    """Map a dataset that was built with this vocabulary.

    Raises FileNotFoundError if there is none and ValueError if it is not whole or of another
    vocabulary.
    """
    path = Path(folder) / _DESCRIPTION
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: build a dataset there with mapped_dataset")
    described, way_out = read_json(path, dict), f"delete {folder}, to build it anew"
    if described.get("version") != _VERSION:
        raise ValueError(f"{path} is not of this version of d2lnli: {way_out}")
    if described.get("vocab") != _vocab_checksum(vocab):
        raise ValueError(f"{folder} was built with another vocabulary: use that, or {way_out}")
    try:
        arrays = {name: _map(path.with_name(f"{name}.bin"), name, described) for name in _ARRAYS}
        max_len, names = described["max_len"], described["label_names"]
        names = None if names is None else checked_label_names(names)
    except (LookupError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}): {way_out}") from error
    except ValueError as error:
        raise ValueError(f"{error}: {way_out}") from error
    labels = torch.from_numpy(arrays.pop("labels"))
    encoded, truncation = EncodedPairs(**arrays), described.get("truncation")
    dataset = SNLIBERTDataset.of_encoded(encoded, labels, max_len, vocab, names, truncation)
    dataset.folder = path.parent.absolute()
    return dataset


def _map(file: Path, name: str, described: dict) -> np.ndarray:
    kind, length = _ARRAYS[name], described["num_tokens" if name == "ids" else "num_pairs"]
    whole = file.is_file() and file.stat().st_size == length * np.dtype(kind).itemsize
    # "c": torch wants arrays that it could write to; what it wrote would stay in this process
    array = np.asarray(np.memmap(file, kind, mode="c")) if whole else None
    if array is None or zlib.crc32(array.data) != described["checksums"][name]:
        raise ValueError(f"{file} is damaged")
    return array


def _vocab_checksum(vocab: Vocab) -> int:
    return zlib.crc32(json.dumps(words_of(vocab)).encode())


def _encoded(
    pairs: Iterable[tuple[str, str, int]], max_len: int, vocab: Vocab, truncation: str
) -> Iterator[tuple[EncodedPairs, np.ndarray]]:
    """Encode pairs of texts with label ids, many at a time."""
    pairs = iter(pairs)
    while some := list(islice(pairs, _PAIRS_AT_ONCE)):
        premises, hypotheses, labels = zip(*some, strict=True)
        encoded = encode_pairs(premises, hypotheses, max_len, vocab, truncation)
        yield encoded, np.array(labels)


def _build(
    folder: Path,
    parts: Iterable[tuple[EncodedPairs, np.ndarray]],
    max_len: int,
    vocab: Vocab,
    label_names: tuple[str, ...] | None,
    truncation: str | None,
) -> None:
    """Write encoded pairs, part after part; the folder takes its name once it is whole."""
    half = folder.with_name(f".{folder.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    try:
        half.mkdir()
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context((half / f"{name}.bin").open("wb")) for name in _ARRAYS]
            checksums, num_tokens, num_pairs = dict.fromkeys(_ARRAYS, 0), 0, 0
            for encoded, labels in parts:
                encoded = encoded._replace(starts=encoded.starts + num_tokens)
                for file, (name, kind), array in zip(
                    files, _ARRAYS.items(), (*encoded, labels), strict=True
                ):
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
            "vocab": _vocab_checksum(vocab),
            "checksums": checksums,
        }
        (half / _DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", "utf-8")
        half.rename(folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Say what to do if a dataset cannot be written."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise OSError(
            f"cannot write the dataset to {folder} ({error}): free some space, or give another "
            "folder that you may write to"
        ) from error
