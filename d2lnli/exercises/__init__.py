"""Exercises with automatic feedback: `check(function)` tries a student's function on small cases.

A notebook has the question and the function's name; `cases` has the cases. This folder may import
everything except `__main__` and `checkup`; nothing else in the package imports it.
"""

import copy
import reprlib
import traceback
from collections.abc import Callable

import torch
from torch import nn

from ..vocab import Vocab
from .cases import CASES
from .judging import Case


def check(function: Callable) -> None:
    """Try an exercise's function on its cases; print what is wrong, or that it is right.

    An unwritten function raises its NotImplementedError. Raises ValueError if the function's name
    belongs to no exercise.
    """
    name = getattr(function, "__name__", repr(function))
    if name not in CASES:
        raise ValueError(f"{name} is not an exercise: check one of {', '.join(CASES)}")
    with torch.random.fork_rng(devices=[]):  # without `devices`, it warns if there are several GPUs
        cases = CASES[name]()
        for case in cases:
            if problem := _try(function, case):
                print(f"{name}: not yet. {_call(name, case)} {problem}")
                return
    print(f"{name}: correct ({len(cases)} of {len(cases)} cases).")


def _try(function: Callable, case: Case) -> str | None:
    """Return what is wrong with the function's result, or None."""
    try:
        result = function(*copy.deepcopy(case.arguments))  # the function may change them
    except NotImplementedError as error:
        message = f"{type(error).__name__}: {error}"
        # IPython shows this instead of a traceback
        error._render_traceback_ = lambda: [message]  # type: ignore[attr-defined]
        raise
    except Exception as error:
        line = traceback.extract_tb(error.__traceback__)[1:2]
        where = f" in line {line[0].lineno} of the cell" if line else ""
        return f"raises {type(error).__name__}{where}: {error}."
    if result is None:
        return "returns nothing: add a `return`."
    try:
        problem = case.judge(result)
    except Exception:
        problem = "but it should have the type that the question names."
    return problem and f"returns {_ShortRepr().repr(result)}, {problem}"


def _call(name: str, case: Case) -> str:
    return f"{name}({', '.join(map(_ShortRepr().repr, case.arguments))})"


class _ShortRepr(reprlib.Repr):
    """Short texts for values in a message; a network or vocabulary becomes its class name."""

    def __init__(self):
        super().__init__()
        self.maxlist = self.maxtuple = self.maxset = self.maxdict = 24
        self.maxstring = self.maxother = 80

    def repr1(self, value: object, level: int) -> str:
        if isinstance(value, nn.Module | Vocab):
            return type(value).__name__
        return super().repr1(value, level)
