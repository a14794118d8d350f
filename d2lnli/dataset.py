"""The fine-tuning dataset: pairs as BERT's input, and minibatches of pairs of similar length."""

import copy
import math
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Sampler, Subset

from .fast.encoding import EncodedPairs, encode_pairs, joined
from .labels import LABELS, LabelIds, checked_label_names, label_ids
from .truncation import cut_tokens, present_strategy
from .vocab import Vocab, get_tokens_and_segments, tokens_of

Indices = Sequence[int] | np.ndarray
_MOST_UNKNOWN = 0.1  # of a dataset's tokens; with more, something is probably wrong


def encode_pair(
    premise: str | list[str],
    hypothesis: str | list[str],
    max_len: int,
    vocab: Vocab,
    truncation: str = "longest_first",
) -> tuple[list[int], list[int]]:
    """Return the token ids and the segments of one pair, `<cls> premise <sep> hypothesis <sep>`.

    The vocabulary tokenizes a sentence; a list of tokens is taken as it is. For many pairs,
    `fast/encoding.py` computes the same ids faster.
    """
    first, second = tokens_of(vocab, [premise, hypothesis])
    if not (first and second):
        raise ValueError(
            f"the {'hypothesis' if first else 'premise'} has no words: give at least one"
        )
    tokens, segments = get_tokens_and_segments(*cut_tokens(first, second, max_len, truncation))
    return vocab[tokens], segments


def warn_of_unknown_words(share: float, vocab: Vocab) -> None:
    """Warn if so many of some pairs' tokens are unknown that something is probably wrong."""
    if share > _MOST_UNKNOWN:
        warnings.warn(
            f"{share:.0%} of the tokens are not in the vocabulary and are read as "
            f"{vocab.to_tokens(vocab.unk)}: check that texts and vocabulary match",
            stacklevel=4,
        )


class TokenPairs:
    """Many pairs as BERT's input, each encoded as by `encode_pair`, stored without padding.

    The ids of all pairs stand one after another in one int32 array, so memory grows with the number
    of words and not with `max_len`.
    """

    def __init__(
        self,
        premises: Sequence[str | list[str]],
        hypotheses: Sequence[str | list[str]],
        max_len: int,
        vocab: Vocab,
        truncation: str = "longest_first",
    ):
        premises, hypotheses = list(premises), list(hypotheses)  # a Series has its own index
        if len(premises) != len(hypotheses):
            raise ValueError(
                f"{len(premises)} premises, but {len(hypotheses)} hypotheses: give one for each"
            )
        if not premises:
            raise ValueError("there are no pairs: give at least one premise and one hypothesis")
        encoded = encode_pairs(premises, hypotheses, max_len, vocab, truncation)
        self._set_pairs(encoded, max_len, vocab, truncation)

    def _set_pairs(
        self, encoded: EncodedPairs, max_len: int, vocab: Vocab, truncation: str | None
    ) -> None:
        self.encoded, self.max_len, self.vocab = encoded, max_len, vocab
        # None: the pairs were truncated in different ways
        self.truncation = truncation and present_strategy(truncation)

    def __len__(self) -> int:
        return len(self.encoded.valid_lens)

    def unknown_share(self) -> float:
        """Return the share of unknown tokens among all tokens but `<cls>` and `<sep>`."""
        num_tokens = int(self.encoded.valid_lens.sum()) - 3 * len(self)
        return self.encoded.count(self.vocab.unk) / num_tokens

    def inputs(self, indices: Indices, length: int | None = None) -> list[Tensor]:
        """Return `[token_ids, segments, valid_lens]` of some pairs, int64.

        They are padded to `length`, or to the longest of these pairs.
        """
        arrays = self.encoded.padded(np.asarray(indices), length, self.vocab["<pad>"])
        return [torch.from_numpy(array) for array in arrays]

    @property
    def valid_lens(self) -> Tensor:
        """How many tokens each pair has: int64 (n,)."""
        return torch.from_numpy(self.encoded.valid_lens)

    @property
    def all_token_ids(self) -> Tensor:
        """Token ids of all pairs, padded to `max_len`: int64 (n, max_len), made at each access."""
        return self.inputs(range(len(self)), self.max_len)[0]

    @property
    def all_segments(self) -> Tensor:
        """Segments of all pairs, padded with 0: int64 (n, max_len), made at each access."""
        return self.inputs(range(len(self)), self.max_len)[1]


