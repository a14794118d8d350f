"""From pairs of texts to one flat array of token ids, in several processes for very many."""

from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np

from .text import Vocab, tokens_of
from .truncation import Kept, cut

Texts = Sequence[str | list[str]]
_PAIRS_AT_ONCE = 2_000  # so many fit the caches with their words
_PAIRS_IN_PART = 50_000
_PAIRS_PER_WORKER = 500_000  # fewer are encoded sooner than a process starts


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


def encode_pairs(
    premises: Texts,
    hypotheses: Texts,
    max_len: int,
    vocab: Vocab,
    truncation: str,
    num_workers: int,
) -> EncodedPairs:
    """Tokenize, cut and look up pairs, in at most `num_workers` processes, which end with it."""
    if num_workers < 0:
        raise ValueError(f"num_workers={num_workers}: use 0 for none")
    encode = partial(_encode, max_len=max_len, vocab=vocab, truncation=truncation)
    firsts = range(0, len(premises), _PAIRS_AT_ONCE)
    slices = ([side[i : i + _PAIRS_AT_ONCE] for i in firsts] for side in (premises, hypotheses))
    num_workers = min(num_workers, len(premises) // _PAIRS_PER_WORKER)
    if num_workers < 2:
        return join(map(encode, firsts, *slices))
    try:
        with ProcessPoolExecutor(num_workers) as pool:
            return join(pool.map(encode, firsts, *slices, chunksize=10))
    except BrokenProcessPool as error:
        raise OSError(
            "a worker process ended early: in a script, build the dataset below "
            "`if __name__ == '__main__':`, or pass num_workers=0"
        ) from error


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
