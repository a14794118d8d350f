"""A run's folder: its history, and a checkpoint from which the same run goes on."""

import os
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import astuple, replace
from pathlib import Path
from typing import Protocol

import torch

from ..history import History, Record, differences
from ..store.files import exclusive_lock, read_torch, replace_file, writing
from .ranks import Ranks

CHECKPOINT, HISTORY, STOP = "checkpoint.pt", "history.csv", "stop"
LAUNCHED, PROVISIONAL = "launched", "provisional.csv"
_VERSION = 3
_FORMERLY = {"keep": "last", "patience": None}  # what checkpoints of earlier versions do not tell
_EVERY = 180.0  # seconds between two checkpoints, if no epoch ends before
_LOOK_EVERY = 0.5  # seconds, for the file `stop`: a folder may be far away


class Resumable(Protocol):
    """What can go back to a state that was written down."""

    def load_state_dict(self, state: dict) -> None:
        """Go back to a state."""


class RunFolder:
    """`history.csv` and `checkpoint.pt`, each written whole or not at all.

    A file `stop` that anybody puts there is a press of the stop button. Rank 0 reads and writes
    for all ranks; only it needs to see the folder.
    """

    def __init__(self, folder: Path, ranks: Ranks):
        self.folder, self.path, self.ranks = folder, folder / CHECKPOINT, ranks
        self.saved = self.looked = time.monotonic()
        self.state = ranks.from_rank_0(self._begin() if ranks.rank == 0 else None)

    def _begin(self) -> dict | None:
        """Remove what an earlier run left, but for its checkpoint, which is returned."""
        with writing("the run", self.folder):
            (self.folder / STOP).unlink(missing_ok=True)
            for name in (CHECKPOINT, HISTORY):
                for left in self.folder.glob(f".{name}.*"):  # by a process that was killed
                    left.unlink()
        if not self.path.is_file():
            return None
        _check_sums(self.path)
        state = read_torch(self.path, "delete it to start anew")
        whole = isinstance(state, dict) and isinstance(state.get("settings"), dict)
        if not whole or state.get("version") != _VERSION:
            raise ValueError(
                f"{self.path} is not a checkpoint of this version of d2lnli: "
                "give another run folder, or delete it to start anew"
            )
        return state

    @property
    def settings(self) -> dict:
        """The settings of the run that the folder holds; none if it holds none."""
        return {**_FORMERLY, **self.state["settings"]} if self.state else {}

    def go_on(self, settings: dict, training: Resumable, history: History) -> None:
        """Put a training and its history back to the checkpoint, if there is one.

        Raises ValueError if it is of a run with other settings or data.
        """
        if self.state is None:
            return
        if "frozen" not in self.settings:  # earlier versions did not tell
            settings = {name: value for name, value in settings.items() if name != "frozen"}
        if differing := differences(self.settings, settings):
            raise ValueError(
                f"{self.folder} holds a run with {differing}: use its settings and data "
                "to go on with it, or another run folder"
            )
        try:
            training.load_state_dict(self.state["training"])
            history.records += map(Record.of, self.state["records"])
            history.made_of = self.state.get("made_of", {})  # the run began with another network
        except (LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"{self.path} does not fit this network ({error}): use another run folder"
            ) from error
        self.state = None  # it is as large as the network and Adam's averages

    def is_due(self) -> bool:
        """Tell whether the last checkpoint was minutes ago."""
        return self.ranks.rank == 0 and time.monotonic() - self.saved >= _EVERY

    def is_to_stop(self) -> bool:
        """Tell whether somebody put the file `stop` here, and take it away."""
        if self.ranks.rank > 0 or time.monotonic() - self.looked < _LOOK_EVERY:
            return False
        self.looked = time.monotonic()
        asked = (self.folder / STOP).exists()
        (self.folder / STOP).unlink(missing_ok=True)
        return asked

    def save(self, settings: dict, training: dict, history: History) -> bool:
        """Write the checkpoint and the history; tell whether the checkpoint could be written."""
        state = {"version": _VERSION, "settings": settings, "training": training}
        state["records"] = [astuple(record) for record in history.records]
        state["made_of"] = history.made_of

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())  # a machine that loses its power keeps the old one

        written = self._keep(CHECKPOINT, lambda: replace_file(self.path, write))
        self.save_history(history)
        self.saved = time.monotonic()
        return written

    def save_history(self, history: History) -> None:
        """Write the history alone."""
        self._keep(HISTORY, lambda: history.save(self.folder / HISTORY))

    def pass_on(self, seen: History) -> None:
        """Write the last point of a history, for the one that follows this run if it was launched.

        It may be lost: another one comes soon.
        """
        path = self.folder / LAUNCHED / PROVISIONAL
        with suppress(OSError):
            if path.parent.is_dir():
                replace(seen, records=seen.records[-1:]).save(path)

    def _keep(self, name: str, write: Callable[[], None]) -> bool:
        if self.ranks.rank > 0:
            return True
        try:
            with writing(name, self.folder):
                write()
            return True
        except OSError as error:
            warnings.warn(f"{error}. Training goes on, the file is as it was", stacklevel=4)
            return False


@contextmanager
def open_run(folder: str | Path | None, ranks: Ranks) -> Iterator[RunFolder | None]:
    """Open a run folder for this run and no other; None if there is to be none."""
    if folder is None:
        yield None
        return
    with ExitStack() as stack:
        if ranks.rank == 0:
            with writing("the run", Path(folder)):
                stack.enter_context(exclusive_lock(Path(folder) / CHECKPOINT, wait=False))
        yield RunFolder(Path(folder), ranks)


def _check_sums(path: Path) -> None:
    """Raise ValueError if a record of a checkpoint was damaged: torch reads it all the same."""
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError) as error:
        damaged = str(error)
    if damaged:
        raise ValueError(f"{path} is not a whole file ({damaged}): delete it to start anew")
