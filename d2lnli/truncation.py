"""Truncation strategies: how many tokens of each side of a pair to keep within a budget.

A strategy takes the lengths of premises and hypotheses and a budget (`max_len` minus the three
special tokens), as integers or arrays of one shape, and returns a `Kept`. All are in closed form,
so one call cuts a whole corpus. While the budget allows a token for each side, no side loses all
its tokens.
"""

from collections.abc import Callable
from numbers import Integral
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Kept(NamedTuple):
    """How many tokens stay at the head and at the tail of each side."""

    premise_head: np.ndarray
    premise_tail: np.ndarray
    hypothesis_head: np.ndarray
    hypothesis_tail: np.ndarray


def longest_first(premise_len: ArrayLike, hypothesis_len: ArrayLike, budget: ArrayLike) -> Kept:
    """Truncate the longer side, token by token, as the book does, and in a tie the hypothesis."""
    premise, hypothesis, budget = _lengths(premise_len, hypothesis_len, budget)
    half = (budget + 1) // 2
    premise_kept = np.minimum(premise, np.maximum(half, budget - hypothesis))
    return _heads(premise_kept, hypothesis, budget)


def proportional(premise_len: ArrayLike, hypothesis_len: ArrayLike, budget: ArrayLike) -> Kept:
    """Truncate both sides in the ratio of their lengths, rounded to the nearest token."""
    premise, hypothesis, budget = _lengths(premise_len, hypothesis_len, budget)
    total = np.maximum(premise + hypothesis, 1)
    share = (2 * np.minimum(budget, total) * premise + total) // (2 * total)
    return _heads(_leave_one_each(share, premise, hypothesis, budget), hypothesis, budget)


def cut_premise(premise_len: ArrayLike, hypothesis_len: ArrayLike, budget: ArrayLike) -> Kept:
    """Truncate the premise; the hypothesis loses tokens only once the premise has one left."""
    premise, hypothesis, budget = _lengths(premise_len, hypothesis_len, budget)
    rest = np.minimum(premise, np.maximum(budget - hypothesis, 0))
    return _heads(_leave_one_each(rest, premise, hypothesis, budget), hypothesis, budget)


def cut_hypothesis(premise_len: ArrayLike, hypothesis_len: ArrayLike, budget: ArrayLike) -> Kept:
    """Truncate the hypothesis; the premise loses tokens only once the hypothesis has one left."""
    premise, hypothesis, budget = _lengths(premise_len, hypothesis_len, budget)
    whole = np.minimum(premise, budget)
    return _heads(_leave_one_each(whole, premise, hypothesis, budget), hypothesis, budget)


def head_tail(premise_len: ArrayLike, hypothesis_len: ArrayLike, budget: ArrayLike) -> Kept:
    """Share the budget as `longest_first` does, but remove tokens from the middle of each side.

    Sun et al. (2019), "How to fine-tune BERT for text classification?", keep the head and the tail
    of a long text.
    """
    premise, hypothesis, budget = _lengths(premise_len, hypothesis_len, budget)
    kept = longest_first(premise, hypothesis, budget)
    premise_tail = np.where(kept.premise_head < premise, kept.premise_head // 2, 0)
    hypothesis_tail = np.where(kept.hypothesis_head < hypothesis, kept.hypothesis_head // 2, 0)
    return Kept(
        kept.premise_head - premise_tail,
        premise_tail,
        kept.hypothesis_head - hypothesis_tail,
        hypothesis_tail,
    )


_FORMER_NAMES = {"premise_only": "cut_premise", "hypothesis_only": "cut_hypothesis"}


class _Strategies(dict[str, Callable[..., Kept]]):
    """Strategies by name; a former name finds its strategy too, but is not listed."""

    def __missing__(self, name: str) -> Callable[..., Kept]:
        return self[_FORMER_NAMES[name]]


TRUNCATIONS = _Strategies(
    (strategy.__name__, strategy)
    for strategy in (longest_first, proportional, cut_premise, cut_hypothesis, head_tail)
)


def present_strategy(truncation: str) -> str:
    """Return the present name of a strategy that may have been given by a former one."""
    return _FORMER_NAMES.get(truncation, truncation)


def cut(premise_len: ArrayLike, hypothesis_len: ArrayLike, max_len: int, truncation: str) -> Kept:
    """Apply the named strategy so that pairs fit into `max_len` with their special tokens."""
    if not isinstance(max_len, Integral):
        raise ValueError(f"max_len={max_len!r}: it must be a whole number")
    if max_len < 5:
        raise ValueError(f"max_len={max_len}: give at least 5, room for a token of each side")
    if max_len >= 2**31:
        raise ValueError(f"max_len={max_len}: no model has so many positions, give fewer")
    if present_strategy(truncation) not in TRUNCATIONS:
        raise ValueError(f"unknown truncation {truncation!r}: use one of {', '.join(TRUNCATIONS)}")
    kept = TRUNCATIONS[truncation](premise_len, hypothesis_len, max_len - 3)
    return Kept(*np.broadcast_arrays(*kept))  # a strategy may return one 0 for all pairs


def cut_tokens(
    premise: list[str], hypothesis: list[str], max_len: int, truncation: str
) -> tuple[list[str], list[str]]:
    """Return the tokens of one pair that the named strategy keeps."""
    kept = cut(len(premise), len(hypothesis), max_len, truncation)
    return (
        premise[: kept.premise_head] + premise[len(premise) - kept.premise_tail :],
        hypothesis[: kept.hypothesis_head] + hypothesis[len(hypothesis) - kept.hypothesis_tail :],
    )


def _lengths(*values: ArrayLike) -> tuple[np.ndarray, ...]:
    return tuple(np.asarray(value, dtype=np.int64) for value in values)


def _leave_one_each(premise_kept, premise, hypothesis, budget) -> np.ndarray:
    """Change the premise's share so that each side keeps a token, if the budget has room for it."""
    least = np.minimum(np.minimum(premise, 1), budget)
    most = np.maximum(budget - np.minimum(hypothesis, 1), least)
    return np.clip(premise_kept, least, most)


def _heads(premise_kept, hypothesis, budget) -> Kept:
    """Give the hypothesis the rest of the budget; both sides keep their beginnings."""
    hypothesis_kept = np.minimum(hypothesis, budget - premise_kept)
    nothing = np.zeros_like(premise_kept)
    return Kept(premise_kept, nothing, hypothesis_kept, nothing)
