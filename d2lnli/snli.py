"""SNLI: reading its files, and the fine-tuning dataset that BERT learns from."""

import copy
import re
import sys
import warnings
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from numbers import Integral
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset

from .encoding import EncodedPairs, encode_pairs, join, ranges
from .labels import LABELS, checked_label_names, label_ids
from .text import Vocab

Indices = Sequence[int] | np.ndarray
_MOST_UNKNOWN = 0.1  # of a dataset's tokens; with more, something is probably wrong


def read_snli(
    data_dir: str | Path, is_train: bool | str, max_examples: int | None = None
) -> tuple[list[str], list[str], list[int]]:
    """Read one split of SNLI as (premises, hypotheses, label ids).

    `is_train` is True (train), False (test) or 'train', 'dev', 'test'; `max_examples` takes the
    first so many. Pairs whose annotators disagree (label `-`) are left out. Raises OSError if the
    file cannot be read and ValueError, with the line, if it is not SNLI's layout.
    """
    premises, hypotheses, labels = [], [], []
    for premise, hypothesis, label in snli_pairs(data_dir, is_train, max_examples):
        premises.append(premise)
        hypotheses.append(hypothesis)
        labels.append(label)
    return premises, hypotheses, labels


def snli_pairs(
    data_dir: str | Path, is_train: bool | str, max_examples: int | None = None
) -> Iterator[tuple[str, str, int]]:
    """Yield what `read_snli` reads one pair after another, for more of them than memory holds."""
    path = snli_file(data_dir, is_train)
    ids = {label: i for i, label in enumerate(LABELS)}
    last_parse = premise = label = ""
    for number, (label, parse, hypothesis_parse, *_) in _labelled_rows(path, max_examples, 3):
        if parse != last_parse:  # a premise stands three times in a row, and is kept once
            last_parse, premise = parse, _words(parse)
        hypothesis = _words(hypothesis_parse)
        if label not in ids:
            names = ", ".join(LABELS)
            raise ValueError(f"{path}, line {number}: unknown label {label!r}: use {names} or -")
        if not premise or not hypothesis:
            raise ValueError(
                f"{path}, line {number}: the premise or the hypothesis is empty: mend that line"
            )
        yield premise, hypothesis, ids[label]
    if not label:
        raise ValueError(f"{path} holds no labelled pairs: is it the right file?")


def snli_file(data_dir: str | Path, is_train: bool | str) -> Path:
    """Return the path of a split's file; raises FileNotFoundError if it is not there."""
    splits: dict[bool | str, bool | str] = {True: "train", False: "test"}
    split = splits.get(is_train, is_train)
    if split not in ("train", "dev", "test"):
        raise ValueError(f"unknown split {is_train!r}: use True, False, 'train', 'dev' or 'test'")
    path = Path(data_dir) / f"snli_1.0_{split}.txt"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: give the folder that holds SNLI's snli_1.0_*.txt files, "
            "such as download_extract('SNLI')"
        )
    return path


def read_phenomena(
    data_dir: str | Path, is_train: bool | str, max_examples: int | None = None
) -> list[str]:
    """Return what each pair that `read_snli` reads turns on, such as 'negation'.

    `SNLI-sample` tells it in the pairID, after a dot; SNLI does not, which gives 'not told'.
    """
    rows = _labelled_rows(snli_file(data_dir, is_train), max_examples)
    pair_ids = (row[8] if len(row) > 8 else "" for _, row in rows)
    found = (re.search(r"\.([a-z]+)$", pair_id) for pair_id in pair_ids)
    return [match[1] if match else "not told" for match in found]


def _labelled_rows(
    path: Path, most: int | None, max_split: int = -1
) -> Iterator[tuple[int, list[str]]]:
    """Return the first `most` of (line number, columns) for lines with a gold label."""
    if most is not None and not (isinstance(most, Integral) and most >= 1):
        raise ValueError(f"max_examples={most!r}: ask for a whole number of pairs, at least one")
    labelled = (line for line in _rows(path, max_split) if line[1][0] != "-")
    return islice(labelled, None if most is None else min(most, sys.maxsize))


def _rows(path: Path, max_split: int) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, columns) of each line below the header."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                row = line.rstrip("\n").split("\t", max_split)
                if number == 1 and row[0] != "gold_label":
                    raise ValueError(f"{path}, line 1: SNLI's header (gold_label, …) is missing")
                if number == 1 or line.isspace():
                    continue
                if len(row) < 3:
                    raise ValueError(
                        f"{path}, line {number}: {len(row)} column(s), but a label and two parses "
                        "are needed, separated by tabs"
                    )
                yield number, row
    except UnicodeDecodeError as error:
        raise ValueError(_not_utf8(path)) from error


def _not_utf8(path: Path) -> str:
    """Say in which line a file is not UTF-8; a decoder that reads ahead does not know."""
    content = path.read_bytes()
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        return f"{path}, line {number}: not UTF-8 ({error.reason}): save the file as UTF-8"
    return f"{path} is not UTF-8, or was changed while it was read: save it as UTF-8"


