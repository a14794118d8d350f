"""Minibatches in parts: a CPU's activations then fit into its caches, a GPU's into its memory."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ..devices import kind

_MOST_TOKENS = 4096  # in fp32; half as many bytes in a smaller type


def most_tokens_for(device: torch.device, precision: str, num_ranks: int) -> int | None:
    """Return how many tokens to compute at once; None, on a GPU, means the whole minibatch."""
    if kind(device) != "cpu":
        return None
    if precision != "fp32":
        return 2 * _MOST_TOKENS
    return _MOST_TOKENS if num_ranks == 1 else _MOST_TOKENS // 4  # as fast, in less memory


def micro_batches(X: list[Tensor], y: Tensor, most_tokens: int | None) -> Iterator[tuple]:
    """Split a minibatch, whose pairs are sorted by length, into parts of at most `most_tokens`.

    On a CPU, each part is padded only to its own longest pair. A GPU's parts have equal sizes,
    because looking at its lengths would mean to wait for it. None keeps the minibatch whole.
    """
    if most_tokens is None:
        yield X, y
        return
    if kind(y.device) != "cpu":
        pairs = max(1, most_tokens // X[0].shape[1])
        for *part, labels in zip(*(x.split(pairs) for x in (*X, y)), strict=True):
            yield part, labels
        return
    lens, first = X[2].tolist(), 0
    for i, length in enumerate([*lens[1:], math.inf], start=1):
        if (i + 1 - first) * length > most_tokens:
            ids, segments, valid_lens = (x[first:i] for x in X)
            yield [ids[:, : lens[i - 1]], segments[:, : lens[i - 1]], valid_lens], y[first:i]
            first = i
