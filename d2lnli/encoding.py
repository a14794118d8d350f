"""From texts to one flat array of token ids, in several processes where there are many."""

from array import array
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import repeat

import numpy as np

from .text import Vocab

_SENTENCES_PER_WORKER = 50_000  # fewer are encoded sooner than a process starts


def _encode(vocab: Vocab, texts: Iterable[str | list[str]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids of all texts, one after another (int32), and their lengths."""
    ids, lens = array("i"), array("q")
    for text in texts:
        text_ids = vocab[text if isinstance(text, list) else vocab.tokenize(text)]
        ids.extend(text_ids)
        lens.append(len(text_ids))
    return np.frombuffer(ids, np.int32) if ids else np.empty(0, np.int32), np.array(lens)


def encode_all(vocab: Vocab, texts: list, num_workers: int) -> tuple[np.ndarray, np.ndarray]:
    """`_encode` in at most `num_workers` processes, none of which outlives the call."""
    if num_workers < 0:
        raise ValueError(f"num_workers={num_workers}: use 0 for none")
    num_workers = min(num_workers, len(texts) // _SENTENCES_PER_WORKER)
    if num_workers < 2:
        return _encode(vocab, texts)
    step = -(-len(texts) // num_workers)
    parts = [texts[i : i + step] for i in range(0, len(texts), step)]
    try:
        with ProcessPoolExecutor(num_workers) as pool:
            ids, lens = zip(*pool.map(_encode, repeat(vocab), parts), strict=True)
    except BrokenProcessPool as error:
        raise OSError(
            "a worker process ended early: in a script, build the dataset below "
            "`if __name__ == '__main__':`, or pass num_workers=0"
        ) from error
    return np.concatenate(ids), np.concatenate(lens)


def ranges(starts: np.ndarray, lens: np.ndarray) -> np.ndarray:
    """Return `start, start + 1, …` for each start, `len` numbers each, one after another."""
    ends = np.cumsum(lens)
    return np.repeat(starts - ends + lens, lens) + np.arange(ends[-1])
