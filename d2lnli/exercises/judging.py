"""Judging an answer to an exercise: a case is a call, and a judge of what comes back."""

from collections.abc import Callable, Mapping, Set
from numbers import Real
from typing import Any, NamedTuple

Judge = Callable[[object], str | None]
"""Takes a result; returns what is wrong with it, or None."""


class Case(NamedTuple):
    """The arguments of one call, and a judge that says what is wrong with the result, if it is."""

    arguments: tuple
    judge: Judge


def equals(expected: object, hint: str = "") -> Judge:
    """Return a judge that wants this value; fractions may be rounded to two digits."""

    def judge(result: object) -> str | None:
        return None if _same(result, expected) else f"but it should be {expected}. {hint}".rstrip()

    return judge


def _same(result: Any, expected: Any) -> bool:
    if hasattr(result, "tolist"):  # an array or a tensor
        result = result.tolist()
    match expected:
        case str():
            return result == expected
        case Real():
            tolerance = 0 if isinstance(expected, int) else 0.0051
            is_number = isinstance(result, Real)
            return is_number and abs(result - expected) <= tolerance
        case Mapping():
            same_names = isinstance(result, Mapping) and result.keys() == expected.keys()
            return same_names and all(_same(result[name], x) for name, x in expected.items())
        case Set():
            some = isinstance(result, Set | list | tuple) and len(result) == len(expected)
            return some and set(result) == expected
    same_length = isinstance(result, list | tuple) and len(result) == len(expected)
    return same_length and all(map(_same, result, expected))
