"""A run that other processes train, as a notebook sees it: its curves, its end, a stop button.

They tell how it goes by the run folder's `history.csv`, and are told to stop by its file `stop`.
"""

import contextlib
import html
import re
import shutil
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import safetensors
import safetensors.torch

from .bert import BERTClassifier
from .devices import is_out_of_memory
from .files import is_taken
from .history import History
from .layouts.files import read_json
from .plotting import LivePlot, in_notebook
from .runs import HISTORY, PROVISIONAL, STOP

JOB, OUTCOME, LOG, STARTING = "job.json", "outcome.json", "log.txt", "starting"
_LOOK_EVERY = 0.5  # seconds


def _when_ended(name: str) -> property:
    return property(lambda run: getattr(run.wait(), name), doc=f"The `{name}` of the whole run.")


class LaunchedRun(History):
    """The history of a run at work elsewhere; what is asked of it or its net waits for the end.

    The net then has its weights. The stop button, pressed while something waits, stops the run, and
    so does the one below its curves. `process` is torchrun's, None if another kernel started it.
    """

    records, device = _when_ended("records"), _when_ended("device")
    precision, interrupted = _when_ended("precision"), _when_ended("interrupted")
    num_classes, made_of = _when_ended("num_classes"), _when_ended("made_of")
    kept_epoch = _when_ended("kept_epoch")

    def __init__(
        self,
        net: BERTClassifier,
        folder: Path,
        process: subprocess.Popen | None,
        num_wanted: int,
        split: str | None,
        temporary: bool,
    ):
        self.net, self.folder, self.process, self.temporary = net, folder, process, temporary
        self.stopping = self.waiting = False
        self.written = self.seen = History()  # so far; what is seen may end in a provisional point
        self.outcome: History | None = None
        self.error: OSError | MemoryError | None = None
        self.hooks = [
            net.encoder.token_embedding.register_forward_pre_hook(self._before_use),
            net.register_state_dict_pre_hook(self._before_use),
        ]
        self.taking_over = threading.Lock()
        self.panel = _Panel(self, num_wanted, split) if in_notebook() else None
        self.ended = threading.Event()  # a thread whose join() is interrupted counts as ended
        threading.Thread(target=self._follow, daemon=True).start()

    def __repr__(self) -> str:
        return f"<LaunchedRun in {self.folder.parent}>"

    def __deepcopy__(self, memo: dict) -> "LaunchedRun":
        raise ValueError(
            "other processes train this network: wait() for its run before you copy it"
        )

    def stop(self) -> None:
        """Let the run end after the step that it is in; asked again, within half a minute."""
        if self.stopping and self.process:
            self.process.terminate()
        self.stopping = True

    def is_at_work(self) -> bool:
        """Tell whether the run goes on."""
        return self.process.poll() is None if self.process else is_taken(self.folder / JOB)

    def wait(self) -> History:
        """Return the whole history once the run has ended and the net has its weights.

        Raises OSError if it failed, and MemoryError if memory ran out.
        """
        try:
            self.waiting = True
            while self.is_at_work() or not self.ended.is_set():
                time.sleep(_LOOK_EVERY)
        except KeyboardInterrupt:
            again = self.stopping
            self.stop()
            if again:
                raise
            return self.wait()
        finally:
            self.waiting = False
        with self.taking_over:
            if not (self.outcome or self.error):
                self._take_over()
        if self.error:
            raise self.error
        return self.outcome  # type: ignore[return-value]  # there is one, or an error

    def _before_use(self, *_: object) -> None:
        self.wait()

    def _take_over(self) -> None:
        for hook in self.hooks:
            hook.remove()
        try:
            told = read_json(self.folder / OUTCOME, dict)
            weights = safetensors.torch.load_file(self.folder / "net" / "model.safetensors")
            self.net.load_state_dict(weights)
            self.outcome = replace(History.load(self.folder / "net"), **told)
        except FileNotFoundError:
            failed = OSError(self.why_it_failed())
            self.error = MemoryError(*failed.args) if is_out_of_memory(failed) else failed
        except (OSError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
            self.error = OSError(f"{self.folder} cannot be read ({error}): launch the run again")
        if self.temporary and self.outcome:
            shutil.rmtree(self.folder.parent, ignore_errors=True)

    def why_it_failed(self) -> str:
        """Say why there is no outcome, in the words of the processes."""
        log = self.folder / LOG
        if not log.is_file():
            return f"the run in {self.folder.parent} failed: its folder is gone"
        lines = log.read_text("utf-8", "replace").splitlines()
        said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        said += [line for line in lines if re.match(r"\w+Error: ", line)]
        reason = said[0] if said else "its processes were ended"
        return f"the run in {self.folder.parent} failed: {reason} (see {log})"

    def _follow(self) -> None:
        """Look after the run until it ends, in a thread of its own."""
        stop, mark = self.folder.parent / STOP, self.folder.parent / STARTING
        at_work, self.stamp = True, 0
        try:
            while at_work:
                time.sleep(_LOOK_EVERY)
                at_work = self.is_at_work()
                if self.stopping and at_work:  # again: a run that begins takes the file away
                    self._ask_to_stop(stop)
                self.seen = self._look(at_work)
                if self.panel:
                    self.panel.update(ended=not at_work)
            for file in (stop, mark):
                file.unlink(missing_ok=True)
        finally:
            self.ended.set()

    def _look(self, at_work: bool) -> History:
        """Return what the run has written; while it works, with its provisional point."""
        path = self.folder.parent / HISTORY
        with contextlib.suppress(OSError, ValueError):  # not yet there, or somebody else's doing
            if path.stat().st_mtime_ns != self.stamp:
                self.stamp, self.written = path.stat().st_mtime_ns, History.load(path)
        with contextlib.suppress(OSError, ValueError):
            latest = History.load(self.folder / PROVISIONAL)
            if at_work and latest.epoch > self.written.epoch:
                return replace(latest, records=[*self.written.records, *latest.records])
        return self.written

    def _ask_to_stop(self, file: Path) -> None:
        try:
            file.touch()
        except OSError:  # the run folder is gone
            if self.process:
                self.process.terminate()


class _Panel:
    """The curves of a launched run, a line that says how it stands, and a stop button."""

    def __init__(self, run: LaunchedRun, num_wanted: int, split: str | None):
        import ipywidgets
        from IPython.display import display

        self.run, self.num_wanted, self.drawn = run, num_wanted, 0.0
        self.plot = LivePlot(num_wanted, split)
        self.line = ipywidgets.HTML("the processes are starting")
        self.button = ipywidgets.Button(description="Stop", icon="stop")
        self.button.on_click(lambda _: run.stop())
        display(ipywidgets.HBox([self.button, self.line]))

    def update(self, ended: bool) -> None:
        """Draw what is known of the run."""
        seen, said = self.run.seen, "the processes are starting"
        if seen.records:
            last = seen.records[-1]
            said = (
                f"epoch {last.epoch:.2f} of {self.num_wanted}: {last.means()}, "
                f"{last.pairs_per_sec:,.0f} pairs a second"
            )
        if ended:
            whole = (self.run.folder / OUTCOME).is_file()
            said = f"ended at {said}" if whole else self.run.why_it_failed()
            self.button.layout.display = "none"
        elif self.run.stopping:
            said += "; stopping (again: at once)"
        elif (
            self.run.waiting
        ):  # its kernel is busy, and would hear of the button when it is too late
            said += "; a cell waits for the end (■ in the toolbar stops the run)"
        self.button.disabled = self.run.waiting
        self.line.value = html.escape(said)
        if ended or seen.epoch != self.drawn:
            self.plot.update(seen.columns(), seen.num_classes)
            self.drawn = seen.epoch
