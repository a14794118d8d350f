"""Failures that torch reports only in words, and what to do when memory runs out."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_FAILURES = {
    "no memory": ("out of memory", "allocate memory", "not enough memory", "alloc_failed"),
    "a lost process": ("gloo/transport", "closed by peer", "reset by peer", "nccl error"),
}
"""Words in torch's messages about failures that have no error class; the only such list."""


def is_failure(error: Exception, kind: str) -> bool:
    """Return whether the words of an error name a failure: 'no memory' or 'a lost process'."""
    return any(words in str(error).lower() for words in _FAILURES[kind])


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that a device or the machine has no memory left."""
    known = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    return known or is_failure(error, "no memory")


@contextmanager
def memory_advice(device: torch.device, num_pairs: int = 0, more: str = "") -> Iterator[None]:
    """Raise MemoryError with a smaller batch size if memory runs out in a pass of `num_pairs`.

    The memory of the failed pass is freed, so that a smaller pass has room.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        advised = isinstance(error, MemoryError) and "out of memory" in str(error)
        if advised or not is_out_of_memory(error):  # a launched run has raised this advice itself
            raise
        traceback.clear_frames(error.__traceback__)
        where = f" with a minibatch of {num_pairs}" if num_pairs else ""
        way = f"batch_size={num_pairs // 2} or less" if num_pairs > 1 else "a smaller model"
        raise MemoryError(f"out of memory{where} on {device}: use {way}{more}") from error