class SNLIBERTDataset(TokenPairs, Dataset):
    """The fine-tuning dataset: `dataset[i]` is `((token_ids, segments, valid_len), label)`.

    `dataset` is (premises, hypotheses, labels), as `read_snli` or `read_pairs` returns it. Labels
    are ids or names, in a list, an array, a tensor or a pandas Series. `label_names` names the ids,
    in order; the default is the names that `read_pairs` found, or `LABELS`: entailment,
    contradiction, neutral. (Hugging Face's `snli` uses entailment, neutral, contradiction.) A
    missing label (-1) raises ValueError.

    Items are padded to `max_len`, minibatches to their own longest pair. `num_workers` is the
    book's and has no effect: one process encodes the pairs. `folder` is where a memory-mapped
    dataset lives.
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
        if labels is None:
            raise ValueError("the pairs have no labels: use predict_proba to classify them")
        if len(labels) != len(premises):
            raise ValueError(f"{len(premises)} premises, but {len(labels)} labels: give one each")
        names = None if label_names is None else checked_label_names(label_names)
        if isinstance(labels, LabelIds) and labels.names != (names or LABELS):
            if names is not None:
                raise ValueError(
                    f"the labels were read as ids of {labels.names}, so label_names={names} would "
                    "change their meaning: leave label_names out"
                )
            names = labels.names
        ids = label_ids(labels, names)
        super().__init__(premises, hypotheses, max_len, vocab, truncation)
        self._set_labels(ids, names)

    def _set_labels(self, labels: Tensor, label_names: tuple[str, ...] | None) -> None:
        self.labels, self.label_names = labels, label_names
        print(f"read {len(self)} examples")
        warn_of_unknown_words(self.unknown_share(), self.vocab)

    def save(self, folder: str | Path) -> None:
        """Write the dataset to a folder, for `load`; this replaces a dataset that is there."""
        from .store.datasets import write_dataset

        write_dataset(Path(folder), self)

    @classmethod
    def load(cls, folder: str | Path, vocab: Vocab) -> "SNLIBERTDataset":
        """Map the dataset of a folder into memory; `vocab` is the vocabulary that encoded it.

        Raises FileNotFoundError if there is none, and ValueError if it is damaged or was built
        with another vocabulary.
        """
        from .store.datasets import map_dataset

        encoded, labels, settings = map_dataset(Path(folder), vocab)
        dataset = cls.__new__(cls)
        dataset._set_pairs(encoded, settings["max_len"], vocab, settings["truncation"])
        dataset._set_labels(labels, settings["label_names"])
        dataset.folder = Path(folder).absolute()
        return dataset

    def fingerprint(self) -> int:
        """Return a checksum of pairs and labels, which tells this dataset from others."""
        names = self.label_names if self.label_names != LABELS else None
        checksum = zlib.crc32(self.labels.numpy().data, self.encoded.checksum())
        return zlib.crc32("".join(names or ()).encode(), checksum)

    def __getitem__(self, index: int) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        token_ids, segments, valid_lens = self.inputs([range(len(self))[index]], self.max_len)
        return (token_ids[0], segments[0], valid_lens[0]), self.labels[index]

    def minibatch(self, indices: Indices) -> tuple[list[Tensor], Tensor]:
        """Return `([token_ids, segments, valid_lens], labels)`, padded to the longest pair."""
        return self.inputs(indices), self.labels[indices]


class LengthBuckets(Sampler):
    """Minibatches of pairs of similar length, so that they need little padding.

    With `shuffle`, all pairs are shuffled, then sorted by length within every 50 minibatches (in a
    large corpus, within each half of it), and then the minibatches are shuffled. Every pair comes
    once an epoch; `seed` and `epoch` determine the order.
    """

    def __init__(self, lens: Tensor, batch_size: int, shuffle: bool = False, seed: int = 0):
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: it must be at least 1")
        self.lens, self.batch_size = np.asarray(lens), batch_size
        self.shuffle, self.seed = shuffle, seed
        self.begin(epoch=0)

    def begin(self, epoch: int, first: int = 0) -> None:
        """Let the next iteration yield the minibatches of `epoch` from number `first` on."""
        self.epoch, self.first = epoch, first

    def __len__(self) -> int:
        return math.ceil(len(self.lens) / self.batch_size)

    def __iter__(self) -> Iterator[np.ndarray]:
        rng, first = np.random.default_rng([self.seed, self.epoch]), self.first
        self.begin(self.epoch + 1)
        order = np.arange(len(self.lens), dtype=np.int32)
        if self.shuffle:
            rng.shuffle(order)
        half = 50 * max(1, len(self) // 100) * self.batch_size
        pool = half if self.shuffle else len(order)
        for i in range(0, len(order), pool):
            pairs = order[i : i + pool]
            order[i : i + pool] = pairs[np.argsort(self.lens[pairs], kind="stable")]
        batches = [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]
        if self.shuffle:
            rng.shuffle(batches)
        return iter(batches[first:])


def bucketed_loader(
    dataset: SNLIBERTDataset,
    batch_size: int,
    shuffle: bool = False,
    seed: int = 0,
    pin_memory: bool = False,
) -> DataLoader:
    """Return minibatches `([token_ids, segments, valid_lens], labels)` of pairs of similar length.

    Within a minibatch, the pairs stand in order of length. `pin_memory` is for use with a GPU.
    """
    dataset = as_pairs(dataset)
    buckets = LengthBuckets(dataset.valid_lens, batch_size, shuffle, seed)
    return loader_of(buckets, dataset.minibatch, pin_memory)


NO_LABEL = -100
"""A label that torch's cross-entropy ignores: no loss, no gradient."""