def _words(parse: str) -> str:
    if parse.startswith('"(') and parse.endswith(')"'):  # a spreadsheet wrote the file
        parse = parse[1:-1].replace('""', '"')
    return " ".join(parse.replace("(", "").replace(")", "").split())


class TokenPairs:
    """Pairs as BERT's input, `<cls> premise <sep> hypothesis <sep>`, stored without padding.

    The ids of all pairs stand one after another in one int32 array, so memory follows the words
    and not `max_len`. Premises and hypotheses are sentences, which the vocabulary tokenizes, or
    lists of tokens, which are taken as they are.
    """

    def __init__(
        self,
        premises: Sequence[str | list[str]],
        hypotheses: Sequence[str | list[str]],
        max_len: int,
        vocab: Vocab,
        truncation: str = "longest_first",
        num_workers: int = 0,
    ):
        premises, hypotheses = list(premises), list(hypotheses)  # a Series has its own index
        if len(premises) != len(hypotheses):
            raise ValueError(f"{len(premises)} premises, but {len(hypotheses)} hypotheses")
        if not premises:
            raise ValueError("there are no pairs: give at least one premise and one hypothesis")
        encoded = encode_pairs(premises, hypotheses, max_len, vocab, truncation, num_workers)
        self._hold(encoded, max_len, vocab, truncation)

    def _hold(
        self, encoded: EncodedPairs, max_len: int, vocab: Vocab, truncation: str | None
    ) -> None:
        self.max_len, self.vocab, self.encoded = max_len, vocab, encoded
        self.truncation = truncation  # None: datasets cut in different ways were joined

    def __len__(self) -> int:
        return len(self.encoded.valid_lens)

    def inputs(self, indices: Indices, length: int | None = None) -> list[Tensor]:
        """Return `[token_ids, segments, valid_lens]` of some pairs, int64.

        They are padded to `length`, or to the longest of them.
        """
        rows = np.asarray(indices)
        starts, lens = self.encoded.starts[rows], self.encoded.valid_lens[rows]
        positions = np.arange(length or lens.max())
        filled = positions < lens[:, None]
        token_ids = np.full(filled.shape, self.vocab["<pad>"], np.int64)
        token_ids[filled] = self.encoded.ids[ranges(starts, lens)]
        segments = filled & (positions > self.encoded.premise_kept[rows, None] + 1)
        return [torch.from_numpy(array) for array in (token_ids, segments.astype(np.int64), lens)]

    def fingerprint(self) -> int:
        """Return a number that tells this dataset's contents from another's."""
        ids = 0
        for part in self.encoded.parts():
            ids = zlib.crc32(part.ids.data, ids)
        return zlib.crc32(self.encoded.premise_kept.data, ids)

    @property
    def valid_lens(self) -> Tensor:
        """How many tokens each pair has: int64 (n,)."""
        return torch.from_numpy(self.encoded.valid_lens)

    @property
    def all_token_ids(self) -> Tensor:
        """Token ids of all pairs, padded to `max_len`: int64 (n, max_len), made when asked for."""
        return self.inputs(range(len(self)), self.max_len)[0]

    @property
    def all_segments(self) -> Tensor:
        """Segment ids of all pairs, padded with 0: int64 (n, max_len), made when asked for."""
        return self.inputs(range(len(self)), self.max_len)[1]


