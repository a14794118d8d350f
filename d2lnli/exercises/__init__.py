"""Exercises that check themselves: `check(function)` tries a student's function on small cases.

The question and the function's name stand in a notebook, the cases in `cases`. It may import all
but `__main__` and `checkup`; nothing else in the package imports it.
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
    """Try an exercise's function on cases of its own; say what is wrong, or that it is right.

    A function that is still to be written raises its NotImplementedError. Raises ValueError for one
    that belongs to no exercise.
    """
    name = getattr(function, "__name__", repr(function))
    if name not in CASES:
        raise ValueError(f"{name} is not an exercise: check one of {', '.join(CASES)}")
    with torch.random.fork_rng(devices=[]):  # without a list it warns of several GPUs
        cases = CASES[name]()
        for case in cases:
            if problem := _try(function, case):
                print(f"{name}: not yet. {_call(name, case)} {problem}")
                return
    print(f"{name}: right ({len(cases)} of {len(cases)} cases).")


def _try(function: Callable, case: Case) -> str | None:
    """Return what is wrong with the function's answer, or None."""
    try:
        result = function(*copy.deepcopy(case.arguments))  # which it may change
    except NotImplementedError as error:
        said = f"{type(error).__name__}: {error}"
        # IPython shows this instead of a traceback
        error._render_traceback_ = lambda: [said]  # type: ignore[attr-defined]
        raise
    except Exception as error:
        line = traceback.extract_tb(error.__traceback__)[1:2]
        where = f", from line {line[0].lineno} of the cell" if line else ""
        return f"raises {type(error).__name__}: {error}{where}."
    if result is None:
        return "returns nothing: is there a `return`?"
    try:
        problem = case.judge(result)
    except Exception:
        problem = "which is not of the kind that the question asks for."
    return problem and f"gives {_Short().repr(result)}, {problem}"


def _call(name: str, case: Case) -> str:
    return f"{name}({', '.join(map(_Short().repr, case.arguments))})"


class _Short(reprlib.Repr):
    """A value as short as a message needs it; of a network, what it is."""

    def __init__(self):
        super().__init__()
        self.maxlist = self.maxtuple = self.maxset = self.maxdict = 24
        self.maxstring = self.maxother = 80

    def repr1(self, value: object, level: int) -> str:
        if isinstance(value, nn.Module | Vocab):
            return type(value).__name__
        return super().repr1(value, level)
