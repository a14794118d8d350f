"""The fine-tuning dataset: pairs as BERT's input, and minibatches of pairs of similar length."""

import copy
import warnings
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Sampler, Subset

from .corpora import LABELS, checked_label_names, label_ids
from .truncation import Kept, cut
from .vocab import Vocab, tokens_of

Indices = Sequence[int] | np.ndarray
_MOST_UNKNOWN = 0.1  # of a dataset's tokens; with more, something is probably wrong
Texts = Sequence[str | list[str]]
_PAIRS_AT_ONCE = 2_000  # so many fit the caches with their words
_PAIRS_IN_PART = 50_000


class EncodedPairs(NamedTuple):
    """`<cls> premise <sep> hypothesis <sep>` of all pairs, one after another, without padding.

    `ids` are int32; where a pair starts in them, the words of its premise and all its tokens, int64
    (n,).
    """

    ids: np.ndarray
    starts: np.ndarray
    premise_kept: np.ndarray
    valid_lens: np.ndarray

    @property
    def nbytes(self) -> int:
        """How many bytes the arrays take."""
        return sum(array.nbytes for array in self)

    def parts(self) -> Iterator["EncodedPairs"]:
        """Yield the pairs, many at a time; the ids of each part stand one after another."""
        for i in range(0, len(self.starts), _PAIRS_IN_PART):
            starts, premise_kept, lens = (array[i : i + _PAIRS_IN_PART] for array in self[1:])
            yield EncodedPairs(
                self.ids[ranges(starts, lens)], np.cumsum(lens) - lens, premise_kept, lens
            )


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
    ):
        premises, hypotheses = list(premises), list(hypotheses)  # a Series has its own index
        if len(premises) != len(hypotheses):
            raise ValueError(f"{len(premises)} premises, but {len(hypotheses)} hypotheses")
        if not premises:
            raise ValueError("there are no pairs: give at least one premise and one hypothesis")
        encoded = encode_pairs(premises, hypotheses, max_len, vocab, truncation)
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

    Items are padded to `max_len`, minibatches to their own longest pair. `num_workers` is the
    book's and has no effect: one process encodes the pairs. `folder` is
    where the dataset lives if it is memory-mapped.
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
        super().__init__(premises, hypotheses, max_len, vocab, truncation)
        self._label(ids, names)

    def save(self, folder: str | Path) -> None:
        """Write the dataset to a folder for `load`; one that is there already is replaced."""
        from .store.datasets import write_dataset

        write_dataset(Path(folder), self)

    @classmethod
    def load(cls, folder: str | Path, vocab: Vocab) -> "SNLIBERTDataset":
        """Map a dataset of a folder into memory; it was built with this vocabulary.

        Raises FileNotFoundError if there is none, and ValueError if it is not whole or was built
        with another vocabulary.
        """
        from .store.datasets import map_dataset

        encoded, labels, known = map_dataset(Path(folder), vocab)
        dataset = cls.__new__(cls)
        dataset._hold(encoded, known["max_len"], vocab, known["truncation"])
        dataset._label(labels, known["label_names"])
        dataset.folder = Path(folder).absolute()
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


NO_LABEL = -100
"""A label that torch's cross-entropy passes over: no loss, no gradient."""


