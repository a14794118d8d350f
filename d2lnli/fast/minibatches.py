"""Minibatches on a GPU: made there, from the ids of all pairs, in a few widths.

A captured step (`graphs`) is replayed only in the shape in which it was captured. So minibatches
are padded to one of at most twelve widths, and an incomplete one is filled with pairs that count
for nothing.
"""

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..dataset import NO_LABEL, LengthBuckets, SNLIBERTDataset, TokenPairs, loader_of
from ..devices import copies_without_wait, kind

_MOST_WIDTHS = 12
_FILLER = -1  # the index of a pair that counts for nothing


def ladder(lens: np.ndarray, most: int = _MOST_WIDTHS) -> np.ndarray:
    """Return at most `most` widths, in order, which pad pairs of these lengths the least.

    Each pair is padded to the next width. With one width more in each round, `fewest[j]` is the
    smallest number of tokens that the pairs up to the j-th length take if this is the last width.
    """
    lengths, counts = np.unique(lens, return_counts=True)
    ends = np.cumsum(counts)
    tokens = (ends - (ends - counts)[:, None]) * lengths.astype(float)  # lengths i to j, padded
    tokens[np.tri(len(lengths), k=-1, dtype=bool)] = np.inf
    fewest, widths_before = tokens[0], []
    for _ in range(min(most, len(lengths)) - 1):
        sums = fewest[:-1, None] + tokens[1:]
        widths_before.append(sums.argmin(axis=0))
        fewest = sums.min(axis=0)
    chosen = [len(lengths) - 1]
    for before in reversed(widths_before):
        chosen.append(before[chosen[-1]])
    return lengths[chosen[::-1]]


class PairsOnDevice:
    """Pairs in a GPU's memory, without padding, and minibatches of them; SNLI takes 60 MB there."""

    def __init__(self, pairs: TokenPairs, device: torch.device):
        self.device, self.pad = device, pairs.vocab["<pad>"]
        self.ids, self.starts, self.premise_kept, self.valid_lens = (
            torch.tensor(array, device=device) for array in pairs.encoded
        )

    def rows(self, indices: np.ndarray) -> Tensor:
        """Return the indices of pairs on the device."""
        rows = torch.from_numpy(indices.astype(np.int64))
        if kind(self.device) == "cuda":  # or the copy would wait for what is being computed
            rows = rows.pin_memory()
        return rows.to(self.device, non_blocking=copies_without_wait(self.device))

    def inputs(self, rows: Tensor, width: int) -> list[Tensor]:
        """Return `[token_ids, segments, valid_lens]` of some pairs, int64, padded to `width`."""
        positions, lens = torch.arange(width, device=self.device), self.valid_lens[rows]
        inside = positions < lens[:, None]
        places = torch.where(inside, self.starts[rows, None] + positions, 0)
        token_ids = torch.where(inside, self.ids[places].long(), self.pad)
        segments = inside & (positions > self.premise_kept[rows, None] + 1)
        return [token_ids, segments.long(), lens]


def inputs_on(
    device: torch.device, pairs: TokenPairs, batches: Iterable[np.ndarray]
) -> Iterator[list[Tensor]]:
    """Yield the inputs of some minibatches on a device, padded to their longest pairs."""
    if kind(device) == "cpu":
        yield from map(pairs.inputs, batches)
        return
    there, lens = PairsOnDevice(pairs, device), pairs.encoded.valid_lens
    for batch in batches:
        yield there.inputs(there.rows(batch), int(lens[batch].max()))


def loader_on(
    device: torch.device,
    dataset: SNLIBERTDataset,
    batch_size: int,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader:
    """Return the shares of minibatches that `shared_loader` returns, in a GPU's memory.

    They have one of the widths of the `ladder`, and all have the same size. A filler repeats the
    first pair with the label `NO_LABEL`.
    """
    buckets = LengthBuckets(dataset.valid_lens, batch_size, True, seed)
    pairs, labels = PairsOnDevice(dataset, device), dataset.labels.to(device)
    widths, num_rows = ladder(buckets.lens), math.ceil(min(batch_size, len(dataset)) / world_size)

    def share(batch: np.ndarray) -> tuple[list[Tensor], Tensor, int]:
        mine = batch[rank::world_size]
        filled = np.pad(mine, (0, num_rows - len(mine)), constant_values=_FILLER)
        width = widths[np.searchsorted(widths, buckets.lens[batch].max())]
        rows = pairs.rows(filled)
        y = torch.where(rows == _FILLER, NO_LABEL, labels[rows])
        return pairs.inputs(rows.clamp(min=0), int(width)), y, len(batch)

    return loader_of(buckets, share)
