"""Judge the results of an exercise: a case is a call and a judge of its result."""

from collections.abc import Callable, Mapping, Set
from numbers import Real
from typing import Any, NamedTuple

Judge = Callable[[object], str | None]
"""Takes a result; returns what is wrong with it, or None."""


class Case(NamedTuple):
    """The arguments of one call, and the judge of its result."""

    arguments: tuple
    judge: Judge


def equals(expected: object, hint: str = "") -> Judge:
    """Return a judge that accepts only this value; fractions may be rounded to two digits."""

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
            same_size = isinstance(result, Set | list | tuple) and len(result) == len(expected)
            return same_size and set(result) == expected
    same_length = isinstance(result, list | tuple) and len(result) == len(expected)
    return same_length and all(map(_same, result, expected))