def shared_loader(
    dataset: SNLIBERTDataset,
    batch_size: int,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader:
    """Return one rank's shares `(inputs, labels, num_pairs)` of shuffled minibatches.

    The shares of all ranks have similar lengths. Together they are the minibatch of `num_pairs`,
    which is the same for any number of ranks. A rank for which no pair is left gets one whose label
    is `NO_LABEL`.
    """

    def share(batch: np.ndarray) -> tuple[list[Tensor], Tensor, int]:
        mine = batch[rank::world_size]
        X, y = dataset.minibatch(mine if len(mine) else batch[:1])
        return X, y if len(mine) else torch.full_like(y, NO_LABEL), len(batch)

    buckets = LengthBuckets(dataset.valid_lens, batch_size, True, seed)
    return loader_of(buckets, share)


def loader_of(
    buckets: LengthBuckets, collate: Callable[[Any], tuple], pin_memory: bool = False
) -> DataLoader:
    """Return what `collate` makes of the indices of each minibatch."""
    indices: Any = range(len(buckets.lens))
    return DataLoader(indices, batch_sampler=buckets, collate_fn=collate, pin_memory=pin_memory)


def as_pairs(dataset: Dataset) -> SNLIBERTDataset:
    """Return one dataset for what torch's Subset, random_split or ConcatDataset made of datasets.

    Raises ValueError if it contains anything but `SNLIBERTDataset`, or datasets that differ.
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
    """Return some pairs of a dataset; both share the memory of the ids."""
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
            f"{len(dataset)} pairs: give numbers from 0 to {len(dataset) - 1}"
        )
    return _with_pairs(dataset, dataset.encoded.selected(indices), dataset.labels[indices])


def _joined(datasets: list[SNLIBERTDataset]) -> SNLIBERTDataset:
    """Return the pairs of several datasets, one dataset after another."""
    whole = datasets[0]
    for dataset in datasets[1:]:
        for name, theirs, ours in (
            ("vocabulary", dataset.vocab.identity(), whole.vocab.identity()),
            ("max_len", dataset.max_len, whole.max_len),
            ("label names", dataset.label_names or LABELS, whole.label_names or LABELS),
        ):
            if theirs != ours:
                raise ValueError(
                    f"the datasets differ in their {name} and cannot be joined: build all of them "
                    "with the same"
                )
    encoded = joined(part for dataset in datasets for part in dataset.encoded.parts())
    both = _with_pairs(whole, encoded, torch.cat([dataset.labels for dataset in datasets]))
    if any(dataset.truncation != whole.truncation for dataset in datasets):
        both.truncation = None
    return both


def _with_pairs(dataset: SNLIBERTDataset, encoded: EncodedPairs, labels: Tensor) -> SNLIBERTDataset:
    """Return a dataset with the settings of another, but with these pairs, in memory."""
    changed = copy.copy(dataset)
    changed.encoded, changed.labels, changed.folder = encoded, labels, None
    return changed