class SNLIBERTDataset(TokenPairs, Dataset):
    """The fine-tuning dataset: `dataset[i]` is `((token_ids, segments, valid_len), label)`.

    `dataset` is (premises, hypotheses, labels), as `read_snli` returns it. Labels are ids or names,
    in a list, an array, a tensor or a pandas Series. `label_names` says what the ids stand for, in
    order; without it, ids 0, 1, 2 are `LABELS`: entailment, contradiction, neutral. (Hugging Face's
    `snli` uses entailment, neutral, contradiction.) A missing label (-1) raises ValueError.

    Items are padded to `max_len`, minibatches to their own longest pair. `num_workers` is the most
    processes that encode a corpus, one for each half a million pairs; the result is the same for
    any. `folder` is where it lives if it is memory-mapped.
    """

    folder: Path | None = None
    label_names: tuple[str, ...] | None = None

    def __init__(
        self,
        dataset: tuple[Sequence, Sequence, Sequence],
        max_len: int,
        vocab: Vocab,
        truncation: str = "longest_first",
        num_workers: int = 4,
        label_names: Sequence[str] | None = None,
    ):
        premises, hypotheses, labels = dataset
        if len(labels) != len(premises):
            raise ValueError(f"{len(premises)} premises, but {len(labels)} labels")
        names = None if label_names is None else checked_label_names(label_names)
        ids = label_ids(labels, names)
        super().__init__(premises, hypotheses, max_len, vocab, truncation, num_workers)
        self._label(ids, names)

    @classmethod
    def of_encoded(
        cls,
        encoded: EncodedPairs,
        labels: Tensor,
        max_len: int,
        vocab: Vocab,
        label_names: tuple[str, ...] | None = None,
        truncation: str | None = None,
    ) -> "SNLIBERTDataset":
        """Return a dataset of pairs that were encoded before, with label ids (n,), int64."""
        dataset = cls.__new__(cls)
        dataset._hold(encoded, max_len, vocab, truncation)
        dataset._label(labels, label_names)
        return dataset

    def _label(self, labels: Tensor, label_names: tuple[str, ...] | None) -> None:
        self.labels, self.label_names = labels, label_names
        print(f"read {len(self)} examples")
        if (share := self.unknown_share()) > _MOST_UNKNOWN:
            warnings.warn(
                f"{share:.0%} of the tokens are not in the vocabulary and are read as "
                f"{self.vocab.to_tokens(self.vocab.unk)}: check that texts and vocabulary match",
                stacklevel=3,
            )

    def unknown_share(self) -> float:
        """Return which share of the tokens, without `<cls>` and `<sep>`, is unknown."""
        parts = (part.ids for part in self.encoded.parts())
        unknown = sum(np.count_nonzero(ids == self.vocab.unk) for ids in parts)
        return unknown / (int(self.encoded.valid_lens.sum()) - 3 * len(self))

    def __getitem__(self, index: int) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        token_ids, segments, valid_lens = self.inputs([range(len(self))[index]], self.max_len)
        return (token_ids[0], segments[0], valid_lens[0]), self.labels[index]

    def fingerprint(self) -> int:
        """Return a number that tells this dataset's contents from another's."""
        names = self.label_names if self.label_names != LABELS else None
        named = "".join(names or ()).encode()
        return zlib.crc32(named, zlib.crc32(self.labels.numpy().data, super().fingerprint()))

    def minibatch(self, indices: Indices) -> tuple[list[Tensor], Tensor]:
        """Return `([token_ids, segments, valid_lens], labels)` padded to the longest of them."""
        return self.inputs(indices), self.labels[indices]


def as_pairs(dataset: Dataset) -> SNLIBERTDataset:
    """Return what torch's Subset, random_split or ConcatDataset made of datasets as one dataset.

    Raises ValueError if it is made of others than `SNLIBERTDataset`, or of such as do not fit.
    """
    if isinstance(dataset, SNLIBERTDataset):
        return dataset
    if isinstance(dataset, Subset):
        return _selected(as_pairs(dataset.dataset), np.asarray(dataset.indices))
    if isinstance(dataset, ConcatDataset):
        return _joined([as_pairs(part) for part in dataset.datasets])
    raise ValueError(
        f"a {type(dataset).__name__} is not a dataset of pairs: give a SNLIBERTDataset, or what "
        "torch's Subset, random_split and ConcatDataset make of it"
    )


def _selected(dataset: SNLIBERTDataset, indices: np.ndarray) -> SNLIBERTDataset:
    """Return some pairs of a dataset, with which they share the memory of their ids."""
    if not indices.size:
        raise ValueError("there are no pairs in this subset: choose at least one")
    if indices.ndim != 1 or indices.dtype.kind not in "iu":
        raise ValueError(
            f"a subset's indices are {indices.dtype}, {indices.ndim}-dimensional: give the numbers "
            "of the pairs, such as mask.nonzero().flatten() of a mask"
        )
    if not -len(dataset) <= indices.min() <= indices.max() < len(dataset):
        raise ValueError(
            f"a subset's indices run from {indices.min()} to {indices.max()}, but there are "
            f"{len(dataset)} pairs"
        )
    chosen = copy.copy(dataset)
    ids, *others = dataset.encoded
    chosen.encoded = EncodedPairs(ids, *(array[indices] for array in others))
    chosen.labels, chosen.folder = dataset.labels[indices], None
    return chosen


def _joined(datasets: list[SNLIBERTDataset]) -> SNLIBERTDataset:
    """Return the pairs of several datasets one after another."""
    whole, *others = datasets
    for other in others:
        for what, theirs, ours in (
            ("vocabulary", words_of(other.vocab), words_of(whole.vocab)),
            ("max_len", other.max_len, whole.max_len),
            ("label names", other.label_names or LABELS, whole.label_names or LABELS),
        ):
            if theirs != ours:
                raise ValueError(
                    f"datasets with another {what} cannot be joined: build all of them alike"
                )
    joined = copy.copy(whole)
    joined.encoded = join(part for dataset in datasets for part in dataset.encoded.parts())
    joined.labels = torch.cat([dataset.labels for dataset in datasets])
    if any(dataset.truncation != whole.truncation for dataset in datasets):
        joined.truncation = None
    joined.folder = None
    return joined


def words_of(vocab: Vocab) -> list:
    """Return what distinguishes a vocabulary, and how it cuts words, from another."""
    return [getattr(vocab, "settings", type(vocab).__name__), vocab.idx_to_token]