class LengthBuckets(Sampler):
    """Minibatches of pairs of like length, so that there is little to pad.

    Shuffling stays: pairs are shuffled, sorted by length within every 50 minibatches, and the
    minibatches are shuffled. Every pair comes once an epoch; `seed` and `epoch` fix the order.
    """

    def __init__(self, lens: Tensor, batch_size: int, shuffle: bool = False, seed: int = 0):
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: it takes at least 1")
        self.lens, self.batch_size = np.asarray(lens), batch_size
        self.shuffle, self.seed, self.epoch, self.first = shuffle, seed, 0, 0

    def __len__(self) -> int:
        return -(-len(self.lens) // self.batch_size)

    def __iter__(self) -> Iterator[np.ndarray]:
        rng = np.random.default_rng([self.seed, self.epoch])
        first_batch, self.first = self.first, 0
        self.epoch += 1
        pool = 50 * self.batch_size if self.shuffle else len(self.lens)
        order = np.arange(len(self.lens), dtype=np.int32)
        if self.shuffle:
            rng.shuffle(order)
        for first in range(0, len(order), pool):
            part = order[first : first + pool]
            part[:] = part[np.argsort(self.lens[part], kind="stable")]
        batches = [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]
        if self.shuffle:
            rng.shuffle(batches)
        return iter(batches[first_batch:])

    def begin(self, epoch: int, first: int = 0) -> None:
        """Let the next iteration be this epoch, from minibatch `first` on."""
        self.epoch, self.first = epoch, first


def bucketed_loader(
    dataset: SNLIBERTDataset,
    batch_size: int,
    shuffle: bool = False,
    seed: int = 0,
    pin_memory: bool = False,
) -> DataLoader:
    """Return minibatches `([token_ids, segments, valid_lens], labels)` of pairs of like length.

    Within each the pairs stand in order of length. `pin_memory` is for what goes to a GPU.
    """
    dataset = as_pairs(dataset)
    return _bucketed(dataset.minibatch, dataset, batch_size, shuffle, seed, pin_memory)


def shared_loader(
    dataset: SNLIBERTDataset,
    batch_size: int,
    seed: int = 0,
    pin_memory: bool = False,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader:
    """Return one rank's shares `(inputs, labels, num_pairs)` of shuffled minibatches.

    The ranks' shares are of like lengths, together they are the minibatch of `num_pairs`, the same
    for any number of ranks. A rank for which no pair is left takes one whose label is `NO_LABEL`.
    """

    def share(batch: np.ndarray) -> tuple[list[Tensor], Tensor, int]:
        mine = batch[rank::world_size]
        X, y = dataset.minibatch(mine if len(mine) else batch[:1])
        return X, y if len(mine) else torch.full_like(y, NO_LABEL), len(batch)

    return _bucketed(share, dataset, batch_size, True, seed, pin_memory)


def _bucketed(
    collate: Callable[[Any], tuple],
    dataset: SNLIBERTDataset,
    batch_size: int,
    shuffle: bool,
    seed: int,
    pin_memory: bool,
) -> DataLoader:
    return DataLoader(
        range(len(dataset)),  # type: ignore[arg-type]  # numbers are what is put together
        batch_sampler=LengthBuckets(dataset.valid_lens, batch_size, shuffle, seed),
        collate_fn=collate,
        pin_memory=pin_memory,
    )


def encode_pairs(
    premises: Texts,
    hypotheses: Texts,
    max_len: int,
    vocab: Vocab,
    truncation: str,
) -> EncodedPairs:
    """Tokenize, cut and look up pairs, some thousand at a time."""
    return join(
        _encode(
            first,
            premises[first : first + _PAIRS_AT_ONCE],
            hypotheses[first : first + _PAIRS_AT_ONCE],
            max_len,
            vocab,
            truncation,
        )
        for first in range(0, len(premises), _PAIRS_AT_ONCE)
    )


def join(parts: Iterator[EncodedPairs]) -> EncodedPairs:
    """Put parts one after another as they come, so that no two copies of all are in memory."""
    wholes = array("i"), array("q"), array("q"), array("q")
    for part in parts:
        part = part._replace(starts=part.starts + len(wholes[0]))
        for whole, piece in zip(wholes, part, strict=True):
            whole.frombytes(piece.tobytes())
    return EncodedPairs(*(np.frombuffer(whole, whole.typecode) for whole in wholes))


def _encode(
    first: int, premises: Texts, hypotheses: Texts, max_len: int, vocab: Vocab, truncation: str
) -> EncodedPairs:
    """Encode pairs in this process; `first` is the number of the first, for messages."""
    distinct, which = _without_repeats(premises)
    words, starts, lens = _look_up(vocab, [*distinct, *hypotheses])
    sides = which, np.arange(len(distinct), len(lens))
    for name, texts in zip(("premise", "hypothesis"), sides, strict=True):
        if not lens[texts].all():
            number = first + int(np.argmin(lens[texts]))
            raise ValueError(f"the {name} of pair {number} has no words: give it some")
    kept = cut(lens[sides[0]], lens[sides[1]], max_len, truncation)
    premise_kept = kept.premise_head + kept.premise_tail
    valid_lens = premise_kept + kept.hypothesis_head + kept.hypothesis_tail + 3
    beginnings, ends = ([(starts + n)[texts] for texts in sides] for n in (0, lens))
    source = np.append(words, np.array(vocab[["<cls>", "<sep>"]], np.int32))
    return EncodedPairs(
        source[_layout(len(words), beginnings, ends, kept)],
        np.cumsum(valid_lens) - valid_lens,
        premise_kept,
        valid_lens,
    )


def _without_repeats(texts: Texts) -> tuple[list, np.ndarray]:
    """Return the texts without those that repeat the one before, and which of them each is."""
    new = [True, *(a != b for a, b in pairwise(texts))]
    return [text for text, is_new in zip(texts, new, strict=True) if is_new], np.cumsum(new) - 1


def _look_up(vocab: Vocab, texts: Texts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the ids of all texts, one after another (int32), where each starts, and its length."""
    tokens = tokens_of(vocab, texts)
    lens = np.fromiter(map(len, tokens), np.int64, len(tokens))
    ids = np.fromiter(vocab.ids_of(chain.from_iterable(tokens)), np.int32, lens.sum())
    return ids, np.cumsum(lens) - lens, lens


def _layout(num_words: int, starts: list, ends: list, kept: Kept) -> np.ndarray:
    """Return where each token comes from: words, and after them `<cls>` and `<sep>`."""
    one = np.ones_like(kept.premise_head)
    pieces = [
        (num_words * one, one),
        (starts[0], kept.premise_head),
        (ends[0] - kept.premise_tail, kept.premise_tail),
        (num_words * one + 1, one),
        (starts[1], kept.hypothesis_head),
        (ends[1] - kept.hypothesis_tail, kept.hypothesis_tail),
        (num_words * one + 1, one),
    ]
    return ranges(*(np.stack(column, axis=1).ravel() for column in zip(*pieces, strict=True)))


def ranges(starts: np.ndarray, lens: np.ndarray) -> np.ndarray:
    """Return `start, start + 1, …` for each start, `len` numbers each, one after another."""
    ends = np.cumsum(lens)
    return np.repeat(starts - ends + lens, lens) + np.arange(ends[-1])
