"""The folder of a run: its history, and a checkpoint from which the same run goes on."""

import os
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import astuple, replace
from pathlib import Path

import torch

from ..history import History, Record, differences
from ..store.files import exclusive_lock, read_torch, replace_file, writing
from .ranks import Ranks
from .state import Stateful

CHECKPOINT, HISTORY, STOP = "checkpoint.pt", "history.csv", "stop"
LAUNCHED, PROVISIONAL = "launched", "provisional.csv"
_VERSION = 3
_FORMERLY = {"keep": "last", "patience": None}  # settings that earlier versions did not have
_EVERY = 180.0  # seconds between two checkpoints within an epoch
_LOOK_EVERY = 0.5  # seconds between two looks for the file `stop`: a folder may be far away


class RunFolder:
    """`history.csv` and `checkpoint.pt`, each written whole or not at all.

    A file `stop` there has the effect of the stop button. Rank 0 reads and writes for all ranks,
    so only rank 0 needs access to the folder.
    """

    def __init__(self, folder: Path, ranks: Ranks):
        self.folder, self.path, self.ranks = folder, folder / CHECKPOINT, ranks
        self.saved_at = self.looked_at = time.monotonic()
        self.state = ranks.from_rank_0(self._begin() if ranks.rank == 0 else None)

    def _begin(self) -> dict | None:
        """Remove what an earlier run left, and return its checkpoint."""
        with writing("the run", self.folder):
            (self.folder / STOP).unlink(missing_ok=True)
            for name in (CHECKPOINT, HISTORY):
                for unfinished in self.folder.glob(f".{name}.*"):  # by a process that was killed
                    unfinished.unlink()
        if not self.path.is_file():
            return None
        _check_sums(self.path)
        state = read_torch(self.path, "delete it to start again")
        is_whole = isinstance(state, dict) and isinstance(state.get("settings"), dict)
        if not is_whole or state.get("version") != _VERSION:
            raise ValueError(
                f"{self.path} is not a checkpoint of this version of d2lnli: "
                "choose another run folder, or delete it to start again"
            )
        return state

    @property
    def settings(self) -> dict:
        """The settings of the run in this folder; empty if there is none."""
        return {**_FORMERLY, **self.state["settings"]} if self.state else {}

    def go_on(self, settings: dict, run_state: Stateful, history: History) -> None:
        """Load the checkpoint, if there is one, into the state of a run and its history.

        Raises ValueError if the checkpoint belongs to a run with other settings or data.
        """
        if self.state is None:
            return
        if "frozen" not in self.settings:  # earlier versions did not save it
            settings = {name: value for name, value in settings.items() if name != "frozen"}
        if differing := differences(self.settings, settings):
            raise ValueError(
                f"{self.folder} holds a run with {differing}: use its settings and data "
                "to go on with it, or another run folder"
            )
        try:
            run_state.load_state_dict(self.state["training"])
            history.records += map(Record.of, self.state["records"])
            history.made_of = self.state.get("made_of", {})  # the run began with another network
        except (LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"{self.path} does not fit this network ({error}): use another run folder"
            ) from error
        self.state = None  # it is as large as the network and Adam's averages

    def is_due(self) -> bool:
        """Return whether the last checkpoint was written minutes ago."""
        return self.ranks.rank == 0 and time.monotonic() - self.saved_at >= _EVERY

    def is_to_stop(self) -> bool:
        """Return whether somebody put the file `stop` here, and remove it."""
        if self.ranks.rank > 0 or time.monotonic() - self.looked_at < _LOOK_EVERY:
            return False
        self.looked_at = time.monotonic()
        found = (self.folder / STOP).exists()
        (self.folder / STOP).unlink(missing_ok=True)
        return found

    def save(self, settings: dict, training: dict, history: History) -> bool:
        """Write the checkpoint and the history; return whether the checkpoint was written."""
        state = {"version": _VERSION, "settings": settings, "training": training}
        state["records"] = [astuple(record) for record in history.records]
        state["made_of"] = history.made_of

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())  # if the power fails, the old checkpoint is still whole

        written = self._write(CHECKPOINT, lambda: replace_file(self.path, write))
        self.save_history(history)
        self.saved_at = time.monotonic()
        return written

    def save_history(self, history: History) -> None:
        """Write the history alone."""
        self._write(HISTORY, lambda: history.save(self.folder / HISTORY))

    def pass_on(self, seen: History) -> None:
        """Write the last point of a history for the kernel that follows a launched run.

        It may be lost, because another one follows soon.
        """
        path = self.folder / LAUNCHED / PROVISIONAL
        with suppress(OSError):
            if path.parent.is_dir():
                replace(seen, records=seen.records[-1:]).save(path)

    def _write(self, name: str, write: Callable[[], None]) -> bool:
        if self.ranks.rank > 0:
            return True
        try:
            with writing(name, self.folder):
                write()
            return True
        except OSError as error:
            warnings.warn(f"{error}. Training goes on; the file has not changed", stacklevel=4)
            return False


@contextmanager
def open_run(folder: str | Path | None, ranks: Ranks) -> Iterator[RunFolder | None]:
    """Open a run folder for this run alone; None if the run has no folder."""
    if folder is None:
        yield None
        return
    with ExitStack() as stack:
        if ranks.rank == 0:
            with writing("the run", Path(folder)):
                stack.enter_context(exclusive_lock(Path(folder) / CHECKPOINT, wait=False))
        yield RunFolder(Path(folder), ranks)


def _check_sums(path: Path) -> None:
    """Raise ValueError if a part of a checkpoint is damaged, because torch would read it anyway."""
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError) as error:
        damaged = str(error)
    if damaged:
        raise ValueError(f"{path} is damaged or incomplete ({damaged}): delete it to start again")
