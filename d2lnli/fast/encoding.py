"""The encoding of many pairs at once: for each pair the ids that `dataset.encode_pair` returns.

One array holds the ids of all pairs. Each step (the look-up of ids, the truncation, the layout) is
done for some thousand pairs in one operation on arrays.
"""

import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np

from ..truncation import Kept, cut
from ..vocab import Vocab, tokens_of

Texts = Sequence[str | list[str]]
_PAIRS_AT_ONCE = 2_000  # with their words they fit the processor's caches
_PAIRS_IN_PART = 50_000


class EncodedPairs(NamedTuple):
    """`<cls> premise <sep> hypothesis <sep>` of many pairs, one after another, without padding.

    `ids` are int32. For each pair, `starts` is the place of its first id, `premise_kept` the number
    of tokens of its premise, and `valid_lens` the number of all its tokens: int64 (n,).
    """

    ids: np.ndarray
    starts: np.ndarray
    premise_kept: np.ndarray
    valid_lens: np.ndarray

    @property
    def nbytes(self) -> int:
        """How many bytes the arrays take."""
        return sum(array.nbytes for array in self)

    def padded(
        self, indices: np.ndarray, length: int | None, pad: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return token ids and segments of some pairs, padded, and their lengths, all int64."""
        lens = self.valid_lens[indices]
        positions = np.arange(length or lens.max())
        filled = positions < lens[:, None]
        token_ids = np.full(filled.shape, pad, np.int64)
        token_ids[filled] = self.ids[_ranges(self.starts[indices], lens)]
        segments = filled & (positions > self.premise_kept[indices, None] + 1)
        return token_ids, segments.astype(np.int64), lens

    def selected(self, indices: np.ndarray) -> "EncodedPairs":
        """Return some pairs; they share the memory of the ids with these."""
        return EncodedPairs(self.ids, *(array[indices] for array in self[1:]))

    def parts(self) -> Iterator["EncodedPairs"]:
        """Yield the pairs, many at a time; the ids of each part stand one after another."""
        for i in range(0, len(self.starts), _PAIRS_IN_PART):
            starts, premise_kept, lens = (array[i : i + _PAIRS_IN_PART] for array in self[1:])
            ids = self.ids[_ranges(starts, lens)]
            yield EncodedPairs(ids, np.cumsum(lens) - lens, premise_kept, lens)

    def count(self, token_id: int) -> int:
        """Return how many tokens have this id."""
        return sum(int(np.sum(part.ids == token_id)) for part in self.parts())

    def checksum(self) -> int:
        """Return a checksum of the pairs, which does not depend on where their ids stand."""
        checksum = 0
        for part in self.parts():
            checksum = zlib.crc32(part.ids.data, checksum)
        return zlib.crc32(self.premise_kept.data, checksum)


def joined(parts: Iterable[EncodedPairs]) -> EncodedPairs:
    """Join parts as they come, so that memory never holds two copies of all pairs."""
    wholes = array("i"), array("q"), array("q"), array("q")
    for part in parts:
        part = part._replace(starts=part.starts + len(wholes[0]))
        for whole, piece in zip(wholes, part, strict=True):
            whole.frombytes(piece.tobytes())
    return EncodedPairs(*(np.frombuffer(whole, whole.typecode) for whole in wholes))


def encode_pairs(
    premises: Texts, hypotheses: Texts, max_len: int, vocab: Vocab, truncation: str
) -> EncodedPairs:
    """Tokenize pairs, truncate them, and look up their ids, some thousand pairs at a time."""
    return joined(
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


def _encode(
    first: int, premises: Texts, hypotheses: Texts, max_len: int, vocab: Vocab, truncation: str
) -> EncodedPairs:
    """Encode some pairs; `first` is the number of the first one, for error messages."""
    distinct, which = _without_repeats(premises)
    words, starts, lens = _ids_of(vocab, [*distinct, *hypotheses])
    sides = which, np.arange(len(distinct), len(lens))
    for name, texts in zip(("premise", "hypothesis"), sides, strict=True):
        if not lens[texts].all():
            number = first + int(np.argmin(lens[texts]))
            raise ValueError(f"the {name} of pair {number} has no words: give at least one")
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
    """Drop each text that equals the one before; return the others, and which of them each was.

    SNLI has three pairs in a row for each premise.
    """
    new = [True, *(a != b for a, b in pairwise(texts))]
    return [text for text, is_new in zip(texts, new, strict=True) if is_new], np.cumsum(new) - 1


def _ids_of(vocab: Vocab, texts: Texts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the ids of all texts, one after another (int32), where each starts, and its length."""
    tokens = tokens_of(vocab, texts)
    lens = np.fromiter(map(len, tokens), np.int64, len(tokens))
    ids = np.fromiter(vocab.ids_of(chain.from_iterable(tokens)), np.int32, lens.sum())
    return ids, np.cumsum(lens) - lens, lens


def _layout(num_words: int, starts: list, ends: list, kept: Kept) -> np.ndarray:
    """Return where each token of all pairs comes from: the words, then `<cls>` and `<sep>`.

    `starts` and `ends` say where premises and hypotheses begin and end among the words.
    """
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
    return _ranges(*(np.stack(column, axis=1).ravel() for column in zip(*pieces, strict=True)))


def _ranges(starts: np.ndarray, lens: np.ndarray) -> np.ndarray:
    """Return `start, start + 1, …` for each start, `len` numbers each, one after another."""
    ends = np.cumsum(lens)
    return np.repeat(starts - ends + lens, lens) + np.arange(ends[-1])
