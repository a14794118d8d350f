"""Minibatches in parts whose activations fit into a CPU's caches."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

_MOST_TOKENS = 4096  # in fp32; half as many bytes in a smaller type


def most_tokens_for(device: torch.device, precision: str, num_ranks: int) -> int | None:
    """Return how many tokens to compute at once; None, on a GPU, means the whole minibatch."""
    if device.type != "cpu":
        return None
    if precision != "fp32":
        return 2 * _MOST_TOKENS
    return _MOST_TOKENS if num_ranks == 1 else _MOST_TOKENS // 4  # as fast, in less memory


def micro_batches(X: list[Tensor], y: Tensor, most_tokens: int | None) -> Iterator[tuple]:
    """Split a minibatch, whose pairs are sorted by length, into parts of at most `most_tokens`.

    Each part is padded only to its own longest pair. None keeps the minibatch whole.
    """
    if most_tokens is None:
        yield X, y
        return
    lens, first = X[2].tolist(), 0
    for i, length in enumerate([*lens[1:], math.inf], start=1):
        if (i + 1 - first) * length > most_tokens:
            ids, segments, valid_lens = (x[first:i] for x in X)
            yield [ids[:, : lens[i - 1]], segments[:, : lens[i - 1]], valid_lens], y[first:i]
            first = i
