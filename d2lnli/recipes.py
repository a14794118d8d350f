"""Recipes: the settings of a fine-tuning run, checked in one place, and those that suit a model."""

import inspect
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np

from .devices import PRECISIONS

SCHEDULES = ("constant", "linear")
KEEP = ("last", "best")


@dataclass(frozen=True)
class Recipe:
    """The settings of a run; the defaults are the chapter's. ValueError names a bad one.

    `schedule` 'constant' keeps the learning rate `lr`, and 'linear' lets it fall to zero. Before
    that, it rises during the first `warmup`, a fraction of all steps. `clip` is the largest norm of
    the gradient. `precision` is 'auto', 'fp32', 'bf16', 'fp16', or 'tf32': on NVIDIA's GPUs, fp32
    but for the factors of matrix products. `keep` chooses the weights of the 'last' epoch, or of
    the 'best' one on the dev split. Training ends early after `patience` epochs without a higher
    dev accuracy. A minibatch of more than `most_tokens` is split into parts, whose gradients add
    up, to save memory (None: as this device needs it).
    """

    lr: float = 1e-4
    num_epochs: int = 5
    batch_size: int = 512
    schedule: str = "constant"
    warmup: float = 0.0
    clip: float | None = None
    precision: str = "auto"
    seed: int = 0
    keep: str = "last"
    patience: int | None = None
    most_tokens: int | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, np.generic):  # a checkpoint may hold Python's numbers only
                object.__setattr__(self, name, value.item())
        for name, choices in _CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"unknown {name} {value!r}: use {' or '.join(choices)}")
        for name, (is_right, rule) in _RULES.items():
            if not is_right(value := getattr(self, name)):
                raise ValueError(f"{name}={value!r}: use {rule}")

    @classmethod
    def of(cls, **settings: Any) -> "Recipe":
        """Return the recipe of settings by name; TypeError, with all names, for an unknown one."""
        names = [field.name for field in fields(cls)]
        for name in settings.keys() - names:
            raise TypeError(f"there is no setting {name!r}: use {', '.join(names)}")
        return cls(**settings)

    def lr_at(self, step: int, num_steps: int) -> float:
        """Return the learning rate of a step: it rises over `warmup`, then follows `schedule`."""
        num_warmup = round(self.warmup * num_steps)
        if step < num_warmup:
            return self.lr * ((step + 1) / num_warmup)
        if self.schedule == "constant":
            return self.lr
        return self.lr * ((num_steps - step) / (num_steps - num_warmup))

    def settings(self) -> dict[str, Any]:
        """Return by name the settings that must stay the same when a run goes on.

        `most_tokens` may change: it affects only rounding, and what dropout draws.
        """
        return {name: value for name, value in asdict(self).items() if name != "most_tokens"}


Function = TypeVar("Function", bound=Callable)


def shows_settings(function: Function) -> Function:
    """Show the settings of a recipe in a function's signature, in the place of its **settings."""
    signature = inspect.signature(function)
    *own, _ = signature.parameters.values()
    settings = inspect.signature(Recipe).parameters.values()
    own += [setting.replace(kind=setting.KEYWORD_ONLY) for setting in settings]
    vars(function)["__signature__"] = signature.replace(parameters=own)
    return function


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _is_count(value: object) -> bool:
    return isinstance(value, Integral) and int(value) >= 1


_CHOICES = {"schedule": SCHEDULES, "precision": ("auto", *PRECISIONS), "keep": KEEP}
_COUNT = (_is_count, "a whole number, at least 1")
_COUNT_OR_NONE = (lambda n: n is None or _is_count(n), "a whole number, at least 1, or None")
_RULES: dict[str, Any] = {
    "lr": (lambda x: _is_number(x) and x > 0, "a finite number above 0"),
    "num_epochs": _COUNT,
    "batch_size": _COUNT,
    "warmup": (lambda x: _is_number(x) and 0 <= x < 1, "a fraction from 0 to below 1"),
    "clip": (
        lambda x: x is None or (isinstance(x, Real) and float(x) > 0),
        "a number above 0, or None",
    ),
    "seed": (
        lambda n: isinstance(n, Integral) and 0 <= int(n) < 2**53,
        "a whole number from 0 to below 2**53",
    ),
    "patience": _COUNT_OR_NONE,
    "most_tokens": _COUNT_OR_NONE,
}

BOOK_RECIPE = dict(
    lr=1e-4, num_epochs=5, batch_size=512, schedule="constant", warmup=0.0, clip=None
)
"""The chapter's, for `bert.small`."""

TINY_RECIPE = dict(lr=1e-3, num_epochs=4, batch_size=64, schedule="linear", warmup=0.1, clip=None)
"""Found on the dev split of the first edition of `Scenes`."""

BASE_RECIPE = dict(lr=3e-5, num_epochs=3, batch_size=32, schedule="linear", warmup=0.1, clip=1.0)
"""BERT's authors fine-tuned twelve blocks in this way: Devlin et al. (2019), appendix A.3."""

MINILM_RECIPE = dict(lr=1e-4, num_epochs=4, batch_size=32, schedule="linear", warmup=0.06, clip=1.0)
"""For some thousand real pairs, such as a part of SNLI."""

_RECIPES = {
    "bert.tiny": TINY_RECIPE,
    "bert.base": BASE_RECIPE,
    "bert.base.mxnet": BASE_RECIPE,
    "minilm": MINILM_RECIPE,
}


def recipe(model: str | os.PathLike) -> dict[str, Any]:
    """Return the settings for `finetune` that suit a model; by default they are the book's."""
    default = BASE_RECIPE if str(model).startswith("hf:") else BOOK_RECIPE
    return dict(_RECIPES.get(str(model), default))
